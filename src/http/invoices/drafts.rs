//! Making, reading, changing and deleting an invoice.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::content::{ContentInput, defaults};
use super::representation::{InvoiceBody, bytes, cached_bytes};
use super::{Order, created, execute, executed, find, links};
use crate::actors::invoices::{ExecuteError, Executed};
use crate::clock;
use crate::domain::ids::{CustomerId, InvoiceId, OrganizationId};
use crate::domain::invoice::command::Command;
use crate::domain::invoice::decide::Refusal;
use crate::domain::invoice::{Content, Status};
use crate::domain::party::Customer;
use crate::domain::permission::Permission;
use crate::domain::problem::Problems;
use crate::http::App;
use crate::http::answer::{no_content, resource_unless_known};
use crate::http::conditional::{IfMatch, IfNoneMatch};
use crate::http::error::ApiError;
use crate::http::extract::{Authenticated, Id, Params, Payload, RequestId};
use crate::http::idempotency::Key;
use crate::http::input::parse_timestamp;
use crate::http::openapi::{ReadErrors, WriteErrors};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(read, change, delete))
}

/// The bytes of the page's secret: 128 bits can't be guessed.
pub(in crate::http) const PAGE_SECRET_BYTES: usize = 16;

/// Makes a draft.
#[utoipa::path(
    post, path = "/v1/invoices", tag = "invoices", operation_id = "create_invoice",
    params(("Idempotency-Key" = Option<String>, Header, description = "1–255 visible characters")),
    request_body = ContentInput,
    responses(
        (status = 201, description = "The draft", body = InvoiceBody,
            headers(("ETag" = String), ("Location" = String))),
        WriteErrors
    )
)]
async fn create(
    State(app): State<App>,
    caller: Authenticated,
    key: Key,
    request_id: RequestId,
    payload: Payload,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceCreate)?;
    let input: ContentInput = payload.json()?;
    let id = key.new_invoice_id(&app.invoices, caller.organization, "invoice");
    let command_key = key.for_command(&payload);
    let content = match content_of(&app, caller.organization, input).await {
        Ok(content) => content,
        // A repeat is answered as the first time, even if the customer has gone since.
        Err(error) => match command_key {
            Some(key) => return Err(repeated_otherwise(&app, &caller, id, &key, error).await),
            None => return Err(error),
        },
    };
    let command = Command::Create {
        organization: caller.organization,
        content: Arc::new(content),
        page_secret: clock::random_hex::<PAGE_SECRET_BYTES>(),
    };
    let order = Order {
        caller: &caller,
        id,
        command,
        key: command_key,
        if_match: &IfMatch::Any,
        request_id: &request_id,
    };
    created(&app, &execute(&app, order).await?)
}

/// A keyed create that can't be read: 422 when the key was used with another body before.
async fn repeated_otherwise(
    app: &App,
    caller: &Authenticated,
    id: InvoiceId,
    key: &crate::domain::invoice::command::IdempotencyKey,
    error: ApiError,
) -> ApiError {
    let known = app.invoices.get(caller.organization, id).await;
    let reused = known.is_ok_and(|published| {
        published
            .invoice
            .requests
            .iter()
            .any(|kept| kept.key == key.key && kept.fingerprint != key.fingerprint)
    });
    if reused {
        ApiError::idempotency_key_reused()
    } else {
        error
    }
}

async fn content_of(
    app: &App,
    organization: OrganizationId,
    input: ContentInput,
) -> Result<Content, ApiError> {
    let settings = app.organization(organization).await?;
    let customer = customer_of(app, organization, input.customer()).await?;
    let content = defaults(&settings, customer.as_ref());
    Ok(input.apply(content, &settings, customer.as_ref())?)
}

/// The customer named in a body; 422 when there is none with that id.
async fn customer_of(
    app: &App,
    organization: OrganizationId,
    id: Option<CustomerId>,
) -> Result<Option<Customer>, ApiError> {
    let Some(id) = id else { return Ok(None) };
    if let Some(customer) = app.stores.directory.customer(organization, id).await? {
        return Ok(Some(customer));
    }
    let mut problems = Problems::new();
    problems.add(
        "customer",
        "unknown_customer",
        "there is no customer with this id",
    );
    Err(problems.into_vec().into())
}

