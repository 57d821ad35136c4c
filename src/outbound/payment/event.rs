//! Reading a provider's event, in the shape Stripe gives them.

use serde::Deserialize;

use super::{ProviderEvent, ProviderEventKind, WebhookError};
use crate::domain::ids::{EffectId, InvoiceId};
use crate::domain::invoice::effect::EffectKindName;
use crate::domain::money::{Currency, MAX_MINOR, Money};

/// What is read of an event; everything else in it may change.
#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: serde_json::Value,
}

/// A payment intent, or a checkout session with its payment's id beside its own.
#[derive(Debug, Deserialize)]
pub(super) struct Object {
    pub(super) id: String,
    #[serde(default)]
    pub(super) payment_intent: Option<String>,
    /// In the provider's units, as are the two below.
    #[serde(default)]
    amount: Option<i64>,
    /// Of a payment: what came in of `amount`.
    #[serde(default)]
    amount_received: Option<i64>,
    /// Of a session.
    #[serde(default)]
    amount_total: Option<i64>,
    /// Of a session: `paid`, or `unpaid` while a bank transfer or debit is under way, and after it failed.
    #[serde(default)]
    pub(super) payment_status: Option<String>,
    #[serde(default)]
    currency: Option<String>,
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(default)]
    last_payment_error: Option<PaymentError>,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    invoice: Option<String>,
    #[serde(default)]
    effect: Option<String>,
}

