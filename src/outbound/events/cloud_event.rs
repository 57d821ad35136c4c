//! Public events as `CloudEvents` 1.0 in JSON: the same text in the API, its streams and Kafka.

use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::ids::{EventId, InvoiceId};
use crate::domain::invoice::event::PublicEvent;

/// A public event (`CloudEvents` 1.0). A repeat has the same id.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct CloudEvent<'a> {
    #[schema(example = "1.0")]
    pub(super) specversion: &'static str,
    #[schema(value_type = String, example = "evt_0192f0c1a2b37c1e8d5f6a7b8c9d0e1f")]
    pub(super) id: EventId,
    /// The organization.
    pub(super) source: String,
    #[serde(rename = "type")]
    #[schema(example = "invoice.paid")]
    pub(super) kind: &'a str,
    /// The invoice's id.
    #[schema(value_type = String)]
    pub(super) subject: InvoiceId,
    #[schema(value_type = String)]
    pub(super) time: Milliseconds,
    #[schema(example = "application/json")]
    datacontenttype: &'static str,
    /// The invoice's version that the event tells of: orders the events of one invoice.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, example = "7")]
    sequence: u64,
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
            time: Milliseconds(event.time),
            datacontenttype: "application/json",
            sequence: event.version,
            data: &event.data,
        }
    }
}

/// A timestamp as answers of the API show it: UTC, exactly three decimals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Milliseconds(Timestamp);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl Serialize for Milliseconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
fn as_text<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn event(version: u64) -> PublicEvent {
        PublicEvent {
            id: "evt_00000000000000000000000000000001".parse().unwrap(),
            kind: "invoice.paid".to_owned(),
            organization: "org_00000000000000000000000000000002".parse().unwrap(),
            invoice: "inv_00000000000000000000000000000003".parse().unwrap(),
            version,
            time: "2026-11-21T09:00:00.07Z".parse().unwrap(),
            data: json!({"object": "invoice", "total": "119.00"}),
        }
    }

    #[test]
    fn an_event_is_written_as_it_always_was() {
        let event = event(7);
        assert_eq!(
            serde_json::to_string(&CloudEvent::of(&event)).unwrap(),
            r#"{"specversion":"1.0","id":"evt_00000000000000000000000000000001","source":"/organizations/org_00000000000000000000000000000002","type":"invoice.paid","subject":"inv_00000000000000000000000000000003","time":"2026-11-21T09:00:00.070Z","datacontenttype":"application/json","sequence":"7","data":{"object":"invoice","total":"119.00"}}"#
        );
    }

    #[test]
    fn the_time_has_exactly_three_decimals() {
        for (time, shown) in [
            ("2026-11-21T09:00:00Z", "2026-11-21T09:00:00.000Z"),
            ("2026-11-21T09:00:00.9999Z", "2026-11-21T09:00:00.999Z"),
            ("0031-01-02T03:04:05.6Z", "0031-01-02T03:04:05.600Z"),
        ] {
            assert_eq!(Milliseconds(time.parse().unwrap()).to_string(), shown);
        }
    }
}
