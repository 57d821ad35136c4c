//! Money received elsewhere, and invoices that bring none.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::civil::Date;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::representation::InvoiceBody;
use super::{Order, answer_to, find};
use crate::domain::ids::InvoiceId;
use crate::domain::invoice::command::Command;
use crate::domain::money::Money;
use crate::domain::permission::Permission;
use crate::domain::problem::Problems;
use crate::http::App;
use crate::http::conditional::IfMatch;
use crate::http::error::ApiError;
use crate::http::extract::{Authenticated, Id, Payload, RequestId};
use crate::http::idempotency::Key;
use crate::http::input::{DecimalInput, Field, optional, required};
use crate::http::openapi::WriteErrors;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(record_payment))
        .routes(routes!(void))
        .routes(routes!(mark_uncollectible))
}

/// Money received elsewhere, in the invoice's currency.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"amount": "100.00", "method": "bank_transfer"}))]
struct PaymentInput {
    #[schema(value_type = String, example = "100.00")]
    amount: Option<DecimalInput>,
    #[schema(value_type = String, example = "bank_transfer")]
    method: Option<Field<String>>,
    /// Without it, today.
    #[schema(value_type = Option<String>, example = "2026-11-21")]
    received_on: Option<Field<Date>>,
    #[schema(value_type = Option<String>)]
    reference: Option<Field<String>>,
}

/// Records money received elsewhere: a part, all, or more than is due.
#[utoipa::path(
    post, path = "/v1/invoices/{id}/payments", tag = "invoices", operation_id = "record_payment",
    params(
        ("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header),
        ("If-Match" = Option<String>, Header)
    ),
    request_body = PaymentInput,
    responses(
        (status = 200, description = "The invoice", body = InvoiceBody, headers(("ETag" = String))),
        WriteErrors
    )
)]
async fn record_payment(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<InvoiceId>,
    if_match: IfMatch,
    key: Key,
    request_id: RequestId,
    payload: Payload,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceUpdate)?;
    let input: PaymentInput = payload.json()?;
    let mut problems = Problems::new();
    let amount = required(input.amount, "amount", &mut problems);
    let method = required(input.method, "method", &mut problems);
    let received_on = optional(input.received_on, "received_on", &mut problems);
    let reference = optional(input.reference, "reference", &mut problems);
    let (Some(amount), Some(method)) = (amount, method) else {
        return Err(problems.into_vec().into());
    };
    // The currency is the invoice's, and never changes once money can come in.
    let currency = find(&app, &caller, id).await?.invoice.currency();
    let amount = Money::from_decimal(amount, currency).map_err(|error| {
        problems.add("amount", "invalid_amount", error.to_string());
    });
    let Ok(amount) = problems.finish(amount)? else {
        return Err(ApiError::internal(
            "an amount was refused without a problem",
        ));
    };
    let order = Order {
        caller: &caller,
        id,
        command: Command::RecordPayment {
            amount,
            method,
            received_on,
            reference,
        },
        key: key.for_command(&payload),
        if_match: &if_match,
        request_id: &request_id,
    };
    answer_to(&app, StatusCode::OK, order).await
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReasonInput {
    #[schema(value_type = Option<String>, example = "Sent to the wrong customer")]
    reason: Option<Field<String>>,
}

fn read_reason(payload: &Payload) -> Result<Option<String>, ApiError> {
    let input: ReasonInput = payload.json_or_default()?;
    let mut problems = Problems::new();
    let reason = optional(input.reason, "reason", &mut problems);
    Ok(problems.finish(reason)?)
}

/// Declares an issued invoice void; its number stays taken.
#[utoipa::path(
    post, path = "/v1/invoices/{id}/void", tag = "invoices", operation_id = "void_invoice",
    params(
        ("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header),
        ("If-Match" = Option<String>, Header)
    ),
    request_body(content = Option<ReasonInput>),
    responses(
        (status = 200, description = "The invoice", body = InvoiceBody, headers(("ETag" = String))),
        WriteErrors
    )
)]
async fn void(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<InvoiceId>,
    if_match: IfMatch,
    key: Key,
    request_id: RequestId,
    payload: Payload,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceUpdate)?;
    let order = Order {
        caller: &caller,
        id,
        command: Command::Void {
            reason: read_reason(&payload)?,
        },
        key: key.for_command(&payload),
        if_match: &if_match,
        request_id: &request_id,
    };
    answer_to(&app, StatusCode::OK, order).await
}

/// Gives up on an invoice; it can still be paid or declared void.
#[utoipa::path(
    post, path = "/v1/invoices/{id}/mark_uncollectible", tag = "invoices",
    operation_id = "mark_invoice_uncollectible",
    params(
        ("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header),
        ("If-Match" = Option<String>, Header)
    ),
    request_body(content = Option<ReasonInput>),
    responses(
        (status = 200, description = "The invoice", body = InvoiceBody, headers(("ETag" = String))),
        WriteErrors
    )
)]
async fn mark_uncollectible(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<InvoiceId>,
    if_match: IfMatch,
    key: Key,
    request_id: RequestId,
    payload: Payload,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceUpdate)?;
    let order = Order {
        caller: &caller,
        id,
        command: Command::MarkUncollectible {
            reason: read_reason(&payload)?,
        },
        key: key.for_command(&payload),
        if_match: &if_match,
        request_id: &request_id,
    };
    answer_to(&app, StatusCode::OK, order).await
}
