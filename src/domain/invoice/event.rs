//! Public events: what the outside is told of an entry.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::ids::{EventId, InvoiceId, OrganizationId};
use super::Invoice;
use super::entry::{Entry, Recorded};

/// A `CloudEvent` 1.0 about an invoice, in per-invoice order of `version`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublicEvent {
    /// Stable: derived from invoice and version.
    pub id: EventId,
    /// Such as `invoice.paid`.
    #[serde(rename = "type")]
    pub kind: String,
    pub organization: OrganizationId,
    /// `CloudEvents` `subject`.
    pub invoice: InvoiceId,
    /// The version of the entry it tells of.
    pub version: u64,
    pub time: Timestamp,
    pub data: Value,
}

/// The types of public events, in the order in which they are documented.
pub const KINDS: [&str; 14] = [
    "invoice.created",
    "invoice.updated",
    "invoice.deleted",
    "invoice.finalized",
    "invoice.sent",
    "invoice.viewed",
    "invoice.payment_succeeded",
    "invoice.payment_failed",
    "invoice.paid",
    "invoice.overdue",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "invoice.document_ready",
    "invoice.effect_parked",
];

/// The type of the event that tells of an entry, if the outside is told of it.
pub const fn kind_of(entry: &Entry) -> Option<&'static str> {
    match entry {
        Entry::Created { .. } => Some("invoice.created"),
        Entry::Edited { .. } => Some("invoice.updated"),
        Entry::Deleted => Some("invoice.deleted"),
        Entry::Finalized { .. } => Some("invoice.finalized"),
        Entry::MailSent { .. } => Some("invoice.sent"),
        Entry::Viewed => Some("invoice.viewed"),
        Entry::PaymentReceived { .. } => Some("invoice.payment_succeeded"),
        Entry::ChargeFailed { .. } => Some("invoice.payment_failed"),
        Entry::Paid => Some("invoice.paid"),
        Entry::BecameOverdue => Some("invoice.overdue"),
        Entry::Voided { .. } => Some("invoice.voided"),
        Entry::MarkedUncollectible { .. } => Some("invoice.marked_uncollectible"),
        Entry::DocumentStored { .. } => Some("invoice.document_ready"),
        Entry::EffectParked { .. } => Some("invoice.effect_parked"),
        Entry::FinalizeRequested { .. }
        | Entry::SendScheduled { .. }
        | Entry::SendCancelled { .. }
        | Entry::SendRequested { .. }
        | Entry::NoticeRequested { .. }
        | Entry::EffectClaimed { .. }
        | Entry::PaymentLinkRequested
        | Entry::PaymentLinkCreated { .. }
        | Entry::PaymentLinkExpired { .. }
        | Entry::NoticeSent { .. }
        | Entry::ChargeRequested { .. }
        | Entry::ChargeSettled { .. }
        | Entry::PageSecretRotated { .. }
        | Entry::EffectFailed { .. }
        | Entry::EffectPostponed { .. }
        | Entry::EffectsRetried { .. } => None,
    }
}

/// The event of an entry, if the outside is told of it. `after` is the invoice after it.
pub fn public_event(after: &Invoice, recorded: &Recorded) -> Option<PublicEvent> {
    let kind = kind_of(&recorded.entry)?;
    Some(PublicEvent {
        id: event_id(after.id, recorded.version),
        kind: kind.to_owned(),
        organization: after.organization,
        invoice: after.id,
        version: recorded.version,
        time: recorded.at,
        data: data(after, recorded),
    })
}

/// The same for the same entry, however often it is sent.
fn event_id(invoice: InvoiceId, version: u64) -> EventId {
    EventId::new(Uuid::new_v5(&invoice.uuid(), &version.to_be_bytes()))
}

fn data(after: &Invoice, recorded: &Recorded) -> Value {
    let issued = after.issued();
    let link = after.payment.link.as_ref().filter(|link| link.active);
    let mut data = json!({
        "id": after.id,
        "object": "invoice",
        "number": issued.map(|issued| &issued.number),
        "status": after.status().name(),
        "version": recorded.version,
        "currency": after.currency(),
        "total": after.totals.total.to_string(),
        "due": after.due().to_string(),
        "customer": after.content.customer,
        "issued_on": issued.map(|issued| issued.issued_on),
        "due_on": issued.map(|issued| issued.due_on),
        "payment_link": link.map(|link| &link.url),
    });
    let more = match &recorded.entry {
        Entry::PaymentReceived { payment, .. } => json!({"payment": {
            "amount": payment.amount.to_string(),
            "method": payment.method,
            "received_on": payment.received_on,
            "reference": payment.reference,
            "provider": payment.provider.as_ref().map(|provider| &provider.provider),
            "provider_payment": payment.provider.as_ref().map(|provider| &provider.id),
        }}),
        Entry::ChargeFailed { code, detail, .. } => {
            json!({"failure": {"code": code, "detail": detail}})
        }
        Entry::Voided { reason } | Entry::MarkedUncollectible { reason } => {
            json!({"reason": reason})
        }
        Entry::DocumentStored { stored, .. } => json!({"document": {
            "format": stored.format,
            "sha256": stored.sha256,
            "bytes": stored.bytes,
        }}),
        Entry::EffectParked { effect, error } => json!({"effect": {
            "id": effect.to_string(),
            "kind": effect.kind.name(),
            "code": error.code,
            "detail": error.detail,
        }}),
        _ => Value::Null,
    };
    if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
        data.extend(more);
    }
    data
}
