//! The outbox and the public feed it fills.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::{EventId, OrganizationId};
use crate::domain::invoice::event::PublicEvent;

/// An event with its place in the organization's feed.
#[derive(Debug, Clone)]
pub struct FeedEvent {
    pub position: u64,
    pub event: PublicEvent,
}

/// The outbox and the feed it fills.
#[async_trait]
pub trait FeedStore: Send + Sync + 'static {
    /// Gives the oldest unpublished events their feed positions, at most `limit`, and returns them.
    /// Called by one publisher only.
    async fn publish(&self, limit: u16) -> Result<Vec<FeedEvent>, StoreError>;

    /// The organization's feed after an event (`None`: from the beginning). `Ok(None)`: no such
    /// event.
    async fn feed(
        &self,
        organization: OrganizationId,
        after: Option<EventId>,
        limit: u16,
    ) -> Result<Option<Vec<PublicEvent>>, StoreError>;
}
