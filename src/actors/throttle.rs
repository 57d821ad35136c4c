//! Keeps the outside from being asked too much: a rate limit per destination and a circuit breaker.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use dashmap::DashMap;
use jiff::{SignedDuration, Timestamp};

/// Destinations remembered; beyond that the quiet ones are forgotten.
const MAX_DESTINATIONS: usize = 10_000;

/// At most so many uses of one destination within a minute.
#[derive(Debug)]
pub(super) struct RateLimit {
    per_minute: u32,
    /// The minute, and the uses within it.
    uses: DashMap<String, (i64, u32)>,
}

impl RateLimit {
    pub(super) fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            uses: DashMap::new(),
        }
    }

    pub(super) const fn per_minute(&self) -> u32 {
        self.per_minute
    }

    /// Counts one use, or says when the next is possible.
    pub(super) fn admit(&self, destination: &str, now: Timestamp) -> Result<(), Timestamp> {
        let minute = now.as_second().div_euclid(60);
        if self.uses.len() >= MAX_DESTINATIONS {
            self.uses.retain(|_, (last, _)| *last == minute);
        }
        let mut entry = self
            .uses
            .entry(destination.to_owned())
            .or_insert((minute, 0));
        if entry.0 != minute {
            *entry = (minute, 0);
        }
        if entry.1 >= self.per_minute {
            return Err(Timestamp::from_second((minute + 1) * 60).unwrap_or(now));
        }
        entry.1 += 1;
        Ok(())
    }
}

/// Stops asking a destination that fails again and again, for a while.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Failures in a row that open it.
    threshold: u32,
    open_for: SignedDuration,
    failures: AtomicU32,
    open_until_ms: AtomicI64,
}

impl Breaker {
    pub(super) const fn new(threshold: u32, open_for: SignedDuration) -> Self {
        Self {
            threshold,
            open_for,
            failures: AtomicU32::new(0),
            open_until_ms: AtomicI64::new(i64::MIN),
        }
    }

    /// Whether the destination may be asked, or when again. After the pause one failure opens it
    /// anew.
    pub(super) fn admit(&self, now: Timestamp) -> Result<(), Timestamp> {
        let open_until_ms = self.open_until_ms.load(Ordering::Relaxed);
        if now.as_millisecond() < open_until_ms {
            return Err(Timestamp::from_millisecond(open_until_ms).unwrap_or(now));
        }
        Ok(())
    }

    pub(super) fn succeeded(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, now: Timestamp) {
        let failures = self
            .failures
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        if failures >= self.threshold {
            let until = now
                .as_millisecond()
                .saturating_add(i64::try_from(self.open_for.as_millis()).unwrap_or(i64::MAX));
            self.open_until_ms.store(until, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_destination_is_used_so_often_a_minute_and_others_do_not_suffer() {
        let limit = RateLimit::new(2);
        assert_eq!(limit.admit("a.example", at(60)), Ok(()));
        assert_eq!(limit.admit("a.example", at(61)), Ok(()));
        assert_eq!(limit.admit("a.example", at(62)), Err(at(120)));
        assert_eq!(limit.admit("b.example", at(62)), Ok(()));
        assert_eq!(limit.admit("a.example", at(120)), Ok(()));
    }

    #[test]
    fn a_breaker_opens_after_failures_in_a_row_and_tries_again_after_its_pause() {
        let breaker = Breaker::new(2, SignedDuration::from_secs(10));
        breaker.failed(at(0));
        breaker.succeeded();
        breaker.failed(at(1));
        assert_eq!(breaker.admit(at(1)), Ok(()));
        breaker.failed(at(2));
        assert_eq!(breaker.admit(at(3)), Err(at(12)));
        assert_eq!(breaker.admit(at(12)), Ok(()));
        breaker.failed(at(12));
        assert_eq!(breaker.admit(at(13)), Err(at(22)));
    }
}
