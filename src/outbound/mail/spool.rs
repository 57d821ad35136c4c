//! Mail as `.eml` files in a directory, for another program or a person to pick up.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{MailError, OutgoingMail, message};
use crate::outbound::durable_file::{self, Mode};

/// The longest file name made from a message id, without its extension; far below the 255 bytes
/// that file systems allow.
const MAX_STEM_BYTES: usize = 150;

/// Writes each mail as `{data_dir}/mail/{message id}.eml`, whole and synced to disk.
///
/// The file's name and its bytes come from the mail alone. However often a mail is attempted, there
/// is one file for one message id: a repeat replaces it.
#[derive(Debug, Clone)]
pub struct Spool {
    directory: PathBuf,
}

impl Spool {
    /// The spool in `data_dir`; its directory is made with the first mail.
    pub fn new(data_dir: &Path) -> Self {
        Self {
            directory: data_dir.join("mail"),
        }
    }

    /// Where the mails are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file a mail with this id is written to.
    pub fn path_of(&self, message_id: &str) -> PathBuf {
        self.directory
            .join(format!("{}.eml", file_stem(message_id)))
    }

    pub(super) async fn send(&self, mail: &OutgoingMail) -> Result<(), MailError> {
        let path = self.path_of(&mail.message_id);
        // Encoding attachments takes milliseconds, so it happens off the reactor as well.
        let mail = mail.clone();
        let written = durable_file::blocking(move || {
            Ok(match message::build(&mail) {
                Ok(bytes) => durable_file::write(&path, &bytes, Mode::Shared)
                    .map_err(|error| not_writable(&error)),
                Err(error) => Err(error),
            })
        });
        written.await.map_err(|error| not_writable(&error))?
    }

    pub(super) async fn ping(&self) -> Result<(), MailError> {
        let directory = self.directory.clone();
        durable_file::blocking(move || durable_file::check_writable(&directory))
            .await
            .map_err(|error| not_writable(&error))
    }
}

fn not_writable(error: &io::Error) -> MailError {
    MailError::Temporary {
        detail: format!("the mail spool can't be written: {error}"),
    }
}

/// The message id where it is a harmless file name; else what is harmless in it, and a checksum so
/// that two ids never share a file.
fn file_stem(message_id: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+');
    let as_it_is = message_id.chars().all(harmless)
        && !message_id.starts_with('.')
        && (1..=MAX_STEM_BYTES).contains(&message_id.len());
    if as_it_is {
        return message_id.to_owned();
    }
    let readable: String = message_id
        .chars()
        .map(|c| if harmless(c) { c } else { '_' })
        .take(MAX_STEM_BYTES / 2)
        .collect();
    let checksum = hex::encode(Sha256::digest(message_id));
    format!(
        "{}-{}",
        readable.replace("..", "__").trim_start_matches('.'),
        &checksum[..32]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_id_leads_out_of_the_spool_or_to_another_mails_file() {
        let spool = Spool::new(Path::new("data"));
        let ids = [
            "../../etc/passwd",
            "..",
            ".",
            "",
            "a/b",
            "a_b",
            "a\0b",
            &"x".repeat(400),
            "A_B",
        ];
        let paths: Vec<_> = ids.iter().map(|id| spool.path_of(id)).collect();
        for (id, path) in ids.iter().zip(&paths) {
            assert_eq!(path.parent(), Some(Path::new("data/mail")), "{id}");
            assert!(path.file_name().unwrap().len() < 255);
            assert_eq!(
                paths.iter().filter(|other| *other == path).count(),
                1,
                "{id}"
            );
        }
    }

    #[test]
    fn a_usual_message_id_is_the_files_name() {
        let path = Spool::new(Path::new("data")).path_of("inv_1-mail-3@faktor.local");
        assert_eq!(path, Path::new("data/mail/inv_1-mail-3@faktor.local.eml"));
    }
}
