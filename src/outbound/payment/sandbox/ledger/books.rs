//! Where the books are kept: a file of SQLite's, which processes of one host may share, or the
//! PostgreSQL database of all nodes.
//!
//! Statements have one text for both, with words for what has to differ: `NOW_MS` is the database's
//! clock, `LOCKED` keeps others from the rows that are read, and `SKIPPING` passes over the rows that
//! others keep.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Postgres, Row as _, Sqlite, Transaction};
use tokio::time::{Instant, sleep};

use super::LedgerError;

/// How long a request waits for a connection, and for other processes that write.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long SQLite looks by itself, before it is asked again.
const LOOK: Duration = Duration::from_millis(5);
/// Connections of this node to PostgreSQL, for the sandbox alone.
const POSTGRES_CONNECTIONS: u32 = 4;
/// How long PostgreSQL works on one statement.
const STATEMENT_TIMEOUT_MS: u64 = 10_000;
/// How long it waits for the next one of a transaction: who waits for a node that hangs in the middle
/// is still at its own statement then.
const IDLE_IN_TRANSACTION_MS: u64 = 5_000;

/// A statement with its values.
pub(in super::super) struct Query {
    text: &'static str,
    values: Vec<Value>,
}

enum Value {
    Integer(Option<i64>),
    Text(Option<String>),
}

impl Query {
    pub(in super::super) const fn new(text: &'static str) -> Self {
        Self {
            text,
            values: Vec::new(),
        }
    }

    pub(in super::super) fn integer(mut self, value: impl Into<Option<i64>>) -> Self {
        self.values.push(Value::Integer(value.into()));
        self
    }

    pub(in super::super) fn text(mut self, value: impl Into<String>) -> Self {
        self.values.push(Value::Text(Some(value.into())));
        self
    }

    pub(in super::super) fn optional_text(mut self, value: Option<&str>) -> Self {
        self.values.push(Value::Text(value.map(ToOwned::to_owned)));
        self
    }

    fn for_sqlite(&self) -> sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments> {
        let text = self
            .text
            .replace("NOW_MS", "CAST(unixepoch('subsec') * 1000 AS INTEGER)")
            .replace(" LOCKED", "")
            .replace(" SKIPPING", "");
        let query = sqlx::query(AssertSqlSafe(text));
        self.values.iter().fold(query, |query, value| match value {
            Value::Integer(value) => query.bind(*value),
            Value::Text(value) => query.bind(value.clone()),
        })
    }

    fn for_postgres(&self) -> sqlx::query::Query<'static, Postgres, sqlx::postgres::PgArguments> {
        const NOW_MS: &str = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS bigint)";
        let text = self
            .text
            .replace("NOW_MS", NOW_MS)
            .replace(" LOCKED", " FOR UPDATE")
            .replace(" SKIPPING", " FOR UPDATE SKIP LOCKED");
        let query = sqlx::query(AssertSqlSafe(text));
        self.values.iter().fold(query, |query, value| match value {
            Value::Integer(value) => query.bind(*value),
            // Its texts can't hold this character.
            Value::Text(value) => {
                query.bind(value.as_ref().map(|text| text.replace('\0', "\u{fffd}")))
            }
        })
    }
}

/// A row of either.
pub(in super::super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(in super::super) fn text(&self, column: &str) -> Result<String, LedgerError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(in super::super) fn optional_text(
        &self,
        column: &str,
    ) -> Result<Option<String>, LedgerError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(in super::super) fn integer(&self, column: &str) -> Result<i64, LedgerError> {
        self.optional_integer(column)?
            .ok_or_else(|| super::row::unreadable(&column))
    }

    pub(in super::super) fn optional_integer(
        &self,
        column: &str,
    ) -> Result<Option<i64>, LedgerError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }
}

/// The open books.
#[derive(Debug)]
pub(in super::super) enum Books {
    /// One connection, as SQLite has one writer: requests queue for it in order.
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Books {
    /// Opens a file, which is made when it is missing.
    pub(super) async fn file(path: &Path) -> Result<Self, LedgerError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(LOOK);
        let turn = Turn::wanted();
        loop {
            let pool = SqlitePoolOptions::new()
                .max_connections(1)
                .acquire_timeout(PATIENCE);
            match pool.connect_with(options.clone()).await {
                Ok(pool) => return Ok(Self::Sqlite(pool)),
                Err(error) => turn.after(error).await?,
            }
        }
    }

