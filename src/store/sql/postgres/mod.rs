//! PostgreSQL: a pool of connections for many nodes' reads and writes, and one connection of this
//! node for its invoices' commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use futures_util::future::BoxFuture;
use sqlx::PgPool;
use tokio::time::{Duration, sleep};

mod batch;
mod committer;
mod feed;
mod kept;
mod open;
#[cfg(test)]
mod plans;
mod series;
mod session;

pub(super) use feed::SEQUENCE_OF_EVENT;
pub use open::{PostgresOptions, PostgresStore};
pub(super) use session::Session;

use super::columns::Row;
use super::database::Connection;
use super::error::unavailable;
use super::prepared::PreparedCommit;
use super::statement::Statement;
use crate::store::StoreError;
use committer::Committer;
use kept::Kept;
use series::Patterns;

/// How often a piece of work is begun again that the database gave up, or that never began.
const MAX_ATTEMPTS: u32 = 5;
/// How long to wait before the second attempt; each further one waits longer by this.
const BEGIN_AGAIN: Duration = Duration::from_millis(10);
/// How long closing waits for reads and writes that are under way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// An open database. Cheap to clone.
#[derive(Clone)]
pub(super) struct Postgres {
    pool: PgPool,
    /// A connection of the pool.
    kept: Kept,
    committer: Committer,
    patterns: Patterns,
    /// How long one statement may take, with the way to the server and back.
    patience: Duration,
    /// The last write failed for a reason that other writes share.
    failing: Arc<AtomicBool>,
    /// The position in the feed up to which this node has told its readers; negative before the
    /// first look.
    told: Arc<AtomicI64>,
}

impl Postgres {
    fn new(pool: PgPool, commits: PgPool, patience: Duration, max_batch: usize) -> Self {
        let failing = Arc::new(AtomicBool::new(false));
        Self {
            committer: Committer::start(commits, patience, max_batch, Arc::clone(&failing)),
            pool,
            kept: Kept::default(),
            patterns: Patterns::new(),
            patience,
            failing,
            told: Arc::new(AtomicI64::new(-1)),
        }
    }

    async fn session(&self) -> Result<Session, StoreError> {
        self.kept.session(&self.pool, self.patience).await
    }

    /// A read is repeated when its connection turns out to be dead.
    pub(super) async fn fetch_all(&self, statement: &Statement) -> Result<Vec<Row>, StoreError> {
        let mut attempt = 1;
        loop {
            let mut session = self.session().await?;
            match session.fetch_all(statement).await {
                Err(_) if session.may_be_repeated() && attempt < MAX_ATTEMPTS => attempt += 1,
                outcome => return self.finished(session, outcome),
            }
        }
    }

    /// One statement is a transaction of its own.
    pub(super) async fn execute(&self, statement: &Statement) -> Result<u64, StoreError> {
        let mut attempt = 1;
        loop {
            let mut session = self.session().await?;
            match session.execute(statement).await {
                Err(_) if session.was_given_up() && attempt < MAX_ATTEMPTS => {
                    drop(session);
                    wait(&mut attempt).await;
                }
                outcome => return self.finished(session, outcome),
            }
        }
    }

    /// Several statements that are one transaction and answer nothing, with one way to the server
    /// and back.
    async fn script(&self, text: &str) -> Result<(), StoreError> {
        let mut attempt = 1;
        loop {
            let mut session = self.session().await?;
            match session.script(text.to_owned()).await {
                Err(_) if session.was_given_up() && attempt < MAX_ATTEMPTS => {
                    drop(session);
                    wait(&mut attempt).await;
                }
                outcome => return self.finished(session, outcome),
            }
        }
    }

    pub(super) async fn execute_returning(
        &self,
        statement: &Statement,
    ) -> Result<Vec<Row>, StoreError> {
        let mut attempt = 1;
        loop {
            let mut session = self.session().await?;
            match session.fetch_all(statement).await {
                Err(_) if session.was_given_up() && attempt < MAX_ATTEMPTS => {
                    drop(session);
                    wait(&mut attempt).await;
                }
                outcome => return self.finished(session, outcome),
            }
        }
    }

    /// Begins again what the database gave up (a deadlock) and what never began (a dead
    /// connection). When the connection breaks under the COMMIT, nobody knows whether it took
    /// effect: that is `Unavailable`.
    pub(super) async fn transaction<T, S, F>(&self, given: &S, run: &F) -> Result<T, StoreError>
    where
        T: Send,
        S: Send + Sync,
        F: for<'c> Fn(&'c mut Connection<'_>, &'c S) -> BoxFuture<'c, Result<T, StoreError>>
            + Send
            + Sync,
    {
        let mut attempt = 1;
        loop {
            let mut session = self.session().await?;
            if let Err(error) = session.begin().await {
                if session.may_be_repeated() && attempt < MAX_ATTEMPTS {
                    attempt += 1;
                    continue;
                }
                return Err(error);
            }
            let outcome = match run(&mut Connection::Postgres(&mut session), given).await {
                Ok(done) => session.commit().await.map(|()| done),
                Err(error) => {
                    // Where that fails, the connection is closed, which undoes it as well.
                    let _ = session.rollback().await;
                    Err(error)
                }
            };
            match outcome {
                Err(_) if session.was_given_up() && attempt < MAX_ATTEMPTS => {
                    drop(session);
                    wait(&mut attempt).await;
                }
                outcome => {
                    self.note(&outcome);
                    return self.finished(session, outcome);
                }
            }
        }
    }

    /// What was done without a fault leaves its connection at hand for the next one.
    fn finished<T>(
        &self,
        session: Session,
        outcome: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if outcome.is_ok() {
            self.kept.keep(session, &self.pool);
        }
        outcome
    }

    /// A transaction that succeeds shows that the store takes writes again.
    fn note<T>(&self, outcome: &Result<T, StoreError>) {
        if outcome.is_ok() && self.failing.load(Ordering::Acquire) {
            self.failing.store(false, Ordering::Release);
        }
    }

    /// Writes one command's outcome together with others that wait.
    pub(super) async fn commit(&self, commit: PreparedCommit) -> Result<(), StoreError> {
        self.committer.commit(commit).await
    }

    /// Whether the database answers, and is one that takes writes.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let statement = Statement::new("SELECT current_setting('transaction_read_only') AS value");
        let rows = self.fetch_all(&statement).await?;
        match rows.first().map(|row| row.text("value")).transpose()? {
            Some(value) if value == "off" => Ok(()),
            _ => Err(unavailable(
                "the database takes no writes: it is a standby, or set to read-only",
            )),
        }
    }

    pub(super) async fn close(&self) {
        self.committer.close().await;
        let closing = self.pool.close();
        self.kept.release();
        if tokio::time::timeout(CLOSE_TIMEOUT, closing).await.is_err() {
            tracing::warn!("connections to PostgreSQL were still busy; they are left to it");
        }
    }

    pub(super) fn queue_len(&self) -> usize {
        self.committer.queue_len()
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }
}

async fn wait(attempt: &mut u32) {
    sleep(BEGIN_AGAIN * *attempt).await;
    *attempt += 1;
}
