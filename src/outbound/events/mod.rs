//! Public events on their way to a message broker.

mod cloud_event;
mod kafka;
mod memory;

pub use cloud_event::CloudEvent;
pub use kafka::{KafkaError, KafkaEvents, KafkaOptions};
pub use memory::MemoryEvents;

use crate::domain::invoice::event::PublicEvent;

/// The configured way for public events to leave. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Events {
    Kafka(KafkaEvents),
    Memory(MemoryEvents),
}

/// Not all of the events were taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unpublished {
    /// So many of the first ones were taken for certain. Some of those after may have been, too:
    /// published again they have the same ids.
    pub taken: usize,
    pub reason: String,
}

impl Events {
    /// The name under which the place in the feed is noted.
    pub const fn reader(&self) -> &'static str {
        match self {
            Self::Kafka(_) => "kafka",
            Self::Memory(_) => "memory",
        }
    }

    /// Hands the events over in this order and waits until all were taken for good. No event of an
    /// invoice is taken before those that stand before it. One caller at a time.
    pub async fn publish(&self, events: &[&PublicEvent]) -> Result<(), Unpublished> {
        match self {
            Self::Kafka(kafka) => kafka.publish(events).await,
            Self::Memory(memory) => memory.publish(events),
        }
    }

    /// Whether events can be handed over at all; the reason when not.
    pub async fn ping(&self) -> Result<(), String> {
        match self {
            Self::Kafka(kafka) => kafka.ping().await.map_err(|error| error.to_string()),
            Self::Memory(_) => Ok(()),
        }
    }

    /// Events that are handed over and neither taken nor refused yet.
    pub fn buffered(&self) -> u64 {
        match self {
            Self::Kafka(kafka) => kafka.buffered(),
            Self::Memory(_) => 0,
        }
    }
}
