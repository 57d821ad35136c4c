//! Objects as files of this machine.

use std::path::{Path, PathBuf};

use super::durable_file::{self, Mode};
use super::{Bytes, MediaError, StoredObject, checked, io};

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

    pub(super) async fn put(&self, name: &str, bytes: Bytes) -> Result<StoredObject, MediaError> {
        let path = self.directory.join(name);
        durable_file::blocking(move || {
            durable_file::write(&path, &bytes, Mode::Shared)?;
            Ok(StoredObject::of(&bytes))
        })
        .await
        .map_err(|error| unavailable(&error))
    }

    pub(super) async fn get(&self, name: &str, sha256: &str) -> Result<Bytes, MediaError> {
        let path = self.directory.join(name);
        let (name, sha256) = (name.to_owned(), sha256.to_owned());
        durable_file::blocking(move || {
            Ok(match std::fs::read(&path) {
                Ok(bytes) => checked(&name, bytes, &sha256),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Err(MediaError::missing(&name))
                }
                Err(error) => Err(unavailable(&error)),
            })
        })
        .await
        .unwrap_or_else(|error| Err(unavailable(&error)))
    }

    pub(super) async fn ping(&self) -> Result<(), MediaError> {
        let directory = self.directory.clone();
        durable_file::blocking(move || durable_file::check_writable(&directory))
            .await
            .map_err(|error| unavailable(&error))
    }
}

fn unavailable(error: &io::Error) -> MediaError {
    MediaError::unavailable(error.to_string())
}
