//! Charging a payment method: the answer waits for the provider's, up to a bound.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::issue::wait_until;
use super::representation::InvoiceBody;
use super::{Order, execute, executed};
use crate::actors::invoices::Executed;
use crate::domain::ids::{EffectId, InvoiceId};
use crate::domain::invoice::command::Command;
use crate::domain::invoice::effect::{ChargeState, EffectError, EffectKind};
use crate::domain::invoice::entry::Entry;
use crate::domain::invoice::{Invoice, Status};
use crate::domain::permission::Permission;
use crate::domain::problem::Problems;
use crate::http::App;
use crate::http::conditional::IfMatch;
use crate::http::error::ApiError;
use crate::http::extract::{Authenticated, Id, Payload, RequestId};
use crate::http::idempotency::{Key, mark_replayed};
use crate::http::input::{Field, required};
use crate::http::openapi::WriteErrors;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(pay))
}

/// How long the answer waits for the charge's outcome.
const OUTCOME_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PayInput {
    /// The provider's token; the sandbox has `pm_ok`, `pm_declined`, `pm_slow`, `pm_unavailable`
    /// and `pm_lost_reply`.
    #[schema(value_type = String, example = "pm_ok")]
    payment_method: Option<Field<String>>,
}

/// Charges a payment method with what is due, once the payment page, if there is one, has been taken
/// down: what was paid there is not charged as well. Waits up to 10 s for the outcome.
#[utoipa::path(
    post, path = "/v1/invoices/{id}/pay", tag = "invoices", operation_id = "pay_invoice",
    params(
        ("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header),
        ("If-Match" = Option<String>, Header)
    ),
    request_body = PayInput,
    responses(
        (status = 200, description = "The invoice is paid: by this charge, or by what came in before it began", body = InvoiceBody,
            headers(("ETag" = String))),
        (status = 202, description = "The outcome is not known yet: `payment.status` is processing",
            body = InvoiceBody, headers(("ETag" = String))),
        (status = 402, description = "The charge was declined; `code` is the provider's, or `amount_changed` when another amount was due before it began",
            body = crate::http::error::ProblemBody, content_type = "application/problem+json"),
        (status = 424, description = "The provider failed",
            body = crate::http::error::ProblemBody, content_type = "application/problem+json"),
        WriteErrors
    )
)]
async fn pay(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<InvoiceId>,
    if_match: IfMatch,
    key: Key,
    request_id: RequestId,
    payload: Payload,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceUpdate)?;
    let input: PayInput = payload.json()?;
    let mut problems = Problems::new();
    let method = required(input.payment_method, "payment_method", &mut problems);
    let Some(payment_method) = problems.finish(method)? else {
        return Err(ApiError::internal(
            "a payment method was refused without a problem",
        ));
    };
    let order = Order {
        caller: &caller,
        id,
        command: Command::Pay { payment_method },
        key: key.for_command(&payload),
        if_match: &if_match,
        request_id: &request_id,
    };
    let asked = execute(&app, order).await?;
    let Some(charge) = newest_charge(&asked.invoice) else {
        return executed(&app, StatusCode::OK, &asked);
    };
    let deadline = Instant::now() + OUTCOME_WITHIN;
    let reached = wait_until(&app, caller.organization, id, deadline, |published| {
        is_settled(&published.invoice.charge_outcome(&charge))
    });
    let invoice = Arc::clone(&reached.await?.invoice);
    let state = match invoice.charge_outcome(&charge) {
        ChargeState::Unknown => from_history(&app, &asked.invoice, &charge).await?,
        state => state,
    };
    let done = Executed {
        invoice,
        replayed: asked.replayed,
    };
    // Dropped before it began, as the money came in otherwise.
    let is_needless = state == ChargeState::Unknown && done.invoice.status() == Status::Paid;
    match outcome(state) {
        Ok(_) if is_needless => executed(&app, StatusCode::OK, &done),
        Ok(status) => executed(&app, status, &done),
        Err(error) if done.replayed => {
            let mut response = axum::response::IntoResponse::into_response(error);
            mark_replayed(&mut response);
            Ok(response)
        }
        Err(error) => Err(error),
    }
}

