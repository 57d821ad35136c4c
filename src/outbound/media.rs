//! Where documents and uploads are kept.

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Lowercase hexadecimal.
    pub sha256: String,
    pub bytes: u64,
}

/// Why an object could not be written or read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MediaError {
    #[error("there is no object {name}")]
    Missing { name: String },
    #[error("object {name} is damaged: its checksum differs")]
    Damaged { name: String },
    #[error("the media store is not available: {reason}")]
    Unavailable { reason: String },
}
