//! A worker pool: a ractor factory with a bounded queue, used like an async function.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ractor::factory::discard::{DiscardMode, DiscardSettings};
use ractor::factory::queues::DefaultQueue;
use ractor::factory::routing::QueuerRouting;
use ractor::factory::{
    DiscardHandler, DiscardReason, Factory, FactoryArguments, FactoryMessage, Job, JobOptions,
    Worker, WorkerBuilder, WorkerId,
};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use tokio::sync::oneshot;
use tokio::time::{Duration, timeout};

use super::slot::Slot;

/// A task that no worker took up within this time is given back: who waits for it has a time-out of
/// its own, and what is begun behind its back could be done twice.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// What a pool's workers do. One value is shared by all of them.
pub trait Work: Send + Sync + 'static {
    type Task: Send + 'static;
    type Output: Send + 'static;

    /// The pool's name in the supervision tree, metrics and logs.
    const NAME: &'static str;

    fn run(&self, task: Self::Task) -> impl Future<Output = Self::Output> + Send;
}

/// Why a task brought no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The queue is full, or too long; nothing was done.
    #[error("the queue is full, or too long")]
    Busy,
    /// The worker crashed on this task; it has been replaced.
    #[error("the worker crashed")]
    Crashed,
}

/// How many workers, and how many tasks may wait for one.
#[derive(Debug, Clone, Copy)]
pub struct PoolSize {
    pub workers: usize,
    pub queue: usize,
}

struct Ticket<W: Work> {
    task: Option<W::Task>,
    reply: Option<oneshot::Sender<Result<W::Output, PoolError>>>,
    /// Whoever sets it first has the task: the worker that takes it up, or the caller that gives up.
    taken: Arc<AtomicBool>,
}

impl<W: Work> ractor::Message for Ticket<W> {}

impl<W: Work> fmt::Debug for Ticket<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a task of the {} pool", W::NAME)
    }
}

type PoolMessage<W> = FactoryMessage<u64, Ticket<W>>;

/// The handle of a pool. Cheap to clone; stays valid when the pool is restarted.
pub struct Pool<W: Work> {
    inner: Arc<Inner<W>>,
}

struct Inner<W: Work> {
    work: Arc<W>,
    size: PoolSize,
    max_wait: Duration,
    factory: Slot<PoolMessage<W>>,
    /// Tasks given and not yet answered: running and waiting.
    in_flight: AtomicU64,
    next_key: AtomicU64,
}

impl<W: Work> Clone for Pool<W> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<W: Work> fmt::Debug for Pool<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &W::NAME)
            .finish_non_exhaustive()
    }
}

impl<W: Work> Pool<W> {
    /// A pool that does nothing until it is [spawned](Self::spawn).
    pub fn new(work: W, size: PoolSize) -> Self {
        let workers = size.workers.max(1);
        Self {
            inner: Arc::new(Inner {
                work: Arc::new(work),
                size: PoolSize {
                    workers,
                    queue: size.queue,
                },
                max_wait: MAX_WAIT,
                factory: Slot::default(),
                in_flight: AtomicU64::new(0),
                next_key: AtomicU64::new(0),
            }),
        }
    }

    /// Starts (or restarts) the factory under its supervisor.
    pub async fn spawn(&self, supervisor: ActorCell) -> Result<ActorCell, SpawnErr> {
        let arguments = FactoryArguments::builder()
            .worker_builder(Box::new(Builder {
                work: Arc::clone(&self.inner.work),
            }) as Box<_>)
            .num_initial_workers(self.inner.size.workers)
            .router(QueuerRouting::default())
            .queue(DefaultQueue::default())
            .discard_handler(Arc::new(AnswerBusy) as Arc<_>)
            .discard_settings(DiscardSettings::Static {
                limit: self.inner.size.queue,
                mode: DiscardMode::Newest,
            })
            .build();
        let factory = PoolFactory::<W>::default();
        let (actor, _) = Actor::spawn_linked(None, factory, arguments, supervisor).await?;
        let cell = actor.get_cell();
        self.inner.factory.set(actor);
        Ok(cell)
    }

    /// Runs a task on a worker and waits for its output.
    pub async fn run(&self, task: W::Task) -> Result<W::Output, PoolError> {
        let (reply, mut output) = oneshot::channel();
        let taken = Arc::new(AtomicBool::new(false));
        let _in_flight = InFlight::enter::<W>(&self.inner.in_flight);
        let job = Job {
            key: self.inner.next_key.fetch_add(1, Ordering::Relaxed),
            msg: Ticket::<W> {
                task: Some(task),
                reply: Some(reply),
                taken: Arc::clone(&taken),
            },
            options: JobOptions::default(),
            accepted: None,
        };
        self.inner
            .factory
            .send(FactoryMessage::Dispatch(job))
            .map_err(|_| PoolError::Crashed)?;
        let answer = match timeout(self.inner.max_wait, &mut output).await {
            Ok(answer) => answer,
            Err(_) if !taken.swap(true, Ordering::AcqRel) => return Err(PoolError::Busy),
            Err(_) => output.await,
        };
        answer.unwrap_or(Err(PoolError::Crashed))
    }

