//! Where documents and uploads are kept.

use std::io;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::time::{Duration, timeout};

use super::durable_file;

mod address;
mod cloudinary;
mod files;
mod gridfs;
mod reader;
mod s3;

pub use cloudinary::CloudinaryMedia;
pub use files::FileMedia;
pub use gridfs::GridFsMedia;
pub use reader::ObjectReader;
pub use s3::S3Media;

/// The longest name of an object, in bytes.
const MAX_NAME_BYTES: usize = 200;
/// The largest object, in bytes: far above any document.
const MAX_OBJECT_BYTES: usize = 64 * 1024 * 1024;
/// How much of what a server says about an error goes into ours, in characters.
const MAX_REASON_CHARS: usize = 300;

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Lowercase hexadecimal.
    pub sha256: String,
    pub bytes: u64,
}

impl StoredObject {
    fn of(bytes: &[u8]) -> Self {
        Self {
            sha256: hex::encode(Sha256::digest(bytes)),
            bytes: bytes.len() as u64,
        }
    }
}

/// How long a media store on the network may take.
#[derive(Debug, Clone, Copy)]
pub struct TimeLimits {
    /// Finding the server and connecting to it.
    pub connect: Duration,
    /// Writing or reading one object, repeats included.
    pub transfer: Duration,
}

impl TimeLimits {
    /// Half a minute for an object, which is 5 MiB at 1.5 Mbit/s.
    pub const fn new(connect: Duration) -> Self {
        Self {
            connect,
            transfer: Duration::from_secs(30),
        }
    }
}

/// Why an object could not be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// Trying again can't help.
    #[error("{name:?} can't be an object's name: use a-z, 0-9, _ . - and / between parts")]
    InvalidName { name: String },
    #[error("object {name} has {bytes} bytes, and at most {MAX_OBJECT_BYTES} are stored")]
    TooLarge { name: String, bytes: usize },
    #[error("there is no object {name}")]
    Missing { name: String },
    #[error("object {name} is damaged: its checksum differs")]
    Damaged { name: String },
    #[error("the media store is not available: {reason}")]
    Unavailable { reason: String },
    /// It answers, but not to us: an operator must change a key or a right.
    #[error("the media store refuses access: {reason}")]
    Denied { reason: String },
    #[error("the address of the media store can't be used: {reason}")]
    Address { reason: String },
}

impl MediaError {
    /// Whether waiting does not help: somebody must change something first.
    pub const fn is_lasting(&self) -> bool {
        matches!(self, Self::Denied { .. } | Self::Address { .. })
    }

    fn missing(name: &str) -> Self {
        Self::Missing {
            name: name.to_owned(),
        }
    }

    fn damaged(name: &str) -> Self {
        Self::Damaged {
            name: name.to_owned(),
        }
    }

    fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable {
            reason: reason.into(),
        }
    }

    fn denied(reason: impl Into<String>) -> Self {
        Self::Denied {
            reason: reason.into(),
        }
    }

    fn address(reason: impl Into<String>) -> Self {
        Self::Address {
            reason: reason.into(),
        }
    }
}

/// The configured media store.
#[derive(Debug, Clone)]
pub enum Media {
    Files(FileMedia),
    GridFs(GridFsMedia),
    S3(S3Media),
    Cloudinary(CloudinaryMedia),
}

impl Media {
    /// Stores an object; durable when it returns. An object of that name is replaced in one step, so
    /// that a repeat with the same bytes changes nothing.
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<StoredObject, MediaError> {
        check_name(name)?;
        if bytes.len() > MAX_OBJECT_BYTES {
            return Err(MediaError::TooLarge {
                name: name.to_owned(),
                bytes: bytes.len(),
            });
        }
        match self {
            Self::Files(files) => files.put(name, bytes).await,
            Self::GridFs(bucket) => bucket.put(name, bytes).await,
            Self::S3(bucket) => bucket.put(name, bytes).await,
            Self::Cloudinary(cloud) => cloud.put(name, bytes).await,
        }
    }

    /// Reads an object part by part, compared on the way with the checksum it had when it was stored.
    pub async fn read(
        &self,
        name: &str,
        expected_sha256: &str,
    ) -> Result<ObjectReader, MediaError> {
        check_name(name)?;
        match self {
            Self::Files(files) => files.read(name, expected_sha256).await,
            Self::GridFs(bucket) => bucket.read(name, expected_sha256).await,
            Self::S3(bucket) => bucket.read(name, expected_sha256).await,
            Self::Cloudinary(cloud) => cloud.read(name, expected_sha256).await,
        }
    }

    /// Reads a whole object, compared with the checksum it had when it was stored.
    pub async fn get(&self, name: &str, expected_sha256: &str) -> Result<Bytes, MediaError> {
        self.read(name, expected_sha256).await?.whole().await
    }

    /// Whether the store is there and lets us in; asked before a node starts.
    pub async fn open(&self) -> Result<(), MediaError> {
        match self {
            Self::S3(bucket) => bucket.open().await,
            Self::Files(_) | Self::GridFs(_) | Self::Cloudinary(_) => self.ping().await,
        }
    }

    /// Whether objects can be written at present; the reason when not.
    pub async fn ping(&self) -> Result<(), MediaError> {
        match self {
            Self::Files(files) => files.ping().await,
            Self::GridFs(bucket) => bucket.ping().await,
            Self::S3(bucket) => bucket.ping().await,
            Self::Cloudinary(cloud) => cloud.ping().await,
        }
    }
}

/// Names come from ids of ours, but nothing relies on it: no name leads out of a directory or to a
/// hidden file, and none needs an escape in a URL.
fn check_name(name: &str) -> Result<(), MediaError> {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.');
    let is_part =
        |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(allowed);
    let valid =
        name.len() <= MAX_NAME_BYTES && !name.contains("..") && name.split('/').all(is_part);
    if valid {
        return Ok(());
    }
    Err(MediaError::InvalidName {
        name: name.chars().take(80).collect(),
    })
}

/// Ends what takes too long.
async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, MediaError>>,
) -> Result<T, MediaError> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        let reason = format!("no answer within {} ms", limit.as_millis());
        Err(MediaError::unavailable(reason))
    })
}

/// What a server said, on one line of bounded length.
fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_control())
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .flat_map(|part| part.chars().chain([' ']))
        .take(MAX_REASON_CHARS)
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// The media type by the name's extension.
fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("pdf") => "application/pdf",
        Some("xlsx") => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        Some("csv") => "text/csv; charset=utf-8",
        Some("json") => "application/json",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_said_becomes_one_bounded_line() {
        assert_eq!(one_line("  bad\r\n\trequest \0"), "bad request");
        assert_eq!(
            one_line(&"x".repeat(5_000)).chars().count(),
            MAX_REASON_CHARS
        );
    }
}
