//! The outbox and the feed.

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;

use super::SqliteStore;
use super::columns::{Columns, id_bytes, integer};
use super::error::fault;
use crate::domain::ids::{EventId, OrganizationId};
use crate::domain::invoice::event::PublicEvent;
use crate::store::{FeedStore, StoreError};

#[async_trait]
impl FeedStore for SqliteStore {
    async fn publish(&self, limit: u16) -> Result<u64, StoreError> {
        self.writer
            .transaction(move |connection| Box::pin(publish(connection, limit)))
            .await
    }

    async fn feed(
        &self,
        organization: OrganizationId,
        after: Option<EventId>,
        limit: u16,
    ) -> Result<Option<Vec<PublicEvent>>, StoreError> {
        let after = match after {
            None => 0,
            Some(event) => match self.position(organization, event).await? {
                Some(position) => position,
                // Known, and too young to have a place: nothing comes after it yet.
                None if self.is_waiting(organization, event).await? => return Ok(Some(Vec::new())),
                None => return Ok(None),
            },
        };
        let rows = sqlx::query(
            "SELECT history.event FROM feed \
             JOIN history ON history.invoice = feed.invoice AND history.version = feed.version \
             WHERE feed.organization = $1 AND feed.position > $2 ORDER BY feed.position LIMIT $3",
        )
        .bind(id_bytes(organization.uuid()))
        .bind(integer(after))
        .bind(i64::from(limit))
        .fetch_all(&self.reader)
        .await
        .map_err(fault)?;
        rows.iter()
            .map(|row| row.json("event"))
            .collect::<Result<_, _>>()
            .map(Some)
    }
}

impl SqliteStore {
    async fn position(
        &self,
        organization: OrganizationId,
        event: EventId,
    ) -> Result<Option<u64>, StoreError> {
        let row =
            sqlx::query("SELECT position FROM feed WHERE event_id = $1 AND organization = $2")
                .bind(id_bytes(event.uuid()))
                .bind(id_bytes(organization.uuid()))
                .fetch_optional(&self.reader)
                .await
                .map_err(fault)?;
        row.map(|row| row.unsigned("position")).transpose()
    }

    async fn is_waiting(
        &self,
        organization: OrganizationId,
        event: EventId,
    ) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT 1 FROM outbox WHERE event_id = $1 AND organization = $2")
            .bind(id_bytes(event.uuid()))
            .bind(id_bytes(organization.uuid()))
            .fetch_optional(&self.reader)
            .await
            .map_err(fault)?;
        Ok(row.is_some())
    }
}

/// Moves the oldest events from the outbox to the feed, where each organization's positions go on in
/// the order of the outbox; how many left the outbox. The rows never leave the database. Only what
/// has its place in the feed is taken out, so nothing that commits in between is lost, on a database
/// with many writers either.
async fn publish(connection: &mut SqliteConnection, limit: u16) -> Result<u64, StoreError> {
    sqlx::query(
        "INSERT INTO feed (organization, position, event_id, invoice, version) \
         SELECT organization, COALESCE((SELECT MAX(feed.position) FROM feed \
         WHERE feed.organization = event.organization), 0) \
         + ROW_NUMBER() OVER (PARTITION BY organization ORDER BY sequence), \
         event_id, invoice, version \
         FROM (SELECT * FROM outbox ORDER BY sequence LIMIT $1) AS event WHERE TRUE \
         ON CONFLICT (event_id) DO NOTHING",
    )
    .bind(i64::from(limit))
    .execute(&mut *connection)
    .await
    .map_err(fault)?;
    let taken = sqlx::query(
        "DELETE FROM outbox WHERE sequence IN \
         (SELECT sequence FROM outbox ORDER BY sequence LIMIT $1) \
         AND EXISTS (SELECT 1 FROM feed WHERE feed.event_id = outbox.event_id)",
    )
    .bind(i64::from(limit))
    .execute(&mut *connection)
    .await
    .map_err(fault)?;
    Ok(taken.rows_affected())
}
