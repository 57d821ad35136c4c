//! How the work of a group commit gathers.
//!
//! Those who were answered together mostly come back together, but not at once. A writer that takes
//! the first of them and goes writes one commit, then all the others: it goes twice as often as it
//! has to. So it waits a moment, for as many as came the last time.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// The part of the last write's time that others are waited for.
const PATIENCE: u32 = 4;
/// No longer than this, however slow the writes are.
const MAX_WAIT: Duration = Duration::from_millis(2);

/// What the last group was like.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    size: usize,
    /// What its write took, with all that was waited for until the next one.
    took: Duration,
    /// Since when it is being written.
    begun: Option<Instant>,
}

impl Gathering {
    /// Takes what waits, at most `max`; 0 when nothing will come any more. Called again when that has
    /// been written.
    ///
    /// One caller after another never waits: with each came one the last time.
    pub(super) async fn next<T>(
        &mut self,
        queue: &mut mpsc::Receiver<T>,
        jobs: &mut Vec<T>,
        max: usize,
    ) -> usize {
        if let Some(begun) = self.begun.take() {
            self.took = begun.elapsed();
        }
        let mut gathered = queue.recv_many(jobs, max).await;
        let deadline = Instant::now() + (self.took / PATIENCE).min(MAX_WAIT);
        while gathered > 0 && gathered < self.size.min(max) {
            let more = timeout_at(deadline, queue.recv_many(jobs, max - gathered)).await;
            match more {
                Ok(more) if more > 0 => gathered += more,
                _ => break,
            }
        }
        self.size = gathered;
        self.begun = Some(Instant::now());
        gathered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 8;

    /// How many are taken after a group of `last` when some wait, and others come while they are
    /// waited for.
    async fn taken(last: usize, waiting: usize, later: usize) -> usize {
        let mut gathering = Gathering {
            size: last,
            took: Duration::from_secs(1),
            begun: None,
        };
        let (sender, mut queue) = mpsc::channel(MAX * 2);
        let send = |count| (0..count).for_each(|job| sender.try_send(job).unwrap());
        send(waiting);
        let mut jobs = Vec::new();
        let (taken, ()) = tokio::join!(gathering.next(&mut queue, &mut jobs, MAX), async {
            send(later);
        });
        assert_eq!((taken, gathering.size), (jobs.len(), jobs.len()));
        taken
    }

    #[tokio::test]
    async fn those_who_came_together_are_waited_for() {
        assert_eq!(taken(5, 1, 4).await, 5);
        // Some do not come back.
        assert_eq!(taken(5, 1, 2).await, 3);
    }

    #[tokio::test]
    async fn one_alone_and_those_who_are_enough_wait_for_nobody() {
        assert_eq!(taken(0, 1, 4).await, 1);
        assert_eq!(taken(1, 1, 4).await, 1);
        assert_eq!(taken(3, 3, 4).await, 3);
        assert_eq!(taken(100, MAX + 1, 0).await, MAX);
    }
}