/// The charge that the command asked for: the newest one of the invoice it left.
fn newest_charge(invoice: &Invoice) -> Option<EffectId> {
    invoice
        .effects
        .iter()
        .filter(|effect| matches!(effect.kind, EffectKind::Charge { .. }))
        .max_by_key(|effect| effect.id.sequence)
        .map(|effect| effect.id.clone())
}

/// Whether waiting longer would change the answer. A lost reply is worth waiting for: the provider
/// is asked again.
fn is_settled(state: &ChargeState) -> bool {
    match state {
        ChargeState::InFlight => false,
        ChargeState::FailedAttempt(error) => !error.outcome_unknown,
        ChargeState::Succeeded
        | ChargeState::Declined { .. }
        | ChargeState::Parked(_)
        | ChargeState::Unknown => true,
    }
}

fn outcome(state: ChargeState) -> Result<StatusCode, ApiError> {
    let provider_failed = |error: EffectError| {
        let code = if error.code.is_empty() {
            "provider_failed".to_owned()
        } else {
            error.code
        };
        ApiError::new(StatusCode::FAILED_DEPENDENCY, code, error.detail)
    };
    match state {
        ChargeState::Succeeded => Ok(StatusCode::OK),
        ChargeState::InFlight | ChargeState::Unknown => Ok(StatusCode::ACCEPTED),
        ChargeState::FailedAttempt(error) | ChargeState::Parked(error) if error.outcome_unknown => {
            Ok(StatusCode::ACCEPTED)
        }
        ChargeState::FailedAttempt(error) | ChargeState::Parked(error) => {
            Err(provider_failed(error))
        }
        ChargeState::Declined { code, detail } => {
            Err(ApiError::new(StatusCode::PAYMENT_REQUIRED, code, detail))
        }
    }
}

/// How a charge ended whose outcome was overtaken by a later one: the history knows.
async fn from_history(
    app: &App,
    asked: &Invoice,
    charge: &EffectId,
) -> Result<ChargeState, ApiError> {
    const PART: u16 = 100;
    let mut after = asked.version;
    loop {
        let part = app.stores.invoices.history(asked.id, after, PART).await?;
        for recorded in &part {
            match &recorded.entry {
                Entry::PaymentReceived {
                    effect: Some(effect),
                    ..
                }
                | Entry::ChargeSettled { effect, .. }
                    if effect == charge =>
                {
                    return Ok(ChargeState::Succeeded);
                }
                Entry::ChargeFailed {
                    effect,
                    code,
                    detail,
                } if effect == charge => {
                    let (code, detail) = (code.clone(), detail.clone());
                    return Ok(ChargeState::Declined { code, detail });
                }
                _ => {}
            }
        }
        match part.last() {
            Some(last) if part.len() == usize::from(PART) => after = last.version,
            _ => return Ok(ChargeState::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, outcome_unknown: bool) -> EffectError {
        EffectError {
            code: code.to_owned(),
            detail: "d".to_owned(),
            permanent: false,
            outcome_unknown,
        }
    }

    #[test]
    fn each_outcome_of_a_charge_has_its_status() {
        let status = |state| match outcome(state) {
            Ok(status) => (status.as_u16(), String::new()),
            Err(error) => (error.status().as_u16(), error.code().to_owned()),
        };
        assert_eq!(status(ChargeState::Succeeded).0, 200);
        assert_eq!(status(ChargeState::InFlight).0, 202);
        let declined = ChargeState::Declined {
            code: "card_declined".to_owned(),
            detail: String::new(),
        };
        assert_eq!(status(declined), (402, "card_declined".to_owned()));
        let failed = ChargeState::FailedAttempt(error("provider_unavailable", false));
        assert_eq!(status(failed), (424, "provider_unavailable".to_owned()));
        assert_eq!(
            status(ChargeState::FailedAttempt(error("no_reply", true))).0,
            202
        );
    }

    #[test]
    fn a_lost_reply_is_waited_for_and_a_refusal_is_not() {
        assert!(!is_settled(&ChargeState::FailedAttempt(error(
            "no_reply", true
        ))));
        assert!(is_settled(&ChargeState::FailedAttempt(error(
            "provider_unavailable",
            false
        ))));
        assert!(!is_settled(&ChargeState::InFlight));
    }
}
