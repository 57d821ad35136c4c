//! The public feed.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::{EventId, OrganizationId};
use crate::domain::invoice::event::PublicEvent;

/// An event with its place among those of all organizations.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedEvent {
    /// Grows from event to event; not always by one.
    pub position: u64,
    pub event: PublicEvent,
}

/// Every public event, in one order: once a reader has seen a position, no event gets an earlier one.
#[async_trait]
pub trait FeedStore: Send + Sync + 'static {
    /// Sees to it that committed events have their places in the feed, and takes at most `limit` of
    /// those that nobody was told of; how many they were. A store may give the places with the
    /// commit already. Called by one publisher only.
    async fn publish(&self, limit: u16) -> Result<u64, StoreError>;

    /// The organization's feed after an event (`None`: from the beginning). `Ok(None)`: no such
    /// event.
    async fn feed(
        &self,
        organization: OrganizationId,
        after: Option<EventId>,
        limit: u16,
    ) -> Result<Option<Vec<PublicEvent>>, StoreError>;

    /// The events of all organizations after a position (0: from the beginning), in order.
    async fn placed_after(&self, position: u64, limit: u16)
    -> Result<Vec<PlacedEvent>, StoreError>;

    /// How far a reader of the whole feed has come: the position it noted last, at first 0.
    async fn cursor(&self, reader: &str) -> Result<u64, StoreError>;

    /// Notes how far a reader has come; an earlier position than the one noted changes nothing.
    async fn note_cursor(&self, reader: &str, position: u64) -> Result<(), StoreError>;
}
