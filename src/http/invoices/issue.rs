//! Issuing and sending: finalize, send, retry, a new page address.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::drafts::PAGE_SECRET_BYTES;
use super::representation::InvoiceBody;
use super::{Order, answer_to, execute, executed};
use crate::actors::invoices::{Executed, Published};
use crate::clock;
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::Status;
use crate::domain::invoice::command::{Command, SendRequest};
use crate::domain::permission::Permission;
use crate::domain::problem::Problems;
use crate::http::App;
use crate::http::conditional::IfMatch;
use crate::http::error::ApiError;
use crate::http::extract::{Authenticated, Id, Payload, RequestId};
use crate::http::idempotency::Key;
use crate::http::input::{Field, optional};
use crate::http::openapi::WriteErrors;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(finalize))
        .routes(routes!(send))
        .routes(routes!(retry))
        .routes(routes!(rotate_link))
}

/// How long an answer waits for the number.
const NUMBER_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FinalizeInput {
    /// Also send it, to `bill_to.email`.
    #[schema(value_type = Option<bool>)]
    send: Option<Field<bool>>,
}

/// Gives a draft its number and fixes its content; answers the open invoice.
#[utoipa::path(
    post, path = "/v1/invoices/{id}/finalize", tag = "invoices", operation_id = "finalize_invoice",
    params(
        ("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header),
        ("If-Match" = Option<String>, Header)
    ),
    request_body(content = Option<FinalizeInput>),
    responses(
        (status = 200, description = "The open invoice", body = InvoiceBody,
            headers(("ETag" = String))),
        WriteErrors
    )
)]
async fn finalize(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<InvoiceId>,
    if_match: IfMatch,
    key: Key,
    request_id: RequestId,
    payload: Payload,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceUpdate)?;
    let input: FinalizeInput = payload.json_or_default()?;
    let mut problems = Problems::new();
    let send = optional(input.send, "send", &mut problems).unwrap_or(false);
    problems.finish(())?;
    if send {
        caller.require(Permission::InvoiceSend)?;
    }
    let settings = app.organization(caller.organization).await?;
    let command = Command::Finalize {
        issuer: Box::new(settings.issuer.clone()),
        send: send.then(SendRequest::default),
    };
    let order = Order {
        caller: &caller,
        id,
        command,
        key: key.for_command(&payload),
        if_match: &if_match,
        request_id: &request_id,
    };
    let mut done = execute(&app, order).await?;
    if done.invoice.status() == Status::Finalizing {
        let deadline = Instant::now() + NUMBER_WITHIN;
        let numbered = wait_until(&app, caller.organization, id, deadline, |published| {
            published.invoice.status() != Status::Finalizing
        });
        let published = numbered.await?;
        if published.invoice.status() == Status::Finalizing {
            return Err(ApiError::unavailable(
                "invoice_finalizing",
                "the number is still being allocated; the invoice goes on by itself",
            ));
        }
        done = Executed {
            invoice: Arc::clone(&published.invoice),
            ..done
        };
    }
    executed(&app, StatusCode::OK, &done)
}

/// The invoice once `reached`, or as it is at the deadline. Watching begins before the first look,
/// so that no version is missed.
pub(in crate::http) async fn wait_until(
    app: &App,
    organization: OrganizationId,
    id: InvoiceId,
    deadline: Instant,
    reached: impl Fn(&Published) -> bool,
) -> Result<Arc<Published>, ApiError> {
    let mut versions = app.invoices.watch(id);
    loop {
        versions.borrow_and_update();
        let published = app.invoices.get(organization, id).await?;
        if reached(&published) {
            return Ok(published);
        }
        match tokio::time::timeout_at(deadline, versions.changed()).await {
            Ok(Ok(())) => {}
            // The deadline, or nobody will tell of versions any more.
            Ok(Err(_)) | Err(_) => return Ok(app.invoices.get(organization, id).await?),
        }
    }
}

