//! Making, reading, changing and deleting an invoice.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::content::{ContentInput, all_problems, defaults};
use super::representation::{InvoiceBody, bytes};
use super::{Order, answer_to, execute, find, links};
use crate::actors::invoices::{Published, Representation};
use crate::clock;
use crate::domain::ids::{CustomerId, InvoiceId, OrganizationId};
use crate::domain::invoice::command::Command;
use crate::domain::invoice::decide::only_draft;
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
    let mut response = answer_to(&app, StatusCode::CREATED, order).await?;
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/invoices/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
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
    let found = app.invoices.get_represented(caller.organization, id);
    let Representation { version, body, .. } = found.await?;
    resource_unless_known(&known, version, || Ok(body))
}

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
    let input: ContentInput = payload.json()?;
    let settings = app.organization(caller.organization).await?;
    let named = customer_of(&app, caller.organization, input.customer()).await;
    let customer = match named {
        Ok(customer) => customer,
        Err(error) => {
            changeable(&app, &caller, id, &if_match).await?;
            return Err(error);
        }
    };
    let (change, problems) = input.read(&settings, customer.as_ref());
    if !problems.is_empty() {
        let draft = changeable(&app, &caller, id, &if_match).await?;
        let content = change.over(Content::clone(&draft.invoice.content));
        return Err(all_problems(problems, &content).into());
    }
    let order = Order {
        caller: &caller,
        id,
        command: Command::Change {
            change: Box::new(change),
        },
        key: None,
        if_match: &if_match,
        request_id: &request_id,
    };
    answer_to(&app, StatusCode::OK, order).await
}

/// The draft that a request wants to change which can't be read: where there is none, that is the
/// answer.
async fn changeable(
    app: &App,
    caller: &Authenticated,
    id: InvoiceId,
    if_match: &IfMatch,
) -> Result<Arc<Published>, ApiError> {
    let published = find(app, caller, id).await?;
    if_match.check(published.invoice.version)?;
    only_draft(&published.invoice)?;
    Ok(published)
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
