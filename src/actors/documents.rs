//! Documents: rendered by the Pdf pool, kept and read by the Media pool.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::media::{MediaOutput, MediaTask, MediaWork};
use super::pdf::{PdfTask, PdfWork};
use super::pool::{Pool, PoolError};
use crate::domain::ids::EffectId;
use crate::domain::invoice::{DocumentFormat, Invoice, StoredDocument};
use crate::outbound::media::{MediaError, ObjectReader, StoredObject};
use crate::render::RenderError;
use crate::store::{DirectoryStore, StoreError};

/// Why there is no document.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DocumentError {
    /// Too much is waiting.
    #[error("too many documents are being made")]
    Busy,
    #[error("the worker crashed on this document")]
    Crashed,
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<PoolError> for DocumentError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Busy => Self::Busy,
            PoolError::Crashed => Self::Crashed,
        }
    }
}

/// Makes and reads documents. Cheap to clone.
#[derive(Clone)]
pub struct DocumentsHandle {
    pdf: Pool<PdfWork>,
    media: Pool<MediaWork>,
    directory: Arc<dyn DirectoryStore>,
}

impl std::fmt::Debug for DocumentsHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DocumentsHandle")
    }
}

impl DocumentsHandle {
    pub(super) fn new(
        pdf: Pool<PdfWork>,
        media: Pool<MediaWork>,
        directory: Arc<dyn DirectoryStore>,
    ) -> Self {
        Self {
            pdf,
            media,
            directory,
        }
    }

    /// Renders the invoice as it is.
    pub async fn render(
        &self,
        invoice: Arc<Invoice>,
        format: DocumentFormat,
    ) -> Result<Bytes, DocumentError> {
        let logo_png = self.logo(&invoice).await?;
        let bytes = self
            .pdf
            .run(PdfTask {
                invoice,
                format,
                logo_png,
            })
            .await??;
        Ok(bytes.into())
    }

    /// Begins to read a stored document; its checksum is compared on the way.
    pub async fn stored(&self, document: &StoredDocument) -> Result<ObjectReader, DocumentError> {
        let name = document.object.clone();
        let task = MediaTask::Read {
            name: name.clone(),
            sha256: document.sha256.clone(),
        };
        match self.media.run(task).await?? {
            MediaOutput::Opened(reader) => Ok(reader),
            MediaOutput::Stored(_) => Err(MediaError::Missing { name }.into()),
        }
    }

    /// Renders and stores the document of an effect.
    pub(super) async fn store(
        &self,
        invoice: Arc<Invoice>,
        effect: &EffectId,
        format: DocumentFormat,
    ) -> Result<(String, StoredObject), DocumentError> {
        let bytes = self.render(invoice, format).await?;
        let name = object_name(effect, format, &bytes);
        match self
            .media
            .run(MediaTask::Put {
                name: name.clone(),
                bytes,
            })
            .await??
        {
            MediaOutput::Stored(stored) => Ok((name, stored)),
            MediaOutput::Opened(_) => Err(MediaError::Missing { name }.into()),
        }
    }

    async fn logo(&self, invoice: &Invoice) -> Result<Option<Arc<Vec<u8>>>, StoreError> {
        let Some(logo) = invoice.content.issuer.logo else {
            return Ok(None);
        };
        let asset = self.directory.asset(invoice.organization, logo).await?;
        Ok(asset.map(|asset| Arc::new(asset.bytes)))
    }
}

/// Made from the effect's id and the content. Two attempts at an effect, perhaps of two nodes, may find
/// the invoice in two states: whichever of them is noted in the end, the other one did not replace its
/// document.
fn object_name(effect: &EffectId, format: DocumentFormat, bytes: &[u8]) -> String {
    const DIGEST_BYTES: usize = 8;
    let digest = Sha256::digest(bytes);
    format!(
        "{}/document-{}-{}.{}",
        effect.invoice,
        effect.sequence,
        hex::encode(&digest[..DIGEST_BYTES]),
        format.extension()
    )
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::InvoiceId;
    use crate::domain::invoice::effect::EffectKindName;

    #[test]
    fn an_attempt_replaces_no_other_document_than_its_own() {
        let effect = EffectId {
            invoice: InvoiceId::new(Uuid::nil()),
            kind: EffectKindName::Document,
            sequence: 4,
        };
        let name = |bytes: &[u8]| object_name(&effect, DocumentFormat::Pdf, bytes);
        assert_eq!(name(b"open"), name(b"open"));
        assert_ne!(name(b"open"), name(b"paid"));
        assert!(name(b"open").starts_with("inv_00000000000000000000000000000000/document-4-"));
    }
}
