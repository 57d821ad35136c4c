//! `/v1/invoices`: one file for each group of routes.

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;

use super::App;
use super::answer;
use super::conditional::IfMatch;
use super::error::ApiError;
use super::extract::{Authenticated, RequestId};
use super::idempotency::mark_replayed;
use crate::actors::invoices::{Executed, Published};
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
    let organization = order.caller.organization;
    let expected_version = match (order.if_match, order.if_match.single()) {
        (IfMatch::Any, _) => None,
        (IfMatch::Versions(_), Some(version)) => Some(version),
        (several @ IfMatch::Versions(_), None) => {
            let published = find(app, order.caller, order.id).await?;
            several.check(published.invoice.version)?;
            Some(published.invoice.version)
        }
    };
    let request = Request {
        command: order.command,
        by: order.caller.initiator.clone(),
        key: order.key,
        expected_version,
        request_id: order.request_id.as_str().to_owned(),
    };
    Ok(app
        .invoices
        .execute(organization, order.id, request)
        .await?)
}

fn links(app: &App) -> Links<'_> {
    Links {
        public_url: &app.public_url,
    }
}

/// The invoice after a command.
fn executed(app: &App, status: StatusCode, executed: &Executed) -> Result<Response, ApiError> {
    let body = representation::bytes(&executed.invoice, links(app))?;
    let mut response = answer::resource(status, executed.invoice.version, body);
    if executed.replayed {
        mark_replayed(&mut response);
    }
    Ok(response)
}

/// The invoice that was made, with its address.
fn created(app: &App, done: &Executed) -> Result<Response, ApiError> {
    let mut response = executed(app, StatusCode::CREATED, done)?;
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/invoices/{}", done.invoice.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}