    pub fn name(&self) -> &'static str {
        W::NAME
    }

    pub fn workers(&self) -> usize {
        self.inner.size.workers
    }

    /// Tasks running and waiting.
    pub fn in_flight(&self) -> u64 {
        self.inner.in_flight.load(Ordering::Relaxed)
    }
}

/// Counts a task while it is in flight, also when its caller goes away.
struct InFlight<'a> {
    count: &'a AtomicU64,
    pool: &'static str,
}

impl<'a> InFlight<'a> {
    fn enter<W: Work>(count: &'a AtomicU64) -> Self {
        let this = Self {
            count,
            pool: W::NAME,
        };
        this.show(count.fetch_add(1, Ordering::Relaxed) + 1);
        this
    }

    #[expect(clippy::cast_precision_loss, reason = "queue lengths are small")]
    fn show(&self, length: u64) {
        metrics::gauge!("faktor_pool_queue_len", "pool" => self.pool).set(length as f64);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.show(self.count.fetch_sub(1, Ordering::Relaxed).saturating_sub(1));
    }
}

struct PoolWorker<W> {
    work: Arc<W>,
}

impl<W: Work> Worker for PoolWorker<W> {
    type Key = u64;
    type Message = Ticket<W>;
    type Arguments = ();
    type State = ();

    async fn pre_start(
        &self,
        _: WorkerId,
        _: &ActorRef<PoolMessage<W>>,
        (): (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: WorkerId,
        _: &ActorRef<PoolMessage<W>>,
        job: Job<u64, Ticket<W>>,
        (): &mut (),
    ) -> Result<u64, ActorProcessingErr> {
        let Ticket { task, reply, taken } = job.msg;
        let is_wanted =
            |reply: &oneshot::Sender<_>| !reply.is_closed() && !taken.swap(true, Ordering::AcqRel);
        if let (Some(task), Some(reply)) = (task, reply.filter(is_wanted)) {
            // Boxed: otherwise every worker would hold room for a task as long as it lives.
            let output = Box::pin(self.work.run(task)).await;
            // A caller that went away wants no answer.
            let _ = reply.send(Ok(output));
        }
        Ok(job.key)
    }
}

struct Builder<W> {
    work: Arc<W>,
}

impl<W: Work> WorkerBuilder<PoolWorker<W>, ()> for Builder<W> {
    fn build(&mut self, _: WorkerId) -> (PoolWorker<W>, ()) {
        (
            PoolWorker {
                work: Arc::clone(&self.work),
            },
            (),
        )
    }
}

/// Tells the caller of a discarded task at once.
struct AnswerBusy;

impl<W: Work> DiscardHandler<u64, Ticket<W>> for AnswerBusy {
    fn discard(&self, _: DiscardReason, job: &mut Job<u64, Ticket<W>>) {
        if let Some(reply) = job.msg.reply.take() {
            let _ = reply.send(Err(PoolError::Busy));
        }
    }
}

type PoolFactory<W> = Factory<
    u64,
    Ticket<W>,
    (),
    PoolWorker<W>,
    QueuerRouting<u64, Ticket<W>>,
    DefaultQueue<u64, Ticket<W>>,
>;

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    /// Counts what it did; each task waits for a permit.
    struct Slow {
        permits: Semaphore,
        done: AtomicU64,
    }

    impl Work for Slow {
        type Task = ();
        type Output = ();
        const NAME: &'static str = "slow";

        async fn run(&self, (): ()) {
            self.permits.acquire().await.unwrap().forget();
            self.done.fetch_add(1, Ordering::SeqCst);
        }
    }

    struct Nobody;

    impl Actor for Nobody {
        type Msg = ();
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_task_that_is_not_taken_up_in_time_is_given_back_and_never_done() {
        let work = Slow {
            permits: Semaphore::new(0),
            done: AtomicU64::new(0),
        };
        let mut pool = Pool::new(
            work,
            PoolSize {
                workers: 1,
                queue: 10,
            },
        );
        Arc::get_mut(&mut pool.inner).unwrap().max_wait = Duration::from_millis(50);
        let (supervisor, _) = Actor::spawn(None, Nobody, ()).await.unwrap();
        pool.spawn(supervisor.get_cell()).await.unwrap();
        let running = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(()).await }
        });
        while pool.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
        // The worker has the first one, however long it takes; the second one waits in vain, and the
        // third one's caller goes away.
        assert_eq!(pool.run(()).await, Err(PoolError::Busy));
        let gone = timeout(Duration::from_millis(10), pool.run(())).await;
        assert!(gone.is_err());
        pool.inner.work.permits.add_permits(10);
        assert_eq!(running.await.unwrap(), Ok(()));
        assert_eq!(pool.run(()).await, Ok(()));
        assert_eq!(pool.inner.work.done.load(Ordering::SeqCst), 2);
        supervisor.stop(None);
    }
}
