//! A connection in use: every statement is bounded in time on this side, too, and a connection that
//! is not as it should be is closed instead of being handed on.

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, SqlSafeStr};
use tokio::time::error::Elapsed;
use tokio::time::{Duration, timeout};

use super::super::columns::Row;
use super::super::error::{fault, unavailable};
use super::super::statement::Statement;
use crate::store::StoreError;

/// Division by zero: how a statement gives itself up that finds itself half done.
const UNSOUND: &str = "22012";

/// A connection of the pool, until this is dropped.
pub(in super::super) struct Session {
    /// `None` once it has been closed.
    connection: Option<PoolConnection<Postgres>>,
    patience: Duration,
    in_transaction: bool,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Sound,
    /// A deadlock or its like: the transaction was undone and can be begun again.
    GivenUp,
    /// The connection ended. What was under way may have taken effect or not.
    Broken,
    /// As broken, and another attempt would only wait as long.
    Silent,
}

impl Session {
    /// Waits for a connection of the pool for as long as the pool allows.
    pub(super) async fn open(pool: &PgPool, patience: Duration) -> Result<Self, StoreError> {
        Ok(Self {
            connection: Some(pool.acquire().await.map_err(fault)?),
            patience,
            in_transaction: false,
            state: State::Sound,
        })
    }

    /// Whether the database gave up what was asked of it, so that it can be begun again.
    pub(super) fn was_given_up(&self) -> bool {
        self.state == State::GivenUp
    }

    /// Whether what changed nothing (a read, a BEGIN) can be asked for again, on another connection.
    pub(super) fn may_be_repeated(&self) -> bool {
        matches!(self.state, State::GivenUp | State::Broken)
    }

    pub(super) fn is_sound(&self) -> bool {
        self.state == State::Sound
    }

    /// Whether the connection can be handed on as it is.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_sound() && !self.in_transaction && self.connection.is_some()
    }

    pub(super) async fn begin(&mut self) -> Result<(), StoreError> {
        self.in_transaction = true;
        self.command("BEGIN").await
    }

    pub(super) async fn commit(&mut self) -> Result<(), StoreError> {
        self.command("COMMIT").await?;
        self.in_transaction = false;
        Ok(())
    }

    pub(super) async fn rollback(&mut self) -> Result<(), StoreError> {
        self.command("ROLLBACK").await?;
        self.in_transaction = false;
        Ok(())
    }

    /// Whether the connection answers.
    pub(super) async fn ping(&mut self) -> Result<(), StoreError> {
        use sqlx::Connection as _;

        let patience = self.patience;
        let answer = timeout(patience, self.connection()?.ping()).await;
        self.judge(answer)
    }

    pub(in super::super) async fn execute(
        &mut self,
        statement: &Statement,
    ) -> Result<u64, StoreError> {
        let patience = self.patience;
        let work = statement.for_postgres().execute(self.connection()?);
        let done = timeout(patience, work).await;
        Ok(self.judge(done)?.rows_affected())
    }

    pub(in super::super) async fn fetch_all(
        &mut self,
        statement: &Statement,
    ) -> Result<Vec<Row>, StoreError> {
        let rows = self.fetch(statement.for_postgres()).await?;
        Ok(rows.into_iter().map(Row::Postgres).collect())
    }

    pub(super) async fn fetch(
        &mut self,
        query: sqlx::query::Query<'_, Postgres, sqlx::postgres::PgArguments>,
    ) -> Result<Vec<sqlx::postgres::PgRow>, StoreError> {
        let patience = self.patience;
        let rows = timeout(patience, query.fetch_all(self.connection()?)).await;
        self.judge(rows)
    }

    /// Several statements in one message, which are one transaction: each sees what was committed
    /// before it began.
    pub(super) async fn script(&mut self, text: String) -> Result<(), StoreError> {
        self.in_transaction = true;
        self.command(AssertSqlSafe(text)).await?;
        self.in_transaction = false;
        Ok(())
    }

    async fn command(&mut self, text: impl SqlSafeStr + Send) -> Result<(), StoreError> {
        let patience = self.patience;
        let work = sqlx::raw_sql(text).execute(self.connection()?);
        let done = timeout(patience, work).await;
        self.judge(done).map(|_| ())
    }

    fn connection(&mut self) -> Result<&mut PgConnection, StoreError> {
        self.connection
            .as_deref_mut()
            .ok_or_else(|| unavailable("the connection to the database broke"))
    }

    /// Notes what an outcome says about the connection.
    fn judge<T>(
        &mut self,
        outcome: Result<Result<T, sqlx::Error>, Elapsed>,
    ) -> Result<T, StoreError> {
        let error = match outcome {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => error,
            Err(_) => {
                self.state = State::Silent;
                self.close();
                return Err(unavailable("the database did not answer in time"));
            }
        };
        self.state = match &error {
            sqlx::Error::Database(error) => match error.code().as_deref() {
                Some("40001" | "40P01" | UNSOUND) => State::GivenUp,
                // Class 57: an operator's doing. A cancelled statement (57014) leaves the
                // connection as it is, everything else ends it.
                Some("57014") => State::Sound,
                Some(code) if code.starts_with("57") || code == "25P03" => State::Broken,
                _ => State::Sound,
            },
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => State::Sound,
            _ => State::Broken,
        };
        if self.state == State::Broken {
            self.close();
        }
        Err(fault(error))
    }

    /// Closes the connection without a farewell: the server undoes what was not committed.
    pub(super) fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Given up half-way, by a caller that went away: no other one may get to continue it.
        if self.in_transaction {
            self.close();
        }
    }
}
