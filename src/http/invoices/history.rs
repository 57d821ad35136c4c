//! An invoice's history: every change, who made it, and what it was.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::find;
use crate::domain::ids::InvoiceId;
use crate::domain::invoice::Payment;
use crate::domain::invoice::command::{Initiator, SendOrder};
use crate::domain::invoice::effect::EffectError;
use crate::domain::invoice::entry::{Entry, Recorded};
use crate::domain::permission::Permission;
use crate::http::App;
use crate::http::answer;
use crate::http::error::ApiError;
use crate::http::extract::{Authenticated, Id, Params};
use crate::http::input::Malformed;
use crate::http::openapi::ReadErrors;
use crate::http::paging::{List, take_limit};
use crate::http::show::At;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(history))
}

/// One change.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HistoryEntry)]
pub(super) struct HistoryBody<'a> {
    /// The invoice's version after it.
    version: u64,
    #[schema(value_type = String)]
    at: At,
    actor: ActorBody,
    /// What happened, such as `finalized`.
    #[schema(example = "finalized")]
    what: &'static str,
    /// What there is to say about it; depends on `what`.
    #[schema(value_type = Object)]
    details: Value,
    /// The request that made it.
    request_id: &'a str,
}

/// Who made a change.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Actor)]
pub(super) struct ActorBody {
    /// user, `api_key`, provider, customer, clock or system.
    #[schema(value_type = String, example = "user")]
    kind: &'static str,
    /// The user's or key's id, or the provider's name.
    id: Option<String>,
}

/// Every change of the invoice, newest first.
#[utoipa::path(
    get, path = "/v1/invoices/{id}/history", tag = "invoices", operation_id = "invoice_history",
    params(
        ("id" = String, Path),
        ("limit" = Option<u16>, Query, description = "1–100, default 20"),
        ("starting_after" = Option<u64>, Query, description = "A version")
    ),
    responses(
        (status = 200, description = "A part of the history", body = List<HistoryBody>),
        ReadErrors
    )
)]
async fn history(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<InvoiceId>,
    mut params: Params,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceGetById)?;
    let limit = take_limit(&mut params);
    let before = params.take("starting_after", |text| {
        text.parse::<u64>()
            .map_err(|_| Malformed::new("invalid_type", "expected a version"))
    });
    params.finish()?;
    let current = find(&app, &caller, id).await?.invoice.version;
    // Versions are dense, so a part of the list is a range of them.
    let end = before.unwrap_or(u64::MAX).min(current.saturating_add(1));
    let after = end.saturating_sub(1).saturating_sub(u64::from(limit));
    let count = u16::try_from(end.saturating_sub(1) - after).unwrap_or(limit);
    let recorded = match count {
        0 => Vec::new(),
        count => app.stores.invoices.history(id, after, count).await?,
    };
    let data: Vec<_> = recorded.iter().rev().map(show).collect();
    let has_more = after > 0 && !data.is_empty();
    let next = data
        .last()
        .filter(|_| has_more)
        .map(|last| last.version.to_string());
    answer::json(
        StatusCode::OK,
        &List {
            data,
            has_more,
            next,
        },
    )
}

fn show(recorded: &Recorded) -> HistoryBody<'_> {
    HistoryBody {
        version: recorded.version,
        at: At(recorded.at),
        actor: actor(&recorded.by),
        what: recorded.entry.name(),
        details: without_nulls(details(&recorded.entry)),
        request_id: &recorded.request_id,
    }
}

fn actor(by: &Initiator) -> ActorBody {
    let (kind, id) = match by {
        Initiator::User(id) => ("user", Some(id.to_string())),
        Initiator::ApiKey(id) => ("api_key", Some(id.to_string())),
        Initiator::Provider(name) => ("provider", Some(name.clone())),
        Initiator::Customer => ("customer", None),
        Initiator::Clock => ("clock", None),
        Initiator::System => ("system", None),
    };
    ActorBody { kind, id }
}