/// Reads an invoice, as it is or as it was.
#[utoipa::path(
    get, path = "/v1/invoices/{id}", tag = "invoices", operation_id = "get_invoice",
    params(
        ("id" = String, Path),
        ("as_of" = Option<String>, Query, description = "An RFC 3339 timestamp"),
        ("If-None-Match" = Option<String>, Header)
    ),
    responses(
        (status = 200, description = "The invoice", body = InvoiceBody, headers(("ETag" = String))),
        (status = 304, description = "The caller has this version"),
        ReadErrors
    )
)]
async fn read(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<InvoiceId>,
    known: IfNoneMatch,
    mut params: Params,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceGetById)?;
    let as_of = params.take("as_of", parse_timestamp);
    params.finish()?;
    if let Some(at) = as_of {
        let invoice = app.invoices.as_of(caller.organization, id, at).await?;
        if invoice.status() == Status::Deleted {
            return Err(ApiError::not_found("invoice"));
        }
        return resource_unless_known(&known, invoice.version, || bytes(&invoice, links(&app)));
    }
    let published = find(&app, &caller, id).await?;
    let version = published.invoice.version;
    resource_unless_known(&known, version, || cached_bytes(&published, links(&app)))
}

/// How often a change without `If-Match` starts again when another write came first.
const MERGE_ATTEMPTS: usize = 8;

/// Changes a draft: what is given replaces, null clears.
#[utoipa::path(
    patch, path = "/v1/invoices/{id}", tag = "invoices", operation_id = "update_invoice",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = ContentInput,
    responses(
        (status = 200, description = "The draft", body = InvoiceBody, headers(("ETag" = String))),
        WriteErrors
    )
)]
async fn change(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<InvoiceId>,
    if_match: IfMatch,
    request_id: RequestId,
    payload: Payload,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceUpdate)?;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let input: ContentInput = payload.json()?;
        let outcome = merge(&app, &caller, id, &if_match, &request_id, input).await?;
        match outcome {
            Ok(done) => return executed(&app, StatusCode::OK, &done),
            Err(current) if if_match != IfMatch::Any || attempts == MERGE_ATTEMPTS => {
                return Err(ApiError::version_mismatch(current));
            }
            Err(_) => {}
        }
    }
}

/// Lays the change over the draft as it is now; the inner error is the version that came first.
async fn merge(
    app: &App,
    caller: &Authenticated,
    id: InvoiceId,
    if_match: &IfMatch,
    request_id: &RequestId,
    input: ContentInput,
) -> Result<Result<Executed, u64>, ApiError> {
    let published = find(app, caller, id).await?;
    let invoice = &published.invoice;
    if_match.check(invoice.version)?;
    if invoice.status() != Status::Draft {
        return Err(match invoice.status() {
            Status::Finalizing => Refusal::Finalizing.into(),
            status => Refusal::InvoiceNotDraft { status }.into(),
        });
    }
    let settings = app.organization(caller.organization).await?;
    let customer = customer_of(app, caller.organization, input.customer()).await?;
    let content = input.apply(
        Content::clone(&invoice.content),
        &settings,
        customer.as_ref(),
    )?;
    let request = crate::domain::invoice::command::Request {
        command: Command::Edit {
            content: Arc::new(content),
        },
        by: caller.initiator.clone(),
        key: None,
        expected_version: Some(invoice.version),
        request_id: request_id.as_str().to_owned(),
    };
    match app.invoices.execute(caller.organization, id, request).await {
        Ok(done) => Ok(Ok(done)),
        Err(ExecuteError::Refused(Refusal::VersionMismatch { current })) => Ok(Err(current)),
        Err(error) => Err(error.into()),
    }
}

/// Deletes a draft.
#[utoipa::path(
    delete, path = "/v1/invoices/{id}", tag = "invoices", operation_id = "delete_invoice",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204, description = "Deleted"), WriteErrors)
)]
async fn delete(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<InvoiceId>,
    if_match: IfMatch,
    request_id: RequestId,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceDelete)?;
    let order = Order {
        caller: &caller,
        id,
        command: Command::Delete,
        key: None,
        if_match: &if_match,
        request_id: &request_id,
    };
    execute(&app, order).await?;
    Ok(no_content())
}
