//! The feed: every public event, each with its place.

use async_trait::async_trait;

use super::SqlStore;
use super::columns::integer;
use super::database::Database;
use super::postgres;
use super::statement::Statement;
use crate::domain::ids::{EventId, OrganizationId};
use crate::domain::invoice::event::PublicEvent;
use crate::store::{FeedStore, PlacedEvent, StoreError};

#[async_trait]
impl FeedStore for SqlStore {
    async fn publish(&self, limit: u16) -> Result<u64, StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => Ok(sqlite.publish(limit)),
            Database::Postgres(postgres) => postgres.publish(limit).await,
        }
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
        let statement = Statement::new(
            "SELECT history.event FROM feed \
             JOIN history ON history.invoice = feed.invoice AND history.version = feed.version \
             WHERE feed.organization = $1 AND feed.sequence > $2 ORDER BY feed.sequence LIMIT $3",
        )
        .bind(organization.uuid())
        .bind(integer(after))
        .bind(limit);
        let rows = self.database.fetch_all(&statement).await?;
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
        let statement = Statement::new(
            "SELECT feed.sequence, history.event FROM feed \
             JOIN history ON history.invoice = feed.invoice AND history.version = feed.version \
             WHERE feed.sequence > $1 ORDER BY feed.sequence LIMIT $2",
        )
        .bind(integer(position))
        .bind(limit);
        let rows = self.database.fetch_all(&statement).await?;
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
        let statement = Statement::new("SELECT position FROM feed_cursors WHERE reader = $1")
            .bind(reader.to_owned());
        let row = self.database.fetch_optional(&statement).await?;
        row.map_or(Ok(0), |row| row.unsigned("position"))
    }

    async fn note_cursor(&self, reader: &str, position: u64) -> Result<(), StoreError> {
        let note = Statement::new(
            "INSERT INTO feed_cursors (reader, position) VALUES ($1, $2) \
             ON CONFLICT (reader) DO UPDATE SET position = excluded.position \
             WHERE feed_cursors.position < excluded.position",
        )
        .bind(reader.to_owned())
        .bind(integer(position));
        self.database.execute(note).await.map(|_| ())
    }
}

impl SqlStore {
    async fn sequence_of(
        &self,
        organization: OrganizationId,
        event: EventId,
    ) -> Result<Option<u64>, StoreError> {
        let text = match &self.database {
            Database::Sqlite(_) => {
                "SELECT sequence FROM feed WHERE event_id = $1 AND organization = $2"
            }
            Database::Postgres(_) => postgres::SEQUENCE_OF_EVENT,
        };
        let statement = Statement::new(text)
            .bind(event.uuid())
            .bind(organization.uuid());
        let row = self.database.fetch_optional(&statement).await?;
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
            let rows = Statement::new(
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
