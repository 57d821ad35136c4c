//! Charging a payment method: one `PaymentIntent`, confirmed at once.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::super::{CARD, ChargeOutcome, ChargeRequest, ProviderError};
use super::wire::{Failure, Form, Reply, Wire};
use super::{List, amount, metadata};

/// Stripe forgets a key after 24 hours at the earliest
/// (<https://docs.stripe.com/api/idempotent_requests>). From this age on it is asked first whether
/// the charge was made.
const KEY_IS_SAFE_FOR: SignedDuration = SignedDuration::from_hours(23);

/// A charge is looked for among those made since this long before it was asked for, as clocks differ.
const CLOCKS_DIFFER_BY: SignedDuration = SignedDuration::from_mins(5);

/// How many pages of a hundred payments are searched for one.
const MAX_PAGES: usize = 20;

/// What is read of a payment intent.
#[derive(Debug, Deserialize)]
pub(super) struct Intent {
    id: String,
    pub(super) status: Status,
    #[serde(default)]
    last_payment_error: Option<PaymentError>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

/// Source: <https://docs.stripe.com/payments/paymentintents/lifecycle>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Succeeded,
    Processing,
    Canceled,
    /// The attempt failed; only the holder of the secret key could make another.
    RequiresPaymentMethod,
    RequiresAction,
    RequiresConfirmation,
    RequiresCapture,
    #[serde(other)]
    Other,
}

#[derive(Debug, Default, Deserialize)]
struct PaymentError {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    decline_code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    #[serde(default)]
    effect: Option<String>,
}

#[derive(Debug, Deserialize)]
struct PaymentMethod {
    #[serde(default)]
    customer: Option<String>,
}

/// The bound of [`charge`] as a whole, for one request's bound.
pub(super) fn patience(timeout: Duration) -> Duration {
    // The method, the charge, and what it takes to end one that asks for more.
    timeout.saturating_mul(5)
}

/// As [`super::super::Payments::charge`].
pub(super) async fn charge(
    wire: &Wire,
    request: &ChargeRequest,
    now: Timestamp,
) -> Result<ChargeOutcome, ProviderError> {
    let amount = amount::to_stripe(request.amount)?;
    if now.duration_since(request.requested_at) >= KEY_IS_SAFE_FOR
        && let Some(made) = find(wire, request).await?
    {
        return settle(wire, made).await;
    }
    let customer = match customer_of(wire, &request.payment_method).await? {
        Owner::Unknown => return Ok(unknown_method()),
        Owner::Nobody => None,
        Owner::Customer(customer) => Some(customer),
    };
    let form = form(request, amount, customer);
    let key = request.effect.to_string();
    match wire.post("payment_intents", &form, Some(&key)).await {
        Ok(Reply { object, replayed }) if replayed => settle_replayed(wire, object).await,
        Ok(Reply { object, .. }) => settle(wire, object).await,
        Err(Failure::Refused(refusal)) if refusal.status == 402 => Ok(declined(PaymentError {
            code: refusal.error.code,
            decline_code: refusal.error.decline_code,
            message: refusal.error.message,
        })),
        Err(Failure::Refused(refusal))
            if refusal.error.code.as_deref() == Some("resource_missing") =>
        {
            Ok(unknown_method())
        }
        // Something was done under this key, and this answer does not say what; or it is the kept
        // answer of a failure within Stripe, which stays the same for as long as the key is known.
        Err(Failure::Refused(refusal))
            if refusal.is_other_request() || (refusal.status >= 500 && refusal.replayed) =>
        {
            match find(wire, request).await? {
                Some(made) => settle(wire, made).await,
                None => Err(Failure::Refused(refusal).into()),
            }
        }
        Err(failure) => Err(failure.into()),
    }
}

fn form(request: &ChargeRequest, amount: i64, customer: Option<String>) -> Form {
    let currency = request.amount.currency.code().to_ascii_lowercase();
    let mut form: Form = vec![
        ("amount", amount.to_string()),
        ("currency", currency),
        ("payment_method", request.payment_method.clone()),
        ("confirm", "true".to_owned()),
        ("automatic_payment_methods[enabled]", "true".to_owned()),
        (
            "automatic_payment_methods[allow_redirects]",
            "never".to_owned(),
        ),
        ("description", request.description.clone()),
    ];
    form.extend(customer.map(|customer| ("customer", customer)));
    form.extend(
        metadata(request.organization, request.invoice, &request.effect)
            .map(|(name, value)| (name.own, value)),
    );
    form
}

enum Owner {
    Unknown,
    Nobody,
    Customer(String),
}

/// Stripe wants a saved method's customer to be named with it. Asking moves no money, so a lost
/// answer leaves nothing unknown.
async fn customer_of(wire: &Wire, payment_method: &str) -> Result<Owner, ProviderError> {
    let is_id = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if payment_method.is_empty() || !payment_method.chars().all(is_id) {
        return Ok(Owner::Unknown);
    }
    let path = format!("payment_methods/{payment_method}");
    match wire.get::<PaymentMethod>(&path, &Form::new()).await {
        Ok(reply) => Ok(reply.object.customer.map_or(Owner::Nobody, Owner::Customer)),
        Err(Failure::Refused(refusal)) if refusal.is_missing() => Ok(Owner::Unknown),
        Err(failure) => Err(match ProviderError::from(failure) {
            ProviderError::OutcomeUnknown { detail } => ProviderError::Unavailable { detail },
            error => error,
        }),
    }
}