#[derive(Debug, Deserialize)]
struct PaymentError {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    decline_code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// What an amount in the provider's units is in ours; none for one that can't be.
pub(super) type ReadAmount = fn(i64, Currency) -> Option<Money>;

/// For a provider whose units are ours.
pub(super) fn in_minor_units(amount: i64, currency: Currency) -> Option<Money> {
    (1..=MAX_MINOR)
        .contains(&amount)
        .then(|| Money::new(amount, currency))
}

/// Reads an event. One of another type, or about a payment that carries no invoice of ours, is
/// [`ProviderEventKind::Ignored`].
pub(super) fn read(body: &[u8], amount: ReadAmount) -> Result<ProviderEvent, WebhookError> {
    let event: Event = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    if event.id.is_empty() || event.id.len() > 255 {
        return Err(malformed(&"its id is not 1 to 255 bytes long"));
    }
    let what = match event.kind.as_str() {
        "payment_intent.succeeded" => succeeded(read_object(event.data.object)?, amount)?,
        // Completed is not paid yet when a debit is under way; the second type tells of its end.
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => {
            let session = read_object(event.data.object)?;
            if session.payment_status.as_deref() == Some("paid") {
                succeeded(session, amount)?
            } else {
                ProviderEventKind::Ignored
            }
        }
        "payment_intent.payment_failed" => failed(read_object(event.data.object)?)?,
        _ => ProviderEventKind::Ignored,
    };
    Ok(ProviderEvent { id: event.id, what })
}

/// The invoice and, if the payment is a charge of ours, its effect; none for foreign payments.
fn read_metadata(object: &Object) -> Result<Option<(InvoiceId, Option<EffectId>)>, WebhookError> {
    let Some(metadata) = &object.metadata else {
        return Ok(None);
    };
    let Some(invoice) = &metadata.invoice else {
        return Ok(None);
    };
    let invoice = invoice.parse().map_err(|error| malformed(&error))?;
    let effect: Option<EffectId> = metadata
        .effect
        .as_ref()
        .map(|text| text.parse().map_err(|error| malformed(&error)))
        .transpose()?;
    // A payment on the provider's page carries the link's effect, which is no charge of ours.
    let effect = effect.filter(|effect| effect.kind == EffectKindName::Charge);
    Ok(Some((invoice, effect)))
}

fn succeeded(object: Object, amount: ReadAmount) -> Result<ProviderEventKind, WebhookError> {
    let Some((invoice, effect)) = read_metadata(&object)? else {
        return Ok(ProviderEventKind::Ignored);
    };
    Ok(ProviderEventKind::PaymentSucceeded {
        invoice,
        effect,
        amount: paid(&object, amount)?,
        payment_id: object.payment_id(),
        method: super::CARD.to_owned(),
    })
}

impl Object {
    /// The same for a session and its payment, so that it is booked once.
    pub(super) fn payment_id(self) -> String {
        self.payment_intent.unwrap_or(self.id)
    }
}

/// What came in.
pub(super) fn paid(object: &Object, amount: ReadAmount) -> Result<Money, WebhookError> {
    let currency: Currency = object
        .currency
        .as_deref()
        .unwrap_or_default()
        .to_ascii_uppercase()
        .parse()
        .map_err(|error| malformed(&error))?;
    let paid = object
        .amount_total
        .or(object.amount_received)
        .or(object.amount)
        .ok_or_else(|| malformed(&"it has no amount"))?;
    amount(paid, currency)
        .ok_or_else(|| malformed(&"its amount is not a positive number of whole units"))
}

fn failed(object: Object) -> Result<ProviderEventKind, WebhookError> {
    let Some((invoice, effect)) = read_metadata(&object)? else {
        return Ok(ProviderEventKind::Ignored);
    };
    let error = object.last_payment_error;
    let (code, detail) = error.map_or((None, None), |error| {
        (error.decline_code.or(error.code), error.message)
    });
    Ok(ProviderEventKind::PaymentFailed {
        invoice,
        effect,
        code: code.unwrap_or_else(|| "payment_failed".to_owned()),
        detail: detail.unwrap_or_else(|| "The payment failed.".to_owned()),
    })
}

fn read_object(object: serde_json::Value) -> Result<Object, WebhookError> {
    serde_json::from_value(object).map_err(|error| malformed(&error))
}

fn malformed(reason: &dyn std::fmt::Display) -> WebhookError {
    WebhookError::Malformed {
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const INVOICE: &str = "inv_00000000000000000000000000000007";

    fn read_json(event: &serde_json::Value) -> Result<ProviderEventKind, WebhookError> {
        read(event.to_string().as_bytes(), in_minor_units).map(|event| event.what)
    }

    fn paid(kind: &str, object: &serde_json::Value) -> serde_json::Value {
        json!({"id": "evt_1", "type": kind, "created": 1, "data": {"object": object}})
    }

    #[test]
    fn a_payment_and_its_checkout_session_carry_the_same_payment_id() {
        let metadata = json!({"invoice": INVOICE, "effect": format!("{INVOICE}-payment_link-3")});
        let payment =
            json!({"id": "pi_1", "amount": 11_888, "currency": "eur", "metadata": metadata});
        let session = json!({"id": "cs_1", "payment_intent": "pi_1", "amount_total": 11_888,
                             "payment_status": "paid", "currency": "eur", "metadata": metadata});
        let of_payment = read_json(&paid("payment_intent.succeeded", &payment)).unwrap();
        let of_session = read_json(&paid("checkout.session.completed", &session)).unwrap();
        assert_eq!(of_payment, of_session);
        assert_eq!(
            of_payment,
            ProviderEventKind::PaymentSucceeded {
                invoice: INVOICE.parse().unwrap(),
                effect: None,
                payment_id: "pi_1".to_owned(),
                amount: Money::new(11_888, "EUR".parse().unwrap()),
                method: "card".to_owned(),
            }
        );
    }

    #[test]
    fn a_charge_of_ours_is_named_by_its_effect() {
        let effect = format!("{INVOICE}-charge-4");
        let object = json!({"id": "pi_1", "amount": 5, "currency": "EUR",
            "metadata": {"invoice": INVOICE, "effect": effect},
            "last_payment_error": {"code": "card_declined", "message": "No."}});
        let failed = read_json(&paid("payment_intent.payment_failed", &object)).unwrap();
        let ProviderEventKind::PaymentFailed {
            effect: Some(found),
            code,
            ..
        } = failed
        else {
            panic!("{failed:?}");
        };
        assert_eq!(
            (found.to_string(), code),
            (effect, "card_declined".to_owned())
        );
    }

    #[test]
    fn what_does_not_concern_an_invoice_is_ignored_and_nonsense_refused() {
        let foreign = json!({"id": "pi_1", "amount": 5, "currency": "EUR"});
        let ignored = Ok(ProviderEventKind::Ignored);
        assert_eq!(
            read_json(&paid("payment_intent.succeeded", &foreign)),
            ignored
        );
        assert_eq!(
            read_json(&paid("customer.created", &json!({"id": "c"}))),
            ignored
        );
        let invoice = json!({"invoice": INVOICE});
        for object in [
            json!({"id": "pi_1", "amount": 0, "currency": "EUR", "metadata": invoice}),
            json!({"id": "pi_1", "amount": -1, "currency": "EUR", "metadata": invoice}),
            json!({"id": "pi_1", "amount": 1.5, "currency": "EUR", "metadata": invoice}),
            json!({"id": "pi_1", "amount": 1, "currency": "XQX", "metadata": invoice}),
            json!({"id": "pi_1", "amount": 1, "currency": "EUR", "metadata": {"invoice": "inv_1"}}),
            json!({"amount": 1, "currency": "EUR", "metadata": invoice}),
            json!(null),
        ] {
            let read = read_json(&paid("payment_intent.succeeded", &object));
            assert!(
                matches!(read, Err(WebhookError::Malformed { .. })),
                "{object}: {read:?}"
            );
        }
        assert!(read(b"not json", in_minor_units).is_err());
    }
}