/// Whom to send to; without recipients, to `bill_to.email`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"to": ["ap@ada.example"], "message": "Thank you for your order."}))]
struct SendInput {
    #[schema(value_type = Option<Vec<String>>)]
    to: Option<Field<Vec<String>>>,
    #[schema(value_type = Option<Vec<String>>)]
    cc: Option<Field<Vec<String>>>,
    #[schema(value_type = Option<String>)]
    message: Option<Field<String>>,
    /// Send then, not now: an RFC 3339 timestamp.
    #[schema(value_type = Option<String>)]
    at: Option<Field<Timestamp>>,
}

/// Sends an invoice by mail, finalizing it first if it is a draft. Answers at once; `document`,
/// `payment` and `delivery` show the progress.
#[utoipa::path(
    post, path = "/v1/invoices/{id}/send", tag = "invoices", operation_id = "send_invoice",
    params(
        ("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header),
        ("If-Match" = Option<String>, Header)
    ),
    request_body(content = Option<SendInput>),
    responses(
        (status = 202, description = "Under way", body = InvoiceBody, headers(("ETag" = String))),
        WriteErrors
    )
)]
async fn send(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<InvoiceId>,
    if_match: IfMatch,
    key: Key,
    request_id: RequestId,
    payload: Payload,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceSend)?;
    let input: SendInput = payload.json_or_default()?;
    let mut problems = Problems::new();
    let request = SendRequest {
        to: optional(input.to, "to", &mut problems),
        cc: optional(input.cc, "cc", &mut problems).unwrap_or_default(),
        message: optional(input.message, "message", &mut problems),
        at: optional(input.at, "at", &mut problems),
    };
    problems.finish(())?;
    let settings = app.organization(caller.organization).await?;
    let order = Order {
        caller: &caller,
        id,
        command: Command::Send {
            issuer: Box::new(settings.issuer.clone()),
            request,
        },
        key: key.for_command(&payload),
        if_match: &if_match,
        request_id: &request_id,
    };
    answer_to(&app, StatusCode::ACCEPTED, order).await
}

/// No body, or `{}`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Re-issues the effects that were given up.
#[utoipa::path(
    post, path = "/v1/invoices/{id}/retry", tag = "invoices", operation_id = "retry_invoice",
    params(
        ("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header),
        ("If-Match" = Option<String>, Header)
    ),
    responses(
        (status = 200, description = "The invoice", body = InvoiceBody, headers(("ETag" = String))),
        WriteErrors
    )
)]
async fn retry(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<InvoiceId>,
    if_match: IfMatch,
    key: Key,
    request_id: RequestId,
    payload: Payload,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceUpdate)?;
    payload.json_or_default::<Nothing>()?;
    let order = Order {
        caller: &caller,
        id,
        command: Command::Retry,
        key: key.for_command(&payload),
        if_match: &if_match,
        request_id: &request_id,
    };
    answer_to(&app, StatusCode::OK, order).await
}

/// Revokes the address of the customer's page and makes a new one.
#[utoipa::path(
    post, path = "/v1/invoices/{id}/rotate_link", tag = "invoices",
    operation_id = "rotate_invoice_link",
    params(
        ("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header),
        ("If-Match" = Option<String>, Header)
    ),
    responses(
        (status = 200, description = "The invoice with its new `page_url`", body = InvoiceBody,
            headers(("ETag" = String))),
        WriteErrors
    )
)]
async fn rotate_link(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<InvoiceId>,
    if_match: IfMatch,
    key: Key,
    request_id: RequestId,
    payload: Payload,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceUpdate)?;
    payload.json_or_default::<Nothing>()?;
    let page_secret = clock::random_hex::<PAGE_SECRET_BYTES>();
    let order = Order {
        caller: &caller,
        id,
        command: Command::RotatePageSecret { page_secret },
        key: key.for_command(&payload),
        if_match: &if_match,
        request_id: &request_id,
    };
    answer_to(&app, StatusCode::OK, order).await
}
