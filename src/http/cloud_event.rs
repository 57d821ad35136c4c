//! Public events as `CloudEvents` 1.0 in JSON.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::show::{At, Text};
use crate::domain::ids::{EventId, InvoiceId};
use crate::domain::invoice::event::PublicEvent;

/// A public event (`CloudEvents` 1.0). A repeat has the same id.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct CloudEvent<'a> {
    #[schema(example = "1.0")]
    specversion: &'static str,
    #[schema(value_type = String, example = "evt_0192f0c1a2b37c1e8d5f6a7b8c9d0e1f")]
    id: EventId,
    /// The organization.
    source: String,
    #[serde(rename = "type")]
    #[schema(example = "invoice.paid")]
    kind: &'a str,
    /// The invoice's id.
    #[schema(value_type = String)]
    subject: InvoiceId,
    #[schema(value_type = String)]
    time: At,
    #[schema(example = "application/json")]
    datacontenttype: &'static str,
    /// The invoice's version that the event tells of: orders the events of one invoice.
    #[schema(value_type = String, example = "7")]
    sequence: Text<u64>,
    #[schema(value_type = Object)]
    data: &'a Value,
}

impl<'a> CloudEvent<'a> {
    pub fn of(event: &'a PublicEvent) -> Self {
        Self {
            specversion: "1.0",
            id: event.id,
            source: format!("/organizations/{}", event.organization),
            kind: &event.kind,
            subject: event.invoice,
            time: At(event.time),
            datacontenttype: "application/json",
            sequence: Text(event.version),
            data: &event.data,
        }
    }
}
