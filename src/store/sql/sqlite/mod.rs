//! SQLite: one file, one writer, a few readers.

use futures_util::future::BoxFuture;
use sqlx::SqlitePool;

mod batch;
mod open;
mod places;
mod turns;
mod writer;

pub use open::{SqliteOptions, SqliteStore};

use super::columns::Row;
use super::database::Connection;
use super::error::fault;
use super::prepared::PreparedCommit;
use super::series;
use super::statement::Statement;
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::command::AllocatedNumber;
use crate::store::StoreError;
use places::Places;
use turns::Turns;
use writer::{Writer, run};

/// An open file. Cheap to clone.
#[derive(Clone)]
pub(super) struct Sqlite {
    reader: SqlitePool,
    writer: Writer,
    turns: Turns,
    places: Places,
}

impl Sqlite {
    pub(super) async fn fetch_all(&self, statement: &Statement) -> Result<Vec<Row>, StoreError> {
        let rows = statement.for_sqlite().fetch_all(&self.reader).await;
        Ok(rows.map_err(fault)?.into_iter().map(Row::Sqlite).collect())
    }

    pub(super) async fn execute(&self, statement: &Statement) -> Result<u64, StoreError> {
        self.writer.execute(statement.for_sqlite()).await
    }

    pub(super) async fn execute_returning(
        &self,
        statement: Statement,
    ) -> Result<Vec<Row>, StoreError> {
        self.writer
            .statement(move |connection| {
                Box::pin(async move { Connection::Sqlite(connection).fetch_all(&statement).await })
            })
            .await
    }

    /// The writer's queue is the only way in, and the file's lock keeps other processes out: nobody
    /// else writes meanwhile.
    pub(super) async fn transaction<T, S, F>(&self, given: S, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        S: Send + Sync + 'static,
        F: for<'c> Fn(&'c mut Connection<'_>, &'c S) -> BoxFuture<'c, Result<T, StoreError>>
            + Send
            + Sync
            + 'static,
    {
        self.writer
            .transaction(move |connection| {
                Box::pin(async move { run(&mut Connection::Sqlite(connection), &given).await })
            })
            .await
    }

    /// Writes one command's outcome together with others that wait.
    pub(super) async fn commit(&self, commit: PreparedCommit) -> Result<(), StoreError> {
        self.writer.commit(commit).await
    }

    /// Writes a new invoice together with the number that it brings along.
    pub(super) async fn commit_with_number(
        &self,
        commit: PreparedCommit,
        organization: OrganizationId,
        id: InvoiceId,
        brought: AllocatedNumber,
    ) -> Result<(), StoreError> {
        let turns = self.turns.clone();
        let last_place = self
            .writer
            .transaction(move |connection| {
                Box::pin(async move {
                    let mut shared = Connection::Sqlite(connection);
                    // Before the number: a repeat of this very commit holds it already.
                    let known =
                        Statement::new("SELECT 1 FROM invoices WHERE id = $1").bind(id.uuid());
                    if shared.fetch_optional(&known).await?.is_some() {
                        return Err(StoreError::Conflict);
                    }
                    series::reserve(&mut shared, organization, id, &brought).await?;
                    // Which is therefore not refused, nor is the transaction begun anew by it.
                    let written = batch::write(connection, &[commit], &turns).await?;
                    written.verdicts.into_iter().collect::<Result<(), _>>()?;
                    Ok(written.last_place)
                })
            })
            .await?;
        if let Some(place) = last_place {
            self.places.reach(place);
        }
        Ok(())
    }

    /// The writer gave the events their places with the commit: they only have to be told of. Other
    /// nodes' are told with this one's that come after them; it looks for those that do not.
    pub(super) async fn publish(&self, limit: u16) -> Result<u64, StoreError> {
        let count = self.places.tell(limit);
        if count > 0 || !self.turns.are_shared() {
            return Ok(count);
        }
        let last = Statement::new("SELECT COALESCE(MAX(sequence), 0) AS last FROM feed");
        if let [row] = self.fetch_all(&last).await?.as_slice() {
            self.places.reach(row.integer("last")?);
        }
        Ok(self.places.tell(limit))
    }

    /// Finishes what waits to be written, refuses what comes after, and leaves one clean file.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        use sqlx::Connection as _;

        let connection = self.writer.close().await;
        self.reader.close().await;
        if let Some(mut connection) = connection {
            // The last of those that share the file cuts the log off when it closes it.
            if !self.turns.are_shared() {
                run(&mut connection, "PRAGMA wal_checkpoint(TRUNCATE)").await?;
            }
            connection.close().await.map_err(fault)?;
        }
        Ok(())
    }

    pub(super) fn queue_len(&self) -> usize {
        self.writer.queue_len()
    }

    pub(super) fn is_failing(&self) -> bool {
        self.writer.is_failing()
    }
}
