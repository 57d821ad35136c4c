//! Keeps every request from waiting for a Redis that does not answer.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokio::time::{Duration, Instant};

/// Failures in a row after which Redis is not asked for a while.
const FAILURES: u32 = 3;
/// For this long; then one command goes first, and the others follow when it succeeds.
const PAUSE: Duration = Duration::from_secs(1);

/// Open (nobody asks), or closed (everybody does).
#[derive(Debug)]
pub(super) struct Circuit {
    made: Instant,
    failures: AtomicU32,
    /// In milliseconds after `made`.
    open_until_ms: AtomicU64,
}

impl Circuit {
    pub(super) fn new() -> Self {
        Self {
            made: Instant::now(),
            failures: AtomicU32::new(0),
            open_until_ms: AtomicU64::new(0),
        }
    }

    /// Whether this command may go.
    pub(super) fn admits(&self) -> bool {
        self.admits_at(self.now_ms())
    }

    fn admits_at(&self, now_ms: u64) -> bool {
        if self.failures.load(Ordering::Relaxed) < FAILURES {
            return true;
        }
        let open_until_ms = self.open_until_ms.load(Ordering::Relaxed);
        now_ms >= open_until_ms
            && self
                .open_until_ms
                .compare_exchange(
                    open_until_ms,
                    now_ms + pause_ms(),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// True when this success closed it.
    pub(super) fn succeeded(&self) -> bool {
        // Mostly there is nothing to write.
        self.failures.load(Ordering::Relaxed) > 0
            && self.failures.swap(0, Ordering::Relaxed) >= FAILURES
    }

    /// True when this failure opened it.
    pub(super) fn failed(&self) -> bool {
        self.failed_at(self.now_ms())
    }

    fn failed_at(&self, now_ms: u64) -> bool {
        let failures = self
            .failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |failures| {
                Some(failures.saturating_add(1))
            })
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        if failures >= FAILURES {
            self.open_until_ms
                .store(now_ms + pause_ms(), Ordering::Relaxed);
        }
        failures == FAILURES
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }
}

fn pause_ms() -> u64 {
    u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_three_failures_in_a_row_one_command_a_second_goes_until_one_succeeds() {
        let circuit = Circuit::new();
        assert!(!circuit.failed_at(0) && !circuit.failed_at(0));
        assert!(!circuit.succeeded(), "it was not open");
        assert!(!circuit.failed_at(0) && !circuit.failed_at(0));
        assert!(circuit.admits_at(0), "not three in a row");
        assert!(circuit.failed_at(0), "the third one opens it");
        assert!(!circuit.admits_at(999));

        assert!(circuit.admits_at(1_000), "one goes first");
        assert!(!circuit.admits_at(1_000), "the others wait for it");
        assert!(!circuit.failed_at(1_500), "it was open before");
        assert!(!circuit.admits_at(2_499));

        assert!(circuit.admits_at(2_500));
        assert!(circuit.succeeded(), "it was open");
        assert!(circuit.admits_at(2_500) && circuit.admits_at(2_500));
    }
}
