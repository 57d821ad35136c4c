//! Webhooks: stored first, delivered to their invoices after.

use crate::outbound::payment::ProviderEvent;
use crate::store::StoreError;

/// Takes webhooks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct InboxHandle {}

impl InboxHandle {
    /// Stores a verified webhook; durable when it returns. A repeat changes nothing.
    pub async fn receive(
        &self,
        provider: &str,
        event: &ProviderEvent,
        body: &[u8],
    ) -> Result<(), StoreError> {
        let _ = (provider, event, body);
        Err(StoreError::Unavailable { reason: "not built yet".to_owned() })
    }
}
