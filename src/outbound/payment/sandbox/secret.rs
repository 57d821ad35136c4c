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
    match std::fs::read_to_string(path) {
        Ok(kept) if kept.trim().len() >= MIN_BYTES => {
            return Ok(Secret::new(kept.trim().to_owned()));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let secret = format!("whsec_{}", clock::random_hex::<32>());
    durable_file::write(path, secret.as_bytes(), Mode::Private)?;
    Ok(Secret::new(secret))
}
