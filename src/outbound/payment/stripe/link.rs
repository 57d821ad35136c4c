//! Pages on which customers pay: Checkout Sessions.

use jiff::Timestamp;
use serde::Deserialize;

use super::super::event;
use super::super::{CARD, CreatedLink, LinkEnd, LinkRequest, ProviderError};
use super::wire::{Failure, Form, Wire};
use super::{amount, charge, metadata};

/// What is read of a Checkout Session.
#[derive(Debug, Deserialize)]
struct Session {
    #[serde(flatten)]
    object: event::Object,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    status: Option<String>,
    /// In seconds since 1970.
    #[serde(default)]
    expires_at: Option<i64>,
}

/// As [`super::super::Payments::create_link`]. How long the page lives is left to Stripe (24 hours):
/// a time of ours would make each repeat another request.
pub(super) async fn create(
    wire: &Wire,
    request: &LinkRequest,
) -> Result<CreatedLink, ProviderError> {
    let amount = amount::to_stripe(request.amount)?;
    let is_web = |url: &str| url.starts_with("http://") || url.starts_with("https://");
    if !is_web(&request.return_url) || request.return_url.chars().any(char::is_control) {
        let detail = "the address to return to is not a web address".to_owned();
        return Err(ProviderError::Rejected { detail });
    }
    let key = request.effect.to_string();
    let created = wire
        .post::<Session>("checkout/sessions", &form(request, amount), Some(&key))
        .await;
    let session = created?.object;
    let Some(url) = session.url else {
        let detail = "the payment page that was made under this key is closed already".to_owned();
        return Err(ProviderError::Rejected { detail });
    };
    Ok(CreatedLink {
        id: session.object.id,
        url,
        expires_at: session
            .expires_at
            .and_then(|second| Timestamp::from_second(second).ok()),
    })
}

/// One line of what is due, whatever the invoice's lines are. The metadata stands on the session and
/// on its payment, as each has events of its own.
fn form(request: &LinkRequest, amount: i64) -> Form {
    let currency = request.amount.currency.code().to_ascii_lowercase();
    let mut form: Form = vec![
        ("mode", "payment".to_owned()),
        ("line_items[0][quantity]", "1".to_owned()),
        ("line_items[0][price_data][currency]", currency),
        ("line_items[0][price_data][unit_amount]", amount.to_string()),
        (
            "line_items[0][price_data][product_data][name]",
            request.description.clone(),
        ),
        (
            "payment_intent_data[description]",
            request.description.clone(),
        ),
        ("client_reference_id", request.invoice.to_string()),
        ("success_url", request.return_url.clone()),
        ("cancel_url", request.return_url.clone()),
    ];
    for (name, value) in metadata(request.organization, request.invoice, &request.effect) {
        form.push((name.own, value.clone()));
        form.push((name.of_payment, value));
    }
    form
}

/// As [`super::super::Payments::expire_link`].
pub(super) async fn expire(wire: &Wire, id: &str) -> Result<LinkEnd, ProviderError> {
    let path = format!("checkout/sessions/{id}/expire");
    let refused = match wire.post::<Session>(&path, &Form::new(), None).await {
        Ok(_) => return Ok(LinkEnd::Closed),
        Err(Failure::Refused(refused)) if refused.is_missing() => return Ok(LinkEnd::Closed),
        Err(Failure::Refused(refused)) if refused.status == 400 => refused,
        Err(failure) => return Err(failure.into()),
    };
    let path = format!("checkout/sessions/{id}");
    let session = wire.get::<Session>(&path, &Form::new()).await?.object;
    match (
        session.status.as_deref(),
        session.object.payment_status.as_deref(),
    ) {
        (Some("open"), _) => Err(ProviderError::Unavailable {
            detail: format!(
                "page {id} is still open: {}",
                ProviderError::from(Failure::Refused(refused))
            ),
        }),
        (Some("complete"), Some("paid")) => paid(session),
        (Some("complete"), Some("unpaid")) => under_way(wire, session).await,
        _ => Ok(LinkEnd::Closed),
    }
}

/// A bank's transfer or debit, which takes days; a failed one does not come back.
async fn under_way(wire: &Wire, session: Session) -> Result<LinkEnd, ProviderError> {
    let Some(payment) = &session.object.payment_intent else {
        return Ok(LinkEnd::Closed);
    };
    match charge::retrieve(wire, payment).await?.status {
        charge::Status::Succeeded => paid(session),
        charge::Status::Canceled | charge::Status::RequiresPaymentMethod => Ok(LinkEnd::Closed),
        _ => Ok(LinkEnd::UnderWay),
    }
}

fn paid(session: Session) -> Result<LinkEnd, ProviderError> {
    let object = session.object;
    let amount = event::paid(&object, amount::from_stripe);
    let amount = amount.map_err(|error| ProviderError::Rejected {
        detail: format!("page {} was paid, and {error}", object.id),
    })?;
    Ok(LinkEnd::Paid {
        payment_id: object.payment_id(),
        amount,
        method: CARD.to_owned(),
    })
}
