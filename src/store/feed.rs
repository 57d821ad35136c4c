//! The public feed.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::{EventId, OrganizationId};
use crate::domain::invoice::event::PublicEvent;

/// Every public event, in one order for each organization.
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
}
