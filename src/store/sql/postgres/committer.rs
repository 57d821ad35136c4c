//! One task that gathers this node's commits and writes what waits with one statement.
//!
//! As with SQLite, a durable commit costs one flush however much it holds; and here one way to the
//! server and back as well. Nobody is answered before the server has committed.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant};

use super::super::error::unavailable;
use super::super::gather::Gathering;
use super::super::prepared::PreparedCommit;
use super::batch;
use super::session::Session;
use super::{MAX_ATTEMPTS, wait};
use crate::store::StoreError;

/// Commits that wait before callers do.
const QUEUE: usize = 1_024;
/// A connection that was idle for this long is tried before a commit is trusted to it.
const TRY_AFTER: Duration = Duration::from_secs(1);

type Reply = oneshot::Sender<Result<(), StoreError>>;

enum Job {
    Commit(Box<PreparedCommit>, Reply),
    Close(oneshot::Sender<()>),
}

/// Hands commits to the task. Cheap to clone.
#[derive(Clone)]
pub(super) struct Committer {
    queue: mpsc::Sender<Job>,
}

impl Committer {
    /// `commits` is a pool of one connection, which is opened when it is needed.
    pub(super) fn start(
        commits: PgPool,
        patience: Duration,
        max_batch: usize,
        failing: Arc<AtomicBool>,
    ) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let task = Task {
            jobs,
            commits,
            patience,
            session: None,
            used: Instant::now(),
            max_batch,
            failing,
        };
        tokio::spawn(task.run());
        Self { queue }
    }

    /// Writes one command's outcome; durable when it returns `Ok`.
    pub(super) async fn commit(&self, commit: PreparedCommit) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.submit(Job::Commit(Box::new(commit), reply)).await?;
        answer
            .await
            .unwrap_or_else(|_| Err(unavailable("the committer stopped before it could answer")))
    }

    /// Finishes what waits, and takes nothing new.
    pub(super) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.submit(Job::Close(reply)).await.is_ok() {
            // A task that is gone has closed, too.
            let _ = closed.await;
        }
    }

    /// Commits that wait for their turn.
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

/// The committer's own side.
struct Task {
    jobs: mpsc::Receiver<Job>,
    commits: PgPool,
    patience: Duration,
    /// `None` after a fault: the next batch starts on a fresh connection.
    session: Option<Session>,
    used: Instant,
    /// Commits of one statement.
    max_batch: usize,
    failing: Arc<AtomicBool>,
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
            let mut waiting = Vec::with_capacity(jobs.len());
            for job in jobs.drain(..) {
                match job {
                    Job::Commit(commit, reply) => waiting.push((*commit, reply)),
                    Job::Close(reply) => {
                        self.jobs.close();
                        closing.push(reply);
                    }
                }
            }
            metrics::gauge!("faktor_store_queue_len").set(as_f64(self.jobs.len()));
            // A panic must not end the task: the batch's callers see their replies dropped.
            if AssertUnwindSafe(self.write_in_rounds(waiting))
                .catch_unwind()
                .await
                .is_err()
            {
                tracing::error!("the committer panicked; it goes on with a new connection");
                self.session = None;
                self.failing.store(true, Ordering::Release);
            }
        }
        self.session = None;
        self.commits.close().await;
        for reply in closing {
            let _ = reply.send(());
        }
    }

    /// A statement can write an invoice once: what is there twice waits for the next round.
    async fn write_in_rounds(&mut self, mut waiting: Vec<(PreparedCommit, Reply)>) {
        while !waiting.is_empty() {
            let mut ids = HashSet::with_capacity(waiting.len());
            let (round, later) = waiting
                .into_iter()
                .partition(|(commit, _)| ids.insert(commit.id));
            waiting = later;
            self.write(round).await;
        }
    }

    async fn write(&mut self, round: Vec<(PreparedCommit, Reply)>) {
        let started = Instant::now();
        let (commits, replies): (Vec<_>, Vec<_>) = round.into_iter().unzip();
        let result = self.write_with_patience(&commits).await;
        metrics::histogram!("faktor_store_batch_size").record(as_f64(commits.len()));
        metrics::histogram!("faktor_store_commit_seconds").record(started.elapsed().as_secs_f64());
        self.failing.store(result.is_err(), Ordering::Release);
        self.used = Instant::now();
        match result {
            Ok(verdicts) => {
                // A caller that went away does not need its answer.
                for (reply, verdict) in replies.into_iter().zip(verdicts) {
                    let _ = reply.send(verdict);
                }
            }
            Err(fault) => {
                tracing::error!(error = %fault, store.batch_size = commits.len(), "commits were not acknowledged");
                for reply in replies {
                    let _ = reply.send(Err(fault.clone()));
                }
            }
        }
    }

    /// Begins again what the database gave up; a broken connection is not tried again, because
    /// nobody knows what became of the statement.
    async fn write_with_patience(
        &mut self,
        commits: &[PreparedCommit],
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let mut attempt = 1;
        loop {
            let mut session = match self.usable_session().await {
                Ok(session) => session,
                Err(error) => {
                    self.refuse_waiting(&error);
                    return Err(error);
                }
            };
            let result = batch::write(&mut session, commits).await;
            let given_up = session.was_given_up();
            self.session = session.is_sound().then_some(session);
            match result {
                Err(_) if given_up && attempt < MAX_ATTEMPTS => wait(&mut attempt).await,
                result => return result,
            }
        }
    }

    /// The session of the last batch, or a new one. One that was idle may have been closed by the
    /// server or a firewall: asking first keeps a commit from an unknown fate.
    async fn usable_session(&mut self) -> Result<Session, StoreError> {
        if let Some(mut session) = self.session.take()
            && (self.used.elapsed() < TRY_AFTER || session.ping().await.is_ok())
        {
            return Ok(session);
        }
        Session::open(&self.commits, self.patience).await
    }

    /// Whoever waits would only hear the same, one connection time-out later.
    fn refuse_waiting(&mut self, error: &StoreError) {
        for _ in 0..QUEUE {
            match self.jobs.try_recv() {
                Ok(Job::Commit(_, reply)) => {
                    let _ = reply.send(Err(error.clone()));
                }
                Ok(Job::Close(_)) => self.jobs.close(),
                Err(_) => return,
            }
        }
    }
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
