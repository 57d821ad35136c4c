//! Where documents and uploads are kept.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::durable_file::{self, Mode};

/// The longest name of an object, in bytes.
const MAX_NAME_BYTES: usize = 200;

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Lowercase hexadecimal.
    pub sha256: String,
    pub bytes: u64,
}

/// Why an object could not be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// Trying again can't help.
    #[error("{name:?} can't be an object's name: use a-z, 0-9, _ . - and / between parts")]
    InvalidName { name: String },
    #[error("there is no object {name}")]
    Missing { name: String },
    #[error("object {name} is damaged: its checksum differs")]
    Damaged { name: String },
    #[error("the media store is not available: {reason}")]
    Unavailable { reason: String },
}

/// The configured media store.
#[derive(Debug, Clone)]
pub enum Media {
    Files(FileMedia),
}

impl Media {
    /// Stores an object; durable when it returns. An object of that name is replaced in one step, so
    /// that a repeat with the same bytes changes nothing.
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<StoredObject, MediaError> {
        match self {
            Self::Files(files) => files.put(name, bytes).await,
        }
    }

    /// Reads an object and compares it with the checksum it had when it was stored.
    pub async fn get(&self, name: &str, expected_sha256: &str) -> Result<Bytes, MediaError> {
        match self {
            Self::Files(files) => files.get(name, expected_sha256).await,
        }
    }

    /// Whether objects can be written at present; the reason when not.
    pub async fn ping(&self) -> Result<(), MediaError> {
        match self {
            Self::Files(files) => files.ping().await,
        }
    }
}

/// Objects as files under `{data_dir}/documents`.
#[derive(Debug, Clone)]
pub struct FileMedia {
    directory: PathBuf,
}

impl FileMedia {
    /// The store in `data_dir`; its directory is made with the first object.
    pub fn new(data_dir: &Path) -> Self {
        Self {
            directory: data_dir.join("documents"),
        }
    }

    async fn put(&self, name: &str, bytes: Bytes) -> Result<StoredObject, MediaError> {
        let path = self.path_of(name)?;
        durable_file::blocking(move || {
            durable_file::write(&path, &bytes, Mode::Shared)?;
            Ok(StoredObject {
                sha256: checksum(&bytes),
                bytes: bytes.len() as u64,
            })
        })
        .await
        .map_err(|error| unavailable(&error))
    }

    async fn get(&self, name: &str, expected_sha256: &str) -> Result<Bytes, MediaError> {
        let path = self.path_of(name)?;
        let read = durable_file::blocking(move || {
            let bytes = std::fs::read(&path)?;
            Ok((checksum(&bytes), bytes))
        });
        match read.await {
            Ok((sha256, bytes)) if sha256 == expected_sha256 => Ok(bytes.into()),
            Ok(_) => Err(MediaError::Damaged {
                name: name.to_owned(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(MediaError::Missing {
                name: name.to_owned(),
            }),
            Err(error) => Err(unavailable(&error)),
        }
    }

    async fn ping(&self) -> Result<(), MediaError> {
        let directory = self.directory.clone();
        durable_file::blocking(move || durable_file::check_writable(&directory))
            .await
            .map_err(|error| unavailable(&error))
    }

    /// Names come from ids of ours, but nothing here relies on it: no name leads out of the
    /// directory or to a hidden file.
    fn path_of(&self, name: &str) -> Result<PathBuf, MediaError> {
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.');
        let is_part =
            |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(allowed);
        let valid =
            name.len() <= MAX_NAME_BYTES && !name.contains("..") && name.split('/').all(is_part);
        if !valid {
            return Err(MediaError::InvalidName {
                name: name.chars().take(80).collect(),
            });
        }
        Ok(self.directory.join(name))
    }
}

fn checksum(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn unavailable(error: &io::Error) -> MediaError {
    MediaError::Unavailable {
        reason: error.to_string(),
    }
}
