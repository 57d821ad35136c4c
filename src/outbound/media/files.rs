//! Objects as files of this machine.

use std::path::{Path, PathBuf};

use futures_util::{StreamExt, TryStreamExt};
use tokio::fs::File;
use tokio::time::Duration;
use tokio_util::io::ReaderStream;

use super::durable_file::{self, Mode};
use super::{Bytes, MediaError, ObjectReader, StoredObject, io};

/// How much of a file is read at once.
const PART_BYTES: usize = 64 * 1024;
/// How long a disk may take for it.
const READ_WITHIN: Duration = Duration::from_secs(30);

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

    /// A file that is replaced meanwhile is read to its own end.
    pub(super) async fn read(&self, name: &str, sha256: &str) -> Result<ObjectReader, MediaError> {
        let file = match File::open(self.directory.join(name)).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(MediaError::missing(name));
            }
            Err(error) => return Err(unavailable(&error)),
        };
        let parts = ReaderStream::with_capacity(file, PART_BYTES);
        let parts = parts.map_err(|error| unavailable(&error)).boxed();
        ObjectReader::open(name, sha256, parts, READ_WITHIN).await
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
