//! The random secret that signs webhooks when none is configured.

use std::io;
use std::path::Path;

use crate::clock;
use crate::config::Secret;
use crate::outbound::durable_file::{self, Mode};

/// Shorter ones are taken for a file that was never finished.
const MIN_BYTES: usize = 32;

/// The secret in the file; a new one, kept there for its owner's eyes only, when there is none.
pub(super) fn read_or_make(path: &Path) -> io::Result<Secret> {
    let is_there = match std::fs::read_to_string(path) {
        Ok(kept) if is_whole(&kept) => return Ok(Secret::new(kept.trim().to_owned())),
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    let secret = format!("whsec_{}", clock::random_hex::<32>());
    if is_there {
        durable_file::write(path, secret.as_bytes(), Mode::Private)?;
        return Ok(Secret::new(secret));
    }
    // Another process may make one at the same moment: the first one is everybody's.
    durable_file::write_new(path, secret.as_bytes(), Mode::Private)?;
    let kept = std::fs::read_to_string(path)?;
    if is_whole(&kept) {
        return Ok(Secret::new(kept.trim().to_owned()));
    }
    Err(io::Error::other("the file is too short"))
}

fn is_whole(kept: &str) -> bool {
    kept.trim().len() >= MIN_BYTES
}
