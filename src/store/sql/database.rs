//! The database underneath: reads, single writes and transactions, whichever it is.

use futures_util::future::BoxFuture;
use jiff::civil::Date;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::columns::Row;
use super::error::fault;
use super::postgres::{Postgres, Session};
use super::sqlite::Sqlite;
use super::statement::Statement;
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::command::AllocatedNumber;
use crate::domain::party::Organization;
use crate::domain::series::SeriesPattern;
use crate::store::StoreError;

/// Cheap to clone.
#[derive(Clone)]
pub(super) enum Database {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Database {
    /// Reads one row, if there is one.
    pub(super) async fn fetch_optional(
        &self,
        statement: &Statement,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.fetch_all(statement).await?.into_iter().next())
    }

    /// Reads rows; the statement bounds how many.
    pub(super) async fn fetch_all(&self, statement: &Statement) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.fetch_all(statement).await,
            Self::Postgres(postgres) => postgres.fetch_all(statement).await,
        }
    }

    /// Writes with one statement; how many rows it touched.
    pub(super) async fn execute(&self, statement: Statement) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.execute(&statement).await,
            Self::Postgres(postgres) => postgres.execute(&statement).await,
        }
    }

    /// Writes with one statement that returns rows.
    pub(super) async fn execute_returning(
        &self,
        statement: Statement,
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.execute_returning(statement).await,
            Self::Postgres(postgres) => postgres.execute_returning(&statement).await,
        }
    }

    /// Writes with several statements, all of which take effect or none.
    pub(super) async fn execute_all(&self, statements: Vec<Statement>) -> Result<(), StoreError> {
        self.transaction(statements, |connection, statements| {
            Box::pin(async move {
                for statement in statements {
                    connection.execute(statement).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// The number of an invoice by one statement; `None` when it takes a transaction. SQLite's are
    /// as cheap: there is no way to go.
    pub(super) async fn allocate_at_once(
        &self,
        organization: OrganizationId,
        invoice: InvoiceId,
        today: Date,
    ) -> Result<Option<AllocatedNumber>, StoreError> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(postgres) => {
                postgres
                    .allocate_at_once(organization, invoice, today)
                    .await
            }
        }
    }

    /// Takes note of an organization's pattern, for [`Self::allocate_at_once`].
    pub(super) fn remember_pattern(&self, organization: &Organization, pattern: SeriesPattern) {
        match self {
            Self::Sqlite(_) => {}
            Self::Postgres(postgres) => postgres.remember_pattern(organization, pattern),
        }
    }

    /// Runs a closure whose statements take effect together, or not at all when it fails.
    ///
    /// It may be run again, when the database had to give it up for the sake of another one;
    /// therefore it gets all that it needs from `given`, by reference.
    pub(super) async fn transaction<T, S, F>(&self, given: S, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        S: Send + Sync + 'static,
        F: for<'c> Fn(&'c mut Connection<'_>, &'c S) -> BoxFuture<'c, Result<T, StoreError>>
            + Send
            + Sync
            + 'static,
    {
        match self {
            Self::Sqlite(sqlite) => sqlite.transaction(given, run).await,
            Self::Postgres(postgres) => postgres.transaction(&given, &run).await,
        }
    }
}

/// A connection within a transaction.
pub(super) enum Connection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut Session),
}

impl Connection<'_> {
    /// How many rows the statement touched.
    pub(super) async fn execute(&mut self, statement: &Statement) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(connection) => {
                let done = statement.for_sqlite().execute(&mut **connection).await;
                Ok(done.map_err(fault)?.rows_affected())
            }
            Self::Postgres(session) => session.execute(statement).await,
        }
    }

    pub(super) async fn fetch_optional(
        &mut self,
        statement: &Statement,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.fetch_all(statement).await?.into_iter().next())
    }

    pub(super) async fn fetch_all(
        &mut self,
        statement: &Statement,
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(connection) => {
                let rows = statement.for_sqlite().fetch_all(&mut **connection).await;
                Ok(rows.map_err(fault)?.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(session) => session.fetch_all(statement).await,
        }
    }

    /// Keeps every other transaction that locks the organization waiting until this one has ended.
    /// SQLite has one writer: whoever writes is alone already.
    pub(super) async fn lock_organization(&mut self, organization: Uuid) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            // Weaker than FOR UPDATE: foreign keys to the organization go on being checked.
            Self::Postgres(session) => {
                let lock =
                    Statement::new("SELECT 1 FROM organizations WHERE id = $1 FOR NO KEY UPDATE")
                        .bind(organization);
                session.fetch_all(&lock).await.map(|_| ())
            }
        }
    }
}
