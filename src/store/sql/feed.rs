//! The feed: every public event, in the order of the commits.

use std::sync::atomic::Ordering;

use async_trait::async_trait;

use super::SqliteStore;
use super::columns::{Columns, id_bytes, integer};
use super::error::fault;
use crate::domain::ids::{EventId, OrganizationId};
use crate::domain::invoice::event::PublicEvent;
use crate::store::{FeedStore, PlacedEvent, StoreError};

#[async_trait]
impl FeedStore for SqliteStore {
    /// The writer gave them their places with the commit: they only have to be told of.
    async fn publish(&self, limit: u16) -> Result<u64, StoreError> {
        let limit = u64::from(limit);
        let taken = self
            .untold
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |untold| {
                Some(untold.saturating_sub(limit))
            });
        Ok(taken.unwrap_or_else(|untold| untold).min(limit))
    }

    async fn feed(
        &self,
        organization: OrganizationId,
        after: Option<EventId>,
        limit: u16,
    ) -> Result<Option<Vec<PublicEvent>>, StoreError> {
        let after = match after {
            None => 0,
            Some(event) => match self.sequence_of(organization, event).await? {
                Some(sequence) => sequence,
                None => return Ok(None),
            },
        };
        let rows = sqlx::query(
            "SELECT history.event FROM feed \
             JOIN history ON history.invoice = feed.invoice AND history.version = feed.version \
             WHERE feed.organization = $1 AND feed.sequence > $2 ORDER BY feed.sequence LIMIT $3",
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

    async fn placed_after(
        &self,
        position: u64,
        limit: u16,
    ) -> Result<Vec<PlacedEvent>, StoreError> {
        let rows = sqlx::query(
            "SELECT feed.sequence, history.event FROM feed \
             JOIN history ON history.invoice = feed.invoice AND history.version = feed.version \
             WHERE feed.sequence > $1 ORDER BY feed.sequence LIMIT $2",
        )
        .bind(integer(position))
        .bind(i64::from(limit))
        .fetch_all(&self.reader)
        .await
        .map_err(fault)?;
        rows.iter()
            .map(|row| {
                Ok(PlacedEvent {
                    position: row.unsigned("sequence")?,
                    event: row.json("event")?,
                })
            })
            .collect()
    }

    async fn cursor(&self, reader: &str) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT position FROM feed_cursors WHERE reader = $1")
            .bind(reader.to_owned())
            .fetch_optional(&self.reader)
            .await
            .map_err(fault)?;
        row.map_or(Ok(0), |row| row.unsigned("position"))
    }

    async fn note_cursor(&self, reader: &str, position: u64) -> Result<(), StoreError> {
        let note = sqlx::query(
            "INSERT INTO feed_cursors (reader, position) VALUES ($1, $2) \
             ON CONFLICT (reader) DO UPDATE SET position = excluded.position \
             WHERE feed_cursors.position < excluded.position",
        )
        .bind(reader.to_owned())
        .bind(integer(position));
        self.writer.execute(note).await.map(|_| ())
    }
}

impl SqliteStore {
    async fn sequence_of(
        &self,
        organization: OrganizationId,
        event: EventId,
    ) -> Result<Option<u64>, StoreError> {
        let row =
            sqlx::query("SELECT sequence FROM feed WHERE event_id = $1 AND organization = $2")
                .bind(id_bytes(event.uuid()))
                .bind(id_bytes(organization.uuid()))
                .fetch_optional(&self.reader)
                .await
                .map_err(fault)?;
        row.map(|row| row.unsigned("sequence")).transpose()
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, Executor as _, Row as _, SqliteConnection};

    const FOUNDATION: &str = include_str!("../../../migrations/sqlite/0001_foundation.sql");
    const IN_COMMIT_ORDER: &str =
        include_str!("../../../migrations/sqlite/0002_feed_in_commit_order.sql");

    #[tokio::test]
    async fn the_migration_keeps_every_event_once_and_in_order() {
        let mut database = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        database.execute(FOUNDATION).await.unwrap();
        // Of organization 1, 11 and 12 are published, and 12 is still to be taken from the outbox;
        // 13 and 14 wait.
        database
            .execute(
                "INSERT INTO feed (organization, position, event_id, invoice, version) VALUES \
                 (x'01', 2, x'12', x'aa', 2), (x'02', 1, x'21', x'bb', 1), \
                 (x'01', 1, x'11', x'aa', 1); \
                 INSERT INTO outbox (sequence, organization, invoice, version, event_id) VALUES \
                 (9, x'01', x'aa', 4, x'14'), (8, x'01', x'aa', 3, x'13'), \
                 (7, x'01', x'aa', 2, x'12')",
            )
            .await
            .unwrap();
        database.execute(IN_COMMIT_ORDER).await.unwrap();
        for (organization, expected) in [(1_u8, vec![11, 12, 13, 14]), (2, vec![21])] {
            let rows = sqlx::query(
                "SELECT hex(event_id) FROM feed WHERE organization = $1 ORDER BY sequence",
            )
            .bind(vec![organization])
            .fetch_all(&mut database)
            .await
            .unwrap();
            let events: Vec<u32> = rows
                .iter()
                .map(|row| row.get::<String, _>(0).parse().unwrap())
                .collect();
            assert_eq!(events, expected);
        }
    }
}
