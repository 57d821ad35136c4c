//! Threads that stand back for everybody else, and keep the memory that hashing needs.
//!
//! A thread and 19 MiB for each hash would be cheap beside the hash, but making and giving them back
//! takes the lock on the process's memory; a thread of the lowest priority that is interrupted while it
//! holds that lock keeps requests waiting.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::Block;
use tokio::sync::oneshot;

use super::password::HashingFailed;

/// An idle thread ends after this, and gives its memory back.
const KEPT_FOR: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce(&mut Vec<Block>) + Send>;

/// Started when they are needed.
pub(super) struct HashingThreads {
    shared: Arc<Shared>,
}

struct Shared {
    max_threads: usize,
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Threads that wait for a job.
    waiting: usize,
}

impl HashingThreads {
    pub(super) fn new(max_threads: usize) -> Self {
        let shared = Shared {
            max_threads: max_threads.max(1),
            queue: Mutex::default(),
            wake: Condvar::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Runs `work` on one of the threads, with its memory. A panic costs this work alone.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Result<T, HashingFailed> {
        let (reply, output) = oneshot::channel();
        self.submit(Box::new(move |memory| {
            // A caller that went away wants no answer.
            let _ = reply.send(work(memory));
        }))?;
        output.await.map_err(|_| HashingFailed)
    }

    fn submit(&self, job: Job) -> Result<(), HashingFailed> {
        let mut queue = self.shared.lock();
        queue.jobs.push_back(job);
        if queue.jobs.len() <= queue.waiting || queue.threads == self.shared.max_threads {
            // A busy thread looks for the next job before it waits.
            self.shared.wake.notify_one();
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let started = std::thread::Builder::new()
            .name("faktor-password".to_owned())
            .spawn(move || shared.work());
        match started {
            Ok(_) => queue.threads += 1,
            // With the thread that there is, or not at all.
            Err(_) if queue.threads == 0 => {
                queue.jobs.pop_back();
                return Err(HashingFailed);
            }
            Err(_) => {}
        }
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        stand_back();
        let mut memory = Vec::new();
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                // The caller learns of a panic by its reply, which is dropped.
                let _ = catch_unwind(AssertUnwindSafe(|| job(&mut memory)));
                queue = self.lock();
                continue;
            }
            queue.waiting += 1;
            let (woken, waited) = self
                .wake
                .wait_timeout(queue, KEPT_FOR)
                .unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.waiting -= 1;
            if waited.timed_out() && queue.jobs.is_empty() {
                queue.threads -= 1;
                return;
            }
        }
    }
}

/// Gives this thread the lowest priority. Where that isn't possible it runs as any other.
fn stand_back() {
    // Idle, not only nice: a request that wakes up takes the processor from an idle thread at once,
    // and from a nice one when its slice is over (3 ms on Linux 6.12 and later).
    #[cfg(target_os = "linux")]
    let _ = thread_priority::set_thread_priority_and_policy(
        thread_priority::thread_native_id(),
        thread_priority::ThreadPriority::Min,
        thread_priority::ThreadSchedulePolicy::Normal(
            thread_priority::NormalThreadSchedulePolicy::Idle,
        ),
    );
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn a_thread_is_used_again_with_its_memory() {
        let threads = HashingThreads::new(4);
        let work = |memory: &mut Vec<Block>| {
            memory.push(Block::default());
            (std::thread::current().id(), memory.len())
        };
        let (first, _) = threads.run(work).await.unwrap();
        // The answer may come before the thread waits again.
        while threads.shared.lock().waiting == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(threads.run(work).await.unwrap(), (first, 2));
    }

    #[tokio::test]
    async fn jobs_run_at_the_same_time() {
        let threads = HashingThreads::new(4);
        let barrier = Arc::new(std::sync::Barrier::new(4));
        let jobs = (0..4).map(|_| {
            let barrier = Arc::clone(&barrier);
            threads.run(move |_| barrier.wait().is_leader())
        });
        let leaders = join_all(jobs)
            .await
            .into_iter()
            .filter(|leader| *leader == Ok(true));
        assert_eq!(leaders.count(), 1);
    }

    #[tokio::test]
    async fn a_panic_costs_one_job() {
        let threads = HashingThreads::new(1);
        let panicked = threads.run(|_| panic!("as the test wants it")).await;
        assert_eq!(panicked, Err::<(), _>(HashingFailed));
        assert_eq!(threads.run(|_| 7).await, Ok(7));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_threads_have_the_lowest_priority() {
        use thread_priority::{NormalThreadSchedulePolicy as Normal, ThreadSchedulePolicy};

        let policy = || thread_priority::thread_schedule_policy().unwrap();
        let before = policy();
        let idle = HashingThreads::new(4).run(move |_| policy()).await;
        assert_eq!(idle, Ok(ThreadSchedulePolicy::Normal(Normal::Idle)));
        assert_eq!(policy(), before, "other threads keep theirs");
    }
}
