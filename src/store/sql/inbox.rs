//! The inbox of webhooks.

use async_trait::async_trait;
use jiff::Timestamp;

use super::SqlStore;
use super::columns::{Row, micros};
use super::error::corrupt;
use super::statement::Statement;
use crate::store::{InboxMessage, InboxStore, StoreError};

#[async_trait]
impl InboxStore for SqlStore {
    async fn receive(&self, message: InboxMessage) -> Result<bool, StoreError> {
        let insert = Statement::new(
            "INSERT INTO inbox (provider, event_id, received_at, attempts, next_attempt_at, \
             last_error, parked, delivered, body) VALUES ($1, $2, $3, $4, $5, $6, $7, FALSE, $8) \
             ON CONFLICT (provider, event_id) DO NOTHING",
        )
        .bind(message.provider)
        .bind(message.event_id)
        .bind(micros(message.received_at))
        .bind(i64::from(message.attempts))
        .bind(micros(message.next_attempt_at))
        .bind(message.last_error)
        .bind(message.parked)
        .bind(message.body);
        Ok(self.database.execute(insert).await? == 1)
    }

    async fn undelivered(
        &self,
        now: Timestamp,
        limit: u16,
    ) -> Result<Vec<InboxMessage>, StoreError> {
        let statement = Statement::new(
            "SELECT provider, event_id, received_at, attempts, next_attempt_at, last_error, \
             parked, body FROM inbox WHERE NOT delivered AND NOT parked AND next_attempt_at <= $1 \
             ORDER BY received_at, event_id LIMIT $2",
        )
        .bind(micros(now))
        .bind(limit);
        let rows = self.database.fetch_all(&statement).await?;
        rows.iter().map(message).collect()
    }

    async fn delivered(&self, provider: &str, event_id: &str) -> Result<(), StoreError> {
        let update = Statement::new(
            "UPDATE inbox SET delivered = TRUE WHERE provider = $1 AND event_id = $2",
        )
        .bind(provider.to_owned())
        .bind(event_id.to_owned());
        self.database.execute(update).await.map(|_| ())
    }

    async fn failed(
        &self,
        provider: &str,
        event_id: &str,
        error: &str,
        next_attempt_at: Timestamp,
        parked: bool,
    ) -> Result<(), StoreError> {
        let update = Statement::new(
            "UPDATE inbox SET attempts = attempts + 1, last_error = $3, next_attempt_at = $4, \
             parked = $5 WHERE provider = $1 AND event_id = $2 AND NOT delivered",
        )
        .bind(provider.to_owned())
        .bind(event_id.to_owned())
        .bind(error.to_owned())
        .bind(micros(next_attempt_at))
        .bind(parked);
        self.database.execute(update).await.map(|_| ())
    }

    async fn forget_delivered(&self, before: Timestamp, limit: u16) -> Result<u64, StoreError> {
        let delete = Statement::new(
            "DELETE FROM inbox WHERE (provider, event_id) IN (SELECT provider, event_id \
             FROM inbox WHERE delivered AND received_at < $1 ORDER BY received_at LIMIT $2)",
        )
        .bind(micros(before))
        .bind(limit);
        self.database.execute(delete).await
    }
}

fn message(row: &Row) -> Result<InboxMessage, StoreError> {
    Ok(InboxMessage {
        provider: row.text("provider")?,
        event_id: row.text("event_id")?,
        body: row.bytes("body")?,
        received_at: row.timestamp("received_at")?,
        attempts: u32::try_from(row.unsigned("attempts")?).map_err(corrupt)?,
        next_attempt_at: row.timestamp("next_attempt_at")?,
        last_error: row.get_as("last_error")?,
        parked: row.flag("parked")?,
    })
}
