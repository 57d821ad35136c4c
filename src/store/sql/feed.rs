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
            Database::Sqlite(sqlite) => sqlite.publish(limit).await,
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
