//! Failed logins per e-mail address: after a few, the address must wait.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use moka::sync::Cache;

use super::digest::{Digest, sha256};
use crate::clock;

/// Failures are counted from the first one for this long.
pub(super) const WINDOW_S: u64 = 15 * 60;

/// Addresses remembered. Each costs an attacker one password check, so that pushing one out by
/// guessing others takes longer than the window.
const MAX_ADDRESSES: u64 = 100_000;

/// Counts failed logins. Unknown addresses are counted like known ones, so that the answer tells
/// nothing.
pub(super) struct LoginThrottle {
    addresses: Cache<Digest, Arc<Mutex<Counter>>>,
    max_failed: u32,
}

#[derive(Default)]
struct Counter {
    first_failed_at_s: i64,
    failed: u32,
    in_flight: u32,
}

/// The address must wait this long, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MustWait {
    pub(super) retry_after_s: u64,
}

/// One login under way; it counts as neither failed nor good until it says so.
pub(super) struct Attempt {
    counter: Arc<Mutex<Counter>>,
}

impl LoginThrottle {
    pub(super) fn new(max_failed: u32) -> Self {
        let addresses = Cache::builder()
            .max_capacity(MAX_ADDRESSES)
            .time_to_idle(Duration::from_secs(WINDOW_S))
            .build();
        Self {
            addresses,
            max_failed: max_failed.max(1),
        }
    }

    pub(super) const fn max_failed(&self) -> u32 {
        self.max_failed
    }

    /// Lets a login begin. Logins under way count as if they failed, so that guessing in parallel
    /// gains nothing.
    pub(super) fn enter(&self, email: &str, now: Timestamp) -> Result<Attempt, MustWait> {
        let counter = self
            .addresses
            .get_with(sha256(email.as_bytes()), Arc::default);
        {
            let mut count = lock(&counter);
            let passed_s = now.as_second().saturating_sub(count.first_failed_at_s);
            let left_s = WINDOW_S.saturating_sub(u64::try_from(passed_s).unwrap_or(0));
            if left_s == 0 {
                count.failed = 0;
            }
            if count.failed >= self.max_failed {
                return Err(MustWait {
                    retry_after_s: left_s,
                });
            }
            if count.failed.saturating_add(count.in_flight) >= self.max_failed {
                return Err(MustWait {
                    retry_after_s: soon_s(),
                });
            }
            count.in_flight += 1;
        }
        Ok(Attempt { counter })
    }
}

/// 1 to 4 seconds, by chance: those who are sent away together shall not come back together.
pub(super) fn soon_s() -> u64 {
    let [byte] = clock::random_bytes::<1>();
    1 + u64::from(byte % 4)
}

impl Attempt {
    pub(super) fn failed(self, now: Timestamp) {
        let mut count = lock(&self.counter);
        if count.failed == 0 {
            count.first_failed_at_s = now.as_second();
        }
        count.failed = count.failed.saturating_add(1);
    }

    pub(super) fn succeeded(self) {
        lock(&self.counter).failed = 0;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut count = lock(&self.counter);
        count.in_flight = count.in_flight.saturating_sub(1);
    }
}

fn lock(counter: &Mutex<Counter>) -> std::sync::MutexGuard<'_, Counter> {
    // Plain numbers: valid whatever happened while the lock was held.
    counter.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn after(seconds: i64) -> Timestamp {
        Timestamp::new(START.as_second() + seconds, 0).unwrap()
    }

    fn fail(throttle: &LoginThrottle, email: &str, now: Timestamp) {
        throttle.enter(email, now).ok().unwrap().failed(now);
    }

    #[test]
    fn after_the_last_allowed_failure_the_address_waits_out_the_window() {
        let throttle = LoginThrottle::new(3);
        for second in 0..3 {
            fail(&throttle, "ada@example.com", after(second));
        }
        let refused = throttle.enter("ada@example.com", after(100)).err();
        assert_eq!(refused, Some(MustWait { retry_after_s: 800 }));
        assert!(
            throttle.enter("eve@example.com", after(100)).is_ok(),
            "others don't wait"
        );
        assert!(throttle.enter("ada@example.com", after(899)).is_err());
        assert!(throttle.enter("ada@example.com", after(900)).is_ok());
    }

    #[test]
    fn a_good_login_forgets_the_failed_ones() {
        let throttle = LoginThrottle::new(2);
        fail(&throttle, "ada@example.com", START);
        throttle
            .enter("ada@example.com", START)
            .ok()
            .unwrap()
            .succeeded();
        fail(&throttle, "ada@example.com", START);
        assert!(throttle.enter("ada@example.com", START).is_ok());
    }

    #[test]
    fn guessing_in_parallel_gets_no_more_attempts_than_guessing_in_turn() {
        let throttle = LoginThrottle::new(3);
        let under_way: Vec<_> = (0..10)
            .filter_map(|_| throttle.enter("ada@example.com", START).ok())
            .collect();
        assert_eq!(under_way.len(), 3);
        drop(under_way);
        assert!(
            throttle.enter("ada@example.com", START).is_ok(),
            "abandoned ones don't count"
        );
    }
}
