//! Public events: what the outside is told of an entry.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::ids::{EventId, InvoiceId, OrganizationId};
use super::Invoice;
use super::entry::Recorded;

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
    pub data: serde_json::Value,
}

/// The event of an entry, if the outside is told of it. `after` is the invoice after it.
pub fn public_event(after: &Invoice, recorded: &Recorded) -> Option<PublicEvent> {
    let _ = (after, recorded);
    None
}
