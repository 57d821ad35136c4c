//! The outbox and the public feed it fills.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::{EventId, OrganizationId};
use crate::domain::invoice::event::PublicEvent;

/// The outbox and the feed it fills.
#[async_trait]
pub trait FeedStore: Send + Sync + 'static {
    /// Gives the oldest unpublished events their places in the feed, at most `limit`; how many they
    /// were. Called by one publisher only.
    async fn publish(&self, limit: u16) -> Result<u64, StoreError>;

    /// The organization's feed after an event (`None`: from the beginning). `Ok(None)`: no such
    /// event.
    async fn feed(
        &self,
        organization: OrganizationId,
        after: Option<EventId>,
        limit: u16,
    ) -> Result<Option<Vec<PublicEvent>>, StoreError>;
}