/// A kept answer may be old: what is not final in it is asked for again.
async fn settle_replayed(wire: &Wire, kept: Intent) -> Result<ChargeOutcome, ProviderError> {
    if kept.status == Status::Succeeded {
        return settle(wire, kept).await;
    }
    let wanted_action = wants_action(kept.status);
    let current = retrieve(wire, &kept.id).await?;
    if wanted_action && current.status == Status::Canceled {
        return Ok(authentication_required());
    }
    settle(wire, current).await
}

const fn wants_action(status: Status) -> bool {
    matches!(
        status,
        Status::RequiresAction | Status::RequiresConfirmation | Status::RequiresCapture
    )
}

/// What an intent's state means for its charge. One that waits for something that will not come is
/// canceled first, so that it can't take money later.
async fn settle(wire: &Wire, intent: Intent) -> Result<ChargeOutcome, ProviderError> {
    match intent.status {
        Status::Succeeded => Ok(succeeded(intent.id)),
        Status::RequiresPaymentMethod => {
            Ok(declined(intent.last_payment_error.unwrap_or_default()))
        }
        Status::Canceled => Ok(ChargeOutcome::Declined {
            code: "payment_canceled".to_owned(),
            detail: "The payment was canceled at Stripe.".to_owned(),
        }),
        Status::RequiresAction | Status::RequiresConfirmation | Status::RequiresCapture => {
            cancel(wire, &intent.id).await
        }
        Status::Processing | Status::Other => Err(ProviderError::OutcomeUnknown {
            detail: format!("payment {} is still being processed at Stripe", intent.id),
        }),
    }
}

async fn cancel(wire: &Wire, id: &str) -> Result<ChargeOutcome, ProviderError> {
    let path = format!("payment_intents/{id}/cancel");
    match wire.post::<Intent>(&path, &Form::new(), None).await {
        Ok(_) => return Ok(authentication_required()),
        Err(Failure::Refused(refusal)) if refusal.status == 400 => {}
        Err(failure) => return Err(still_open(id, failure)),
    }
    // It can't be canceled any more: something else ended it meanwhile.
    let current = retrieve(wire, id).await?;
    match current.status {
        Status::Succeeded => Ok(succeeded(current.id)),
        Status::Canceled => Ok(authentication_required()),
        _ => Err(ProviderError::OutcomeUnknown {
            detail: format!("payment {id} could not be canceled at Stripe yet"),
        }),
    }
}

pub(super) async fn retrieve(wire: &Wire, id: &str) -> Result<Intent, ProviderError> {
    let path = format!("payment_intents/{id}");
    let reply = wire.get(&path, &Form::new()).await;
    reply
        .map(|reply| reply.object)
        .map_err(|failure| still_open(id, failure))
}

/// There is a payment, and how it ends is not known, whatever kept us from learning it.
fn still_open(id: &str, failure: Failure) -> ProviderError {
    let reason = ProviderError::from(failure);
    ProviderError::OutcomeUnknown {
        detail: format!("payment {id} is open at Stripe: {reason}"),
    }
}

/// The payment made for the effect, found by its metadata among those made since it was asked for.
/// Lists are up to date at once, as Stripe's search is not.
async fn find(wire: &Wire, request: &ChargeRequest) -> Result<Option<Intent>, ProviderError> {
    let effect = request.effect.to_string();
    let since = request.requested_at.saturating_sub(CLOCKS_DIFFER_BY);
    let since = since.unwrap_or(request.requested_at).as_second();
    let mut after: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let mut query: Form = vec![
            ("limit", "100".to_owned()),
            ("created[gte]", since.to_string()),
        ];
        query.extend(after.take().map(|after| ("starting_after", after)));
        let page: List<Intent> = wire
            .get("payment_intents", &query)
            .await
            .map_err(not_found_out)?
            .object;
        after = page.data.last().map(|intent| intent.id.clone());
        let ours = |intent: &Intent| {
            let metadata = intent.metadata.as_ref();
            metadata.and_then(|metadata| metadata.effect.as_deref()) == Some(&effect)
        };
        if let Some(found) = page.data.into_iter().find(ours) {
            return Ok(Some(found));
        }
        if !page.has_more || after.is_none() {
            return Ok(None);
        }
    }
    Err(ProviderError::OutcomeUnknown {
        detail: format!(
            "the charge is not among the newest {} payments at Stripe, and there are more",
            MAX_PAGES * 100
        ),
    })
}

fn not_found_out(failure: Failure) -> ProviderError {
    ProviderError::OutcomeUnknown {
        detail: format!(
            "whether the charge was made can't be asked: {}",
            ProviderError::from(failure)
        ),
    }
}

fn succeeded(id: String) -> ChargeOutcome {
    ChargeOutcome::Succeeded {
        payment_id: id,
        method: CARD.to_owned(),
    }
}

fn declined(error: PaymentError) -> ChargeOutcome {
    ChargeOutcome::Declined {
        code: error
            .decline_code
            .or(error.code)
            .unwrap_or_else(|| "card_declined".to_owned()),
        detail: error
            .message
            .unwrap_or_else(|| "The payment was declined.".to_owned()),
    }
}

fn authentication_required() -> ChargeOutcome {
    ChargeOutcome::Declined {
        code: "authentication_required".to_owned(),
        detail: "The bank wants the payer to confirm this payment, which is possible on the \
                 payment page alone."
            .to_owned(),
    }
}

fn unknown_method() -> ChargeOutcome {
    ChargeOutcome::Declined {
        code: "invalid_payment_method".to_owned(),
        detail: "Stripe does not know this payment method.".to_owned(),
    }
}