fn without_nulls(details: Value) -> Value {
    match details {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .collect(),
        ),
        _ => Value::Object(Map::new()),
    }
}

fn order(order: &SendOrder) -> Value {
    json!({"to": order.to, "cc": order.cc, "message": order.message})
}

fn error(error: &EffectError) -> Value {
    json!({"code": error.code, "detail": error.detail})
}

/// What there is to say of an entry, without secrets and with money as the API writes it.
fn details(entry: &Entry) -> Value {
    match entry {
        Entry::Created { .. }
        | Entry::Edited { .. }
        | Entry::Deleted
        | Entry::FinalizeRequested { .. }
        | Entry::PaymentLinkRequested
        | Entry::PaymentLinkExpired { .. }
        | Entry::Paid
        | Entry::BecameOverdue
        | Entry::Viewed
        | Entry::PageSecretRotated { .. } => Value::Null,
        Entry::Finalized { allocated, due_on } => {
            let (number, issued_on) = (&allocated.number, allocated.issued_on);
            json!({"number": number, "issued_on": issued_on, "due_on": due_on})
        }
        Entry::SendScheduled {
            at, order: given, ..
        } => json!({"at": At(*at), "order": order(given)}),
        Entry::SendCancelled { problems } => json!({"problems": problems}),
        Entry::SendRequested { order: given } => order(given),
        Entry::NoticeRequested { to } => json!({"to": to}),
        Entry::EffectClaimed { effect } => json!({"effect": effect.to_string()}),
        Entry::DocumentStored { stored, .. } => {
            json!({"format": stored.format, "sha256": stored.sha256, "bytes": stored.bytes})
        }
        Entry::PaymentLinkCreated { link, .. } => {
            json!({"provider": link.provider, "url": link.url, "amount": link.amount.to_string()})
        }
        Entry::MailSent { message_id, .. } | Entry::NoticeSent { message_id, .. } => {
            json!({"message_id": message_id})
        }
        Entry::ChargeRequested { amount, .. } => json!({"amount": amount.to_string()}),
        Entry::ChargeFailed { code, detail, .. } => json!({"code": code, "detail": detail}),
        Entry::ChargeSettled { payment, .. } => {
            json!({"provider": payment.provider, "provider_payment": payment.id})
        }
        Entry::PaymentReceived { payment, .. } => received(payment),
        Entry::Voided { reason } | Entry::MarkedUncollectible { reason } => {
            json!({"reason": reason})
        }
        Entry::EffectFailed {
            effect,
            error: why,
            retry_at,
        } => {
            json!({"effect": effect.to_string(), "error": error(why), "retry_at": At(*retry_at)})
        }
        Entry::EffectPostponed { effect, until } => {
            json!({"effect": effect.to_string(), "until": At(*until)})
        }
        Entry::EffectParked { effect, error: why } => {
            json!({"effect": effect.to_string(), "error": error(why)})
        }
        Entry::EffectsRetried { effects } => {
            let effects: Vec<_> = effects.iter().map(ToString::to_string).collect();
            json!({"effects": effects})
        }
    }
}

fn received(payment: &Payment) -> Value {
    let provider = payment.provider.as_ref();
    json!({
        "amount": payment.amount.to_string(),
        "method": payment.method,
        "received_on": payment.received_on,
        "reference": payment.reference,
        "provider": provider.map(|provider| &provider.provider),
        "provider_payment": provider.map(|provider| &provider.id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_of_the_customers_page_is_not_in_the_history() {
        let entry = Entry::PageSecretRotated {
            page_secret: "s3cret".to_owned(),
        };
        let recorded = Recorded {
            version: 4,
            at: jiff::Timestamp::UNIX_EPOCH,
            by: Initiator::Provider("sandbox".to_owned()),
            request_id: "r".to_owned(),
            entry,
            request: None,
        };
        let shown = serde_json::to_string(&show(&recorded)).unwrap();
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(
            shown.contains(r#""actor":{"kind":"provider","id":"sandbox"}"#),
            "{shown}"
        );
    }
}
