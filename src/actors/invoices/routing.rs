//! What is asked of any invoice, wherever it lives: here if this node owns it, else by way of
//! [`Elsewhere`].

use std::sync::Arc;

use super::{
    Elsewhere, ExecuteError, Executed, InvoicesHandle, Published, Representation, internal,
};
use crate::clock;
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::Status;
use crate::domain::invoice::command::{Command, IdempotencyKey, Initiator, Request};
use crate::domain::invoice::decide::Refusal;
use crate::store::{ShardId, StoreError};

impl InvoicesHandle {
    /// Carries out a command. Another organization's invoice gives `Refused(NotFound)`.
    pub async fn execute(
        &self,
        organization: OrganizationId,
        id: InvoiceId,
        request: Request,
    ) -> Result<Executed, ExecuteError> {
        self.route(id, Some(organization), request).await
    }

    /// As [`execute`](Self::execute), for who only answers with what comes of it.
    pub async fn execute_represented(
        &self,
        organization: OrganizationId,
        id: InvoiceId,
        request: Request,
    ) -> Result<Representation, ExecuteError> {
        match self.execute_if_here(id, Some(organization), request).await {
            Ok(done) => self.represent(&done?),
            Err((elsewhere, request)) => {
                let is_the_callers = has_callers_key(&request);
                let done = elsewhere.execute_represented(id, organization, request);
                let done = done.await?;
                Ok(Representation {
                    replayed: done.replayed && is_the_callers,
                    ..done
                })
            }
        }
    }

    /// What is answered to who asked for a command.
    pub fn represent(&self, done: &Executed) -> Result<Representation, ExecuteError> {
        let body = (self.node.represent)(&done.invoice).map_err(unrepresentable)?;
        Ok(Representation {
            version: done.invoice.version,
            body,
            replayed: done.replayed,
        })
    }

    /// Carries out a command of Faktor's own, whoever the invoice belongs to.
    pub async fn execute_internal(
        &self,
        id: InvoiceId,
        command: Command,
        by: Initiator,
        request_id: &str,
    ) -> Result<Executed, ExecuteError> {
        self.route(id, None, internal(command, by, request_id))
            .await
    }

    async fn route(
        &self,
        id: InvoiceId,
        organization: Option<OrganizationId>,
        request: Request,
    ) -> Result<Executed, ExecuteError> {
        match self.execute_if_here(id, organization, request).await {
            Ok(done) => done,
            Err((elsewhere, request)) => {
                let is_the_callers = has_callers_key(&request);
                let done = elsewhere.execute(id, organization, request).await?;
                Ok(Executed {
                    replayed: done.replayed && is_the_callers,
                    ..done
                })
            }
        }
    }

    /// Carries out a command if this node owns the invoice; otherwise gives it back, with the way to
    /// the node that does.
    async fn execute_if_here(
        &self,
        id: InvoiceId,
        organization: Option<OrganizationId>,
        mut request: Request,
    ) -> Result<Result<Executed, ExecuteError>, (&dyn Elsewhere, Request)> {
        let Some(elsewhere) = self.node.elsewhere.get() else {
            return Ok(self.execute_here(id, organization, request).await);
        };
        if self.node.ownership.serves(ShardId::of(id)).is_ok() {
            match self.execute_here(id, organization, request.clone()).await {
                Err(ExecuteError::NotOwner) => {}
                settled => return Ok(settled),
            }
        }
        // From here on it may be asked for more than once. Faktor's own commands know a repeat by what
        // they name.
        if organization.is_some() && request.key.is_none() {
            request.key = Some(IdempotencyKey {
                key: format!("once_{}", clock::random_hex::<12>()),
                fingerprint: 0,
                keep: false,
                unsure_for_ms: None,
            });
        }
        Err((&**elsewhere, request))
    }

    /// The invoice now.
    pub async fn get(
        &self,
        organization: OrganizationId,
        id: InvoiceId,
    ) -> Result<Arc<Published>, ExecuteError> {
        let published = self.get_for_page(id).await?;
        if published.invoice.organization == organization {
            Ok(published)
        } else {
            Err(Refusal::NotFound.into())
        }
    }

    /// The invoice now, whoever owns it: for the customer's page, whose token is its own proof.
    pub async fn get_for_page(&self, id: InvoiceId) -> Result<Arc<Published>, ExecuteError> {
        match (self.get_here(id).await, self.node.elsewhere.get()) {
            (Err(ExecuteError::NotOwner), Some(elsewhere)) => elsewhere.get(id).await,
            (settled, _) => settled,
        }
    }

    /// The invoice now, for who only answers with it; a deleted one is not found, as if it had never
    /// been.
    pub async fn get_represented(
        &self,
        organization: OrganizationId,
        id: InvoiceId,
    ) -> Result<Representation, ExecuteError> {
        let here = self.get_represented_here(id, organization).await;
        match (here, self.node.elsewhere.get()) {
            (Err(ExecuteError::NotOwner), Some(elsewhere)) => {
                elsewhere.get_represented(id, organization).await
            }
            (settled, _) => settled,
        }
    }

    /// As [`get_represented`](Self::get_represented), if this node owns the invoice.
    pub async fn get_represented_here(
        &self,
        id: InvoiceId,
        organization: OrganizationId,
    ) -> Result<Representation, ExecuteError> {
        let published = self.get_here(id).await?;
        self.represent_to(organization, &published)
    }

    /// What is answered to an organization that asked for an invoice.
    pub fn represent_to(
        &self,
        organization: OrganizationId,
        published: &Published,
    ) -> Result<Representation, ExecuteError> {
        let invoice = &published.invoice;
        if invoice.organization != organization || invoice.status() == Status::Deleted {
            return Err(Refusal::NotFound.into());
        }
        let body = published.represented(&*self.node.represent);
        Ok(Representation {
            version: invoice.version,
            body: body.map_err(unrepresentable)?,
            replayed: false,
        })
    }
}

/// Of a repeat that only nodes made, its client knows nothing.
fn has_callers_key(request: &Request) -> bool {
    request.key.as_ref().is_some_and(|key| key.keep)
}

fn unrepresentable(reason: String) -> ExecuteError {
    ExecuteError::Store(StoreError::Corrupt { reason })
}
