//! Webhooks, stored before they are acknowledged.

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;

/// A provider's webhook as it came in.
#[derive(Debug, Clone)]
pub struct InboxMessage {
    pub provider: String,
    /// The provider's event id; unique with the provider.
    pub event_id: String,
    pub body: Vec<u8>,
    pub received_at: Timestamp,
    pub attempts: u32,
    pub next_attempt_at: Timestamp,
    pub last_error: Option<String>,
    /// Given up: kept for the operator.
    pub parked: bool,
}

/// Webhooks, stored before they are acknowledged.
#[async_trait]
pub trait InboxStore: Send + Sync + 'static {
    /// False when the event was there already.
    async fn receive(&self, message: InboxMessage) -> Result<bool, StoreError>;
    /// Undelivered messages that are due, oldest first; parked ones are not.
    async fn undelivered(
        &self,
        now: Timestamp,
        limit: u16,
    ) -> Result<Vec<InboxMessage>, StoreError>;
    async fn delivered(&self, provider: &str, event_id: &str) -> Result<(), StoreError>;
    async fn failed(
        &self,
        provider: &str,
        event_id: &str,
        error: &str,
        next_attempt_at: Timestamp,
        parked: bool,
    ) -> Result<(), StoreError>;
    /// Forgets delivered messages received before a moment, the oldest first, at most `limit`; how
    /// many they were.
    async fn forget_delivered(&self, before: Timestamp, limit: u16) -> Result<u64, StoreError>;
}
