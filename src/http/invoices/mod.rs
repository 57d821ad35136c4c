//! `/v1/invoices`: one file for each group of routes.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;

use super::App;
use super::answer;
use super::conditional::IfMatch;
use super::error::ApiError;
use super::extract::{Authenticated, RequestId};
use super::idempotency::mark_replayed;
use crate::actors::invoices::{Executed, Published, Representation};
use crate::domain::ids::InvoiceId;
use crate::domain::invoice::Status;
use crate::domain::invoice::command::{Command, IdempotencyKey, Request};

mod charge;
pub mod content;
pub(super) mod document;
mod drafts;
mod history;
mod issue;
mod list;
mod money;
pub mod representation;
mod stream;

pub(super) use drafts::PAGE_SECRET_BYTES;
pub(super) use issue::wait_until;
use representation::Links;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(drafts::routes())
        .merge(list::routes())
        .merge(issue::routes())
        .merge(money::routes())
        .merge(charge::routes())
        .merge(history::routes())
        .merge(stream::routes())
        .merge(document::routes())
}

/// A command on its way to an invoice.
struct Order<'a> {
    caller: &'a Authenticated,
    id: InvoiceId,
    command: Command,
    key: Option<IdempotencyKey>,
    if_match: &'a IfMatch,
    request_id: &'a RequestId,
}

/// The invoice now; a deleted one is not found, as if it had never been.
pub(super) async fn find(
    app: &App,
    caller: &Authenticated,
    id: InvoiceId,
) -> Result<Arc<Published>, ApiError> {
    let published = app.invoices.get(caller.organization, id).await?;
    match published.invoice.status() {
        Status::Deleted => Err(ApiError::not_found("invoice")),
        _ => Ok(published),
    }
}

/// Hands a command to its invoice.
async fn execute(app: &App, order: Order<'_>) -> Result<Executed, ApiError> {
    let (organization, id) = (order.caller.organization, order.id);
    let request = request(app, order).await?;
    Ok(app.invoices.execute(organization, id, request).await?)
}

/// Hands a command to its invoice, and answers with what comes of it.
async fn answer_to(app: &App, status: StatusCode, order: Order<'_>) -> Result<Response, ApiError> {
    let (organization, id) = (order.caller.organization, order.id);
    let request = request(app, order).await?;
    let done = app.invoices.execute_represented(organization, id, request);
    Ok(represented(status, done.await?))
}

async fn request(app: &App, order: Order<'_>) -> Result<Request, ApiError> {
    let expected_version = match (order.if_match, order.if_match.single()) {
        (IfMatch::Any, _) => None,
        (IfMatch::Versions(_), Some(version)) => Some(version),
        (several @ IfMatch::Versions(_), None) => {
            let published = find(app, order.caller, order.id).await?;
            several.check(published.invoice.version)?;
            Some(published.invoice.version)
        }
    };
    Ok(Request {
        command: order.command,
        by: order.caller.initiator.clone(),
        key: order.key,
        expected_version,
        request_id: order.request_id.as_str().to_owned(),
    })
}

fn links(app: &App) -> Links<'_> {
    Links {
        public_url: &app.public_url,
    }
}

/// The invoice after a command.
fn executed(app: &App, status: StatusCode, done: &Executed) -> Result<Response, ApiError> {
    Ok(represented(status, app.invoices.represent(done)?))
}

fn represented(status: StatusCode, representation: Representation) -> Response {
    let mut response = answer::resource(status, representation.version, representation.body);
    if representation.replayed {
        mark_replayed(&mut response);
    }
    response
}
