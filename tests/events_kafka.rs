//! Public events reach a real Kafka: all, in order, and only they.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test relies on ends the test"
)]

#[path = "events_kafka/broker.rs"]
mod broker;
#[path = "events_kafka/faults.rs"]
mod faults;
#[path = "events_kafka/publishing.rs"]
mod publishing;
mod support;
