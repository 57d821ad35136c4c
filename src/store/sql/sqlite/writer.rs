//! The one writer: gathers what waits into one transaction, and answers each caller by itself.
//!
//! A durable commit costs one flush of the disk however much it holds, so under load many callers
//! share one (group commit). Nobody is answered before the flush.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnectOptions};
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::super::DirectoryLock;
use super::super::error::{fault, unavailable};
use super::super::gather::Gathering;
use super::super::prepared::PreparedCommit;
use super::batch::{self, Written};
use super::places::Places;
use super::turns::Turns;
use crate::store::StoreError;

/// Jobs that wait before callers do.
const QUEUE: usize = 1_024;

/// A query whose values are bound already.
pub(super) type BoundQuery = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// Hands work to the writer. Cheap to clone.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Job>,
    failing: Arc<AtomicBool>,
}

enum Job {
    Commit(Box<PreparedCommit>, oneshot::Sender<Result<(), StoreError>>),
    Work(Box<dyn Work>),
    Close(oneshot::Sender<Option<SqliteConnection>>),
}

/// Anything that is written and is not an invoice command.
trait Work: Send {
    /// Does it, within the batch's transaction, and keeps the outcome for the answer.
    fn run<'a>(&'a mut self, connection: &'a mut SqliteConnection) -> BoxFuture<'a, Outcome>;

    /// Several statements must be undone together when one fails; a single one undoes itself.
    fn needs_savepoint(&self) -> bool;

    /// Answers the caller, once the transaction's fate is known.
    fn answer(self: Box<Self>, transaction: Result<(), StoreError>);
}

/// What became of a piece of work within its transaction.
enum Outcome {
    Done,
    /// It changed nothing; its neighbours go on.
    Refused,
    /// The database failed underneath it.
    Fault(StoreError),
}

struct Closure<T, F> {
    run: Option<F>,
    savepoint: bool,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Work for Closure<T, F>
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send,
{
    fn run<'a>(&'a mut self, connection: &'a mut SqliteConnection) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let Some(run) = self.run.take() else {
                return Outcome::Refused;
            };
            let result = run(connection).await;
            let outcome = match &result {
                Ok(_) => Outcome::Done,
                Err(fault @ StoreError::Unavailable { .. }) => Outcome::Fault(fault.clone()),
                Err(_) => Outcome::Refused,
            };
            self.outcome = Some(result);
            outcome
        })
    }

    fn needs_savepoint(&self) -> bool {
        self.savepoint
    }

    fn answer(self: Box<Self>, transaction: Result<(), StoreError>) {
        let answer = match (transaction, self.outcome) {
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(gone()),
            (Err(fault), _) => Err(fault),
        };
        // A caller that went away does not need its answer.
        let _ = self.reply.send(answer);
    }
}

fn gone() -> StoreError {
    unavailable("the writer stopped before it could answer")
}

