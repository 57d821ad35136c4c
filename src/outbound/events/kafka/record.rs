//! An event as a Kafka record: the Kafka binding of `CloudEvents` 1.0, structured mode, with the
//! attributes as headers besides, so that readers can choose without parsing.
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md>

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::FutureRecord;

use super::super::CloudEvent;
use crate::domain::invoice::event::PublicEvent;

const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// What is written of one event.
#[derive(Debug)]
pub(super) struct Record {
    /// The invoice's id: its events share a partition, and so keep their order.
    key: String,
    headers: [(&'static str, String); 7],
    json: Vec<u8>,
}

impl Record {
    pub(super) fn of(event: &PublicEvent) -> serde_json::Result<Self> {
        let told = CloudEvent::of(event);
        Ok(Self {
            key: told.subject.to_string(),
            headers: [
                ("content-type", CONTENT_TYPE.to_owned()),
                ("ce_specversion", told.specversion.to_owned()),
                ("ce_id", told.id.to_string()),
                ("ce_source", told.source.clone()),
                ("ce_type", told.kind.to_owned()),
                ("ce_subject", told.subject.to_string()),
                ("ce_time", told.time.to_string()),
            ],
            json: serde_json::to_vec(&told)?,
        })
    }

    pub(super) fn to<'a>(&'a self, topic: &'a str) -> FutureRecord<'a, str, [u8]> {
        let headers = OwnedHeaders::new_with_capacity(self.headers.len());
        let headers = self.headers.iter().fold(headers, |headers, (key, value)| {
            let value = Some(value);
            headers.insert(Header { key, value })
        });
        // Its timestamp is the time at which it is written: a topic's retention counts from there,
        // so that events that had to wait are not forgotten sooner.
        FutureRecord::to(topic)
            .key(self.key.as_str())
            .payload(self.json.as_slice())
            .headers(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::cloud_event::tests::event;
    use super::*;

    #[test]
    fn a_record_has_the_events_json_its_invoice_as_key_and_its_attributes_as_headers() {
        let event = event(7);
        let record = Record::of(&event).unwrap();
        assert_eq!(record.key, "inv_00000000000000000000000000000003");
        assert_eq!(
            record.json,
            serde_json::to_vec(&CloudEvent::of(&event)).unwrap()
        );
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        assert_eq!(
            headers,
            [
                "content-type: application/cloudevents+json; charset=utf-8",
                "ce_specversion: 1.0",
                "ce_id: evt_00000000000000000000000000000001",
                "ce_source: /organizations/org_00000000000000000000000000000002",
                "ce_type: invoice.paid",
                "ce_subject: inv_00000000000000000000000000000003",
                "ce_time: 2026-11-21T09:00:00.070Z",
            ]
        );
    }
}
