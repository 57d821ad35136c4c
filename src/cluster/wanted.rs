//! What is asked for, whoever it has to be asked of.

use std::sync::Arc;

use tokio::time::Instant;

use super::wire::Question;
use crate::actors::invoices::{ExecuteError, Executed, InvoicesHandle, Published, Representation};
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::command::Request;

#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    Execution(Execution<'a>),
    State,
    Represented(OrganizationId),
}

#[derive(Clone, Copy)]
pub(super) struct Execution<'a> {
    /// `None` for Faktor's own commands.
    pub(super) organization: Option<OrganizationId>,
    pub(super) request: &'a Request,
    /// Whether its representation will do.
    pub(super) represented: bool,
    /// Since when it may have been carried out.
    pub(super) unsure_since: Option<Instant>,
}

/// What was found.
pub(super) enum Found {
    Executed(Executed),
    State(Arc<Published>),
    Represented(Representation),
}

impl Wanted<'_> {
    /// What was asked at `asked_at` may have been carried out.
    pub(super) fn doubt(&mut self, asked_at: Instant) {
        if let Self::Execution(execution) = self {
            execution.unsure_since.get_or_insert(asked_at);
        }
    }

    /// Whether it may have been carried out without anybody having said so.
    pub(super) const fn is_in_doubt(self) -> bool {
        matches!(self, Self::Execution(execution) if execution.unsure_since.is_some())
    }

    /// For the owner; `known` is the version that this node has seen.
    pub(super) fn question(self, id: InvoiceId, known: Option<u64>) -> Question {
        match self {
            Self::Execution(execution) => Question::Execute {
                id,
                organization: execution.organization,
                request: Box::new(execution.doubted()),
                represented: execution.represented,
            },
            Self::State => Question::Read {
                id,
                known,
                represented_to: None,
            },
            Self::Represented(organization) => Question::Read {
                id,
                known: None,
                represented_to: Some(organization),
            },
        }
    }

    /// For this node, if it is the owner by now.
    pub(super) async fn here(
        self,
        invoices: &InvoicesHandle,
        id: InvoiceId,
    ) -> Result<Found, ExecuteError> {
        match self {
            Self::Execution(execution) => invoices
                .execute_here(id, execution.organization, execution.doubted())
                .await
                .map(Found::Executed),
            Self::State => invoices.get_here(id).await.map(Found::State),
            Self::Represented(organization) => invoices
                .get_represented_here(id, organization)
                .await
                .map(Found::Represented),
        }
    }
}

impl Execution<'_> {
    /// The request, saying since when it may have been carried out: as a duration, since the owner's
    /// clock is another one.
    fn doubted(self) -> Request {
        let mut request = self.request.clone();
        if let (Some(key), Some(since)) = (&mut request.key, self.unsure_since) {
            key.unsure_for_ms = u64::try_from(since.elapsed().as_millis()).ok();
        }
        request
    }
}