impl Writer {
    /// Starts the writer on a connection that is open already; `options` are for opening it anew.
    pub(super) fn start(
        connection: SqliteConnection,
        options: SqliteConnectOptions,
        turns: Turns,
        places: Places,
        max_batch: usize,
        lock: Arc<DirectoryLock>,
    ) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let failing = Arc::new(AtomicBool::new(false));
        let task = Task {
            jobs,
            connection: Some(connection),
            options,
            turns,
            places,
            max_batch,
            failing: Arc::clone(&failing),
            _lock: lock,
        };
        tokio::spawn(task.run());
        Self { queue, failing }
    }

    /// Writes one command's outcome; durable when it returns `Ok`.
    pub(super) async fn commit(&self, commit: PreparedCommit) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.submit(Job::Commit(Box::new(commit), reply)).await?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Runs one statement; how many rows it touched.
    pub(super) async fn execute(&self, query: BoundQuery) -> Result<u64, StoreError> {
        self.statement(|connection| {
            Box::pin(async move {
                let done = query.execute(connection).await.map_err(fault)?;
                Ok(done.rows_affected())
            })
        })
        .await
    }

    /// Runs a closure that writes with one statement at most.
    pub(super) async fn statement<T, F>(&self, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>
            + Send
            + 'static,
    {
        self.work(run, false).await
    }

    /// Runs a closure whose statements take effect together, or not at all when it fails.
    pub(super) async fn transaction<T, F>(&self, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>
            + Send
            + 'static,
    {
        self.work(run, true).await
    }

    async fn work<T, F>(&self, run: F, savepoint: bool) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>
            + Send
            + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let closure = Closure {
            run: Some(run),
            savepoint,
            outcome: None,
            reply,
        };
        self.submit(Job::Work(Box::new(closure))).await?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Finishes what waits, takes nothing new, and gives the connection back.
    pub(super) async fn close(&self) -> Option<SqliteConnection> {
        let (reply, answer) = oneshot::channel();
        self.submit(Job::Close(reply)).await.ok()?;
        answer.await.ok().flatten()
    }

    /// Whether the last transaction failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    /// Jobs that wait for their transaction.
    pub(super) fn queue_len(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    async fn submit(&self, job: Job) -> Result<(), StoreError> {
        self.queue
            .send(job)
            .await
            .map_err(|_| unavailable("the store is closed"))
    }
}

/// The writer's own side.
struct Task {
    jobs: mpsc::Receiver<Job>,
    /// `None` after a fault: the next batch starts on a fresh one.
    connection: Option<SqliteConnection>,
    options: SqliteConnectOptions,
    turns: Turns,
    places: Places,
    /// Jobs of one transaction.
    max_batch: usize,
    failing: Arc<AtomicBool>,
    /// The data directory is ours until the last write is done.
    _lock: Arc<DirectoryLock>,
}

/// A batch, sorted by kind.
#[derive(Default)]
struct Batch {
    commits: Vec<PreparedCommit>,
    commit_replies: Vec<oneshot::Sender<Result<(), StoreError>>>,
    works: Vec<Box<dyn Work>>,
    closing: Vec<oneshot::Sender<Option<SqliteConnection>>>,
}

impl Batch {
    fn add(&mut self, job: Job) {
        match job {
            Job::Commit(commit, reply) => {
                self.commits.push(*commit);
                self.commit_replies.push(reply);
            }
            Job::Work(work) => self.works.push(work),
            Job::Close(reply) => self.closing.push(reply),
        }
    }

    /// What there is to write.
    fn size(&self) -> usize {
        self.commits.len() + self.works.len()
    }
}

impl Task {
    async fn run(mut self) {
        let mut jobs = Vec::with_capacity(self.max_batch);
        let mut closing = Vec::new();
        let mut gathering = Gathering::default();
        while gathering
            .next(&mut self.jobs, &mut jobs, self.max_batch)
            .await
            > 0
        {
            let mut batch = Batch::default();
            jobs.drain(..).for_each(|job| batch.add(job));
            // A panic must not end the writer: the batch's callers see their replies dropped.
            if batch.size() > 0
                && AssertUnwindSafe(self.write(&mut batch))
                    .catch_unwind()
                    .await
                    .is_err()
            {
                tracing::error!("the store's writer panicked; it goes on with a new connection");
                self.connection = None;
                self.failing.store(true, Ordering::Release);
            }
            if !batch.closing.is_empty() {
                self.jobs.close();
                closing.append(&mut batch.closing);
            }
        }
        for reply in closing {
            let _ = reply.send(self.connection.take());
        }
    }

    async fn write(&mut self, batch: &mut Batch) {
        let started = Instant::now();
        let result = match self.turns.take().await {
            Ok(_turn) => {
                // What came while it was another node's.
                while batch.size() < self.max_batch
                    && let Ok(job) = self.jobs.try_recv()
                {
                    batch.add(job);
                }
                self.transact(batch).await
            }
            Err(fault) => Err(fault),
        };
        let size = batch.size();
        metrics::gauge!("faktor_store_queue_len").set(as_f64(self.jobs.len()));
        metrics::histogram!("faktor_store_batch_size").record(as_f64(size));
        metrics::histogram!("faktor_store_commit_seconds").record(started.elapsed().as_secs_f64());
        self.failing.store(result.is_err(), Ordering::Release);
        match result {
            Ok(Written {
                verdicts,
                last_place,
            }) => {
                if let Some(place) = last_place {
                    self.places.reach(place);
                }
                for (reply, verdict) in batch.commit_replies.drain(..).zip(verdicts) {
                    let _ = reply.send(verdict);
                }
                for work in batch.works.drain(..) {
                    work.answer(Ok(()));
                }
            }
            Err(fault) => {
                // Closing the connection undoes what its transaction did so far.
                self.connection = None;
                tracing::error!(error = %fault, store.batch_size = size, "nothing was written");
                for reply in batch.commit_replies.drain(..) {
                    let _ = reply.send(Err(fault.clone()));
                }
                for work in batch.works.drain(..) {
                    work.answer(Err(fault.clone()));
                }
            }
        }
    }

    /// One transaction. `Err` means that nothing of it is written.
    async fn transact(&mut self, batch: &mut Batch) -> Result<Written, StoreError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.options.connect().await.map_err(fault)?),
        };
        self.turns.begin(connection).await?;
        let written = batch::write(connection, &batch.commits, &self.turns).await?;
        for work in &mut batch.works {
            run_isolated(connection, work.as_mut()).await?;
        }
        run(connection, "COMMIT").await?;
        Ok(written)
    }
}

/// Runs one piece of work so that its failure leaves nothing behind.
async fn run_isolated(
    connection: &mut SqliteConnection,
    work: &mut dyn Work,
) -> Result<(), StoreError> {
    if !work.needs_savepoint() {
        return match work.run(connection).await {
            Outcome::Done | Outcome::Refused => Ok(()),
            // The database may have given up the whole transaction.
            Outcome::Fault(fault) => Err(fault),
        };
    }
    run(connection, "SAVEPOINT work").await?;
    match work.run(connection).await {
        Outcome::Done => {}
        Outcome::Refused => run(connection, "ROLLBACK TO work").await?,
        // If that fails, the database has given up the whole transaction, and so do we.
        Outcome::Fault(fault) => {
            run(connection, "ROLLBACK TO work")
                .await
                .map_err(|_| fault)?;
        }
    }
    run(connection, "RELEASE work").await
}

pub(super) async fn run(
    connection: &mut SqliteConnection,
    statement: &'static str,
) -> Result<(), StoreError> {
    sqlx::query(statement)
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(fault)
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
