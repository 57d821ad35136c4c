//! What comes of a command, here or at another node.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

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

/// An invoice as the edge answers with it, written by its owner: no other node reads it for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Representation {
    pub version: u64,
    /// The JSON body.
    pub body: Bytes,
    /// As [`Executed::replayed`].
    pub replayed: bool,
}

/// How the edge writes an invoice; the error says why it can't.
pub type Represent = dyn Fn(&Invoice) -> Result<Bytes, String> + Send + Sync;

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
    /// No owner was found, or none that answered, in the time there was, or before its node stopped;
    /// whether it was done is not known. The same key asks again.
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

    /// As [`execute`](Self::execute), for who only answers with what comes of it.
    async fn execute_represented(
        &self,
        id: InvoiceId,
        organization: OrganizationId,
        request: Request,
    ) -> Result<Representation, ExecuteError>;

    /// The invoice as its owner sees it.
    async fn get(&self, id: InvoiceId) -> Result<Arc<Published>, ExecuteError>;

    /// The invoice as its owner represents it, if it is the organization's and not deleted.
    async fn get_represented(
        &self,
        id: InvoiceId,
        organization: OrganizationId,
    ) -> Result<Representation, ExecuteError>;

    /// Sees to it that [`notify`](super::invoices::InvoicesHandle::notify) is called for new
    /// versions as long as somebody watches.
    fn watch(&self, id: InvoiceId);
}