    /// Connects with the first statement.
    pub(super) fn database(url: &str) -> Result<Self, LedgerError> {
        let options = PgConnectOptions::from_str(url)?
            .application_name("faktor-sandbox")
            .options([
                ("statement_timeout", STATEMENT_TIMEOUT_MS),
                (
                    "idle_in_transaction_session_timeout",
                    IDLE_IN_TRANSACTION_MS,
                ),
            ])
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(options);
        Ok(Self::Postgres(pool))
    }

    /// Begins a transaction that writes.
    pub(in super::super) async fn begin(&self) -> Result<Writing, LedgerError> {
        let pool = match self {
            Self::Sqlite(pool) => pool,
            Self::Postgres(pool) => return Ok(Writing::Postgres(pool.begin().await?)),
        };
        let turn = Turn::wanted();
        loop {
            match pool.begin_with("BEGIN IMMEDIATE").await {
                Ok(transaction) => return Ok(Writing::Sqlite(transaction)),
                Err(error) => turn.after(error).await?,
            }
        }
    }

    /// Reads, or writes with one statement.
    pub(in super::super) async fn fetch(&self, query: Query) -> Result<Vec<Row>, LedgerError> {
        let pool = match self {
            Self::Sqlite(pool) => pool,
            Self::Postgres(pool) => {
                let rows = query.for_postgres().fetch_all(pool).await?;
                return Ok(rows.into_iter().map(Row::Postgres).collect());
            }
        };
        let turn = Turn::wanted();
        loop {
            match query.for_sqlite().fetch_all(pool).await {
                Ok(rows) => return Ok(rows.into_iter().map(Row::Sqlite).collect()),
                Err(error) => turn.after(error).await?,
            }
        }
    }
}

/// Lets a statement be tried again while another process is in the way: then nothing was done.
struct Turn(Instant);

impl Turn {
    fn wanted() -> Self {
        Self(Instant::now())
    }

    /// Waits for the next attempt, if there is to be one.
    async fn after(&self, error: sqlx::Error) -> sqlx::Result<()> {
        if !is_busy(&error) || self.0.elapsed() > PATIENCE {
            return Err(error);
        }
        sleep(Duration::from_millis(1)).await;
        Ok(())
    }
}

/// `SQLITE_BUSY`, in the lowest byte of the extended code.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    let code = code.and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

/// A transaction. Undone when it is dropped before [`Self::commit`].
pub(in super::super) enum Writing {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Writing {
    /// How many rows it touched.
    pub(in super::super) async fn execute(&mut self, query: Query) -> Result<u64, LedgerError> {
        Ok(match self {
            Self::Sqlite(transaction) => {
                let done = query.for_sqlite().execute(&mut **transaction).await?;
                done.rows_affected()
            }
            Self::Postgres(transaction) => {
                let done = query.for_postgres().execute(&mut **transaction).await?;
                done.rows_affected()
            }
        })
    }

    pub(in super::super) async fn fetch_optional(
        &mut self,
        query: Query,
    ) -> Result<Option<Row>, LedgerError> {
        Ok(match self {
            Self::Sqlite(transaction) => {
                let row = query
                    .for_sqlite()
                    .fetch_optional(&mut **transaction)
                    .await?;
                row.map(Row::Sqlite)
            }
            Self::Postgres(transaction) => {
                let row = query
                    .for_postgres()
                    .fetch_optional(&mut **transaction)
                    .await?;
                row.map(Row::Postgres)
            }
        })
    }

    /// Many statements at once, of SQLite only.
    pub(super) async fn script(&mut self, text: &'static str) -> Result<(), LedgerError> {
        if let Self::Sqlite(transaction) = self {
            sqlx::raw_sql(text).execute(&mut **transaction).await?;
        }
        Ok(())
    }

    pub(in super::super) async fn commit(self) -> Result<(), LedgerError> {
        let done = match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => transaction.commit().await,
        };
        done.map_err(|error| LedgerError::CommitFailed {
            reason: error.to_string(),
        })
    }
}
