//! The handle through which everybody talks to invoices.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::Invoice;
use crate::domain::invoice::command::Request;
use crate::domain::invoice::decide::Refusal;
use crate::store::StoreError;

/// An invoice as it is now, with the bytes of its representation kept once they were made.
#[derive(Debug)]
pub struct Published {
    pub invoice: Arc<Invoice>,
    /// Filled by the edge: the JSON body of `GET /v1/invoices/{id}`.
    pub representation: OnceLock<Bytes>,
}

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
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Talks to invoices. Cheap to clone.
#[derive(Debug, Clone)]
pub struct InvoicesHandle {}

impl InvoicesHandle {
    /// Carries out a command. Another organization's invoice gives `Refused(NotFound)`.
    pub async fn execute(
        &self,
        organization: OrganizationId,
        id: InvoiceId,
        request: Request,
    ) -> Result<Executed, ExecuteError> {
        let _ = (organization, id, request);
        Err(ExecuteError::Busy)
    }

    /// The invoice now.
    pub async fn get(
        &self,
        organization: OrganizationId,
        id: InvoiceId,
    ) -> Result<Arc<Published>, ExecuteError> {
        let _ = (organization, id);
        Err(ExecuteError::Busy)
    }

    /// The invoice now, whoever owns it: for the customer's page, whose token is its own proof.
    pub async fn get_for_page(&self, id: InvoiceId) -> Result<Arc<Published>, ExecuteError> {
        let _ = id;
        Err(ExecuteError::Busy)
    }

    /// The invoice as it was at a moment, replayed from its history.
    pub async fn as_of(
        &self,
        organization: OrganizationId,
        id: InvoiceId,
        at: Timestamp,
    ) -> Result<Arc<Invoice>, ExecuteError> {
        let _ = (organization, id, at);
        Err(ExecuteError::Busy)
    }

    /// Tells of every new version from now on. A receiver may see several at once: read what lies
    /// between from the store.
    pub fn watch(&self, id: InvoiceId) -> watch::Receiver<u64> {
        let _ = id;
        watch::channel(0).1
    }
}
