//! The outbox and the feed.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::sqlite::{Sqlite, SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row};
use uuid::Uuid;

use super::SqliteStore;
use super::columns::{Columns, id_bytes, integer};
use super::error::fault;
use crate::domain::ids::{EventId, OrganizationId};
use crate::domain::invoice::event::PublicEvent;
use crate::store::{FeedEvent, FeedStore, StoreError};

#[async_trait]
impl FeedStore for SqliteStore {
    async fn publish(&self, limit: u16) -> Result<Vec<FeedEvent>, StoreError> {
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

/// Moves the oldest events from the outbox to the feed. What is taken out is what is put in, so
/// nothing that commits in between is lost, on a database with many writers either.
async fn publish(
    connection: &mut SqliteConnection,
    limit: u16,
) -> Result<Vec<FeedEvent>, StoreError> {
    let mut taken = sqlx::query(
        "DELETE FROM outbox WHERE sequence IN \
         (SELECT sequence FROM outbox ORDER BY sequence LIMIT $1) \
         RETURNING sequence, organization, invoice, version, event_id, \
         (SELECT event FROM history WHERE history.invoice = outbox.invoice \
          AND history.version = outbox.version) AS event",
    )
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await
    .map_err(fault)?;
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    // RETURNING promises no order.
    taken.sort_by_key(|row| row.get_as::<i64>("sequence").unwrap_or(i64::MAX));
    let positions = give_positions(connection, &taken).await?;
    let mut published = Vec::with_capacity(taken.len());
    for row in &taken {
        // An event that has its place already was published before: it is not told again.
        if let Some(&position) = positions.get(&row.id("event_id")?) {
            published.push(FeedEvent {
                position,
                event: row.json("event")?,
            });
        }
    }
    Ok(published)
}

/// Continues each organization's positions, in the order of the outbox.
async fn give_positions(
    connection: &mut SqliteConnection,
    taken: &[SqliteRow],
) -> Result<HashMap<Uuid, u64>, StoreError> {
    /// Rows of one statement: keeps its values below the databases' limits.
    const MAX_ROWS: usize = 256;
    let mut positions = HashMap::with_capacity(taken.len());
    for chunk in taken.chunks(MAX_ROWS) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "WITH event (sequence, organization, invoice, version, event_id) AS (",
        );
        query.push_values(chunk, |mut row, event| {
            row.push_bind(event.try_get::<i64, _>("sequence").ok())
                .push_bind(event.try_get::<Vec<u8>, _>("organization").ok())
                .push_bind(event.try_get::<Vec<u8>, _>("invoice").ok())
                .push_bind(event.try_get::<i64, _>("version").ok())
                .push_bind(event.try_get::<Vec<u8>, _>("event_id").ok());
        });
        query.push(
            ") INSERT INTO feed (organization, position, event_id, invoice, version) \
             SELECT organization, COALESCE((SELECT MAX(feed.position) FROM feed \
             WHERE feed.organization = event.organization), 0) \
             + ROW_NUMBER() OVER (PARTITION BY organization ORDER BY sequence), \
             event_id, invoice, version FROM event WHERE TRUE \
             ON CONFLICT (event_id) DO NOTHING RETURNING event_id, position",
        );
        let rows = query
            .build()
            .fetch_all(&mut *connection)
            .await
            .map_err(fault)?;
        for row in rows {
            positions.insert(row.id("event_id")?, row.unsigned("position")?);
        }
    }
    Ok(positions)
}
