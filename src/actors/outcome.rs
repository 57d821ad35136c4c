//! What comes of a command, here or at another node.

use std::sync::Arc;

use async_trait::async_trait;

use super::live::Published;
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::Invoice;
use crate::domain::invoice::command::Request;
use crate::domain::invoice::decide::Refusal;
use crate::store::StoreError;

/// A command carried out.
#[derive(Debug, Clone)]
pub struct Executed {
    /// The invoice after the command; after the first one, when it is a repeat.
    pub invoice: Arc<Invoice>,
    /// The same request was carried out before.
    pub replayed: bool,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExecuteError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too much is waiting; nothing was done.
    #[error("too many commands are waiting")]
    Busy,
    /// The invoice's actor crashed on this command; whether it was done is not known.
    #[error("the invoice's actor crashed")]
    Crashed,
    /// Another node answers for the invoice; nothing was done.
    #[error("another node owns the invoice")]
    NotOwner,
    /// No owner was found, or none that answered, in the time there was; whether it was done is not
    /// known. The same key asks again.
    #[error("the invoice's owner can't be reached")]
    Unreachable,
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for ExecuteError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotOwner => Self::NotOwner,
            error => Self::Store(error),
        }
    }
}

/// Where invoices live that this node does not own.
#[async_trait]
pub trait Elsewhere: Send + Sync + 'static {
    /// Carries out a command at the invoice's owner, who may meanwhile be this node.
    async fn execute(
        &self,
        id: InvoiceId,
        organization: Option<OrganizationId>,
        request: Request,
    ) -> Result<Executed, ExecuteError>;

    /// The invoice as its owner sees it.
    async fn get(&self, id: InvoiceId) -> Result<Arc<Published>, ExecuteError>;

    /// Sees to it that [`InvoicesHandle::notify`] is called for new versions as long as somebody
    /// watches.
    fn watch(&self, id: InvoiceId);
}
