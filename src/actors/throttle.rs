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

    /// Says when the next use is possible, if not now, and counts nothing.
    pub(super) fn check(&self, destination: &str, now: Timestamp) -> Result<(), Timestamp> {
        let minute = now.as_second().div_euclid(60);
        let used_up = self
            .uses
            .get(destination)
            .is_some_and(|uses| uses.0 == minute && uses.1 >= self.per_minute);
        if used_up {
            return Err(start_of(minute + 1, now));
        }
        Ok(())
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
            return Err(start_of(minute + 1, now));
        }
        entry.1 += 1;
        Ok(())
    }
}

fn start_of(minute: i64, now: Timestamp) -> Timestamp {
    Timestamp::from_second(minute * 60).unwrap_or(now)
}

/// Stops asking a destination that fails again and again, for a while.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Failures in a row that open it.
    threshold: u32,
    /// The first pause; each that follows without a success is twice as long, up to the longest.
    open_for: SignedDuration,
    max_open_for: SignedDuration,
    failures: AtomicU32,
    openings: AtomicU32,
    open_until_ms: AtomicI64,
}

impl Breaker {
    pub(super) const fn new(threshold: u32, open_for: SignedDuration) -> Self {
        Self {
            threshold,
            open_for,
            max_open_for: open_for,
            failures: AtomicU32::new(0),
            openings: AtomicU32::new(0),
            open_until_ms: AtomicI64::new(i64::MIN),
        }
    }

    /// With pauses that double up to this one.
    pub(super) const fn growing_to(mut self, max_open_for: SignedDuration) -> Self {
        self.max_open_for = max_open_for;
        self
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
        self.openings.store(0, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, now: Timestamp) {
        let failures = self
            .failures
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        // What was under way when the pause began does not make it longer.
        if failures >= self.threshold && self.admit(now).is_ok() {
            let openings = self.openings.fetch_add(1, Ordering::Relaxed);
            let until = now.as_millisecond().saturating_add(self.pause_ms(openings));
            self.open_until_ms.store(until, Ordering::Relaxed);
        }
    }

    fn pause_ms(&self, openings: u32) -> i64 {
        let in_ms = |pause: SignedDuration| i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        in_ms(self.open_for)
            .saturating_mul(1 << openings.min(16))
            .min(in_ms(self.max_open_for))
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

    #[test]
    fn looking_at_a_limit_counts_no_use() {
        let limit = RateLimit::new(1);
        assert_eq!(limit.check("a.example", at(60)), Ok(()));
        assert_eq!(limit.check("a.example", at(60)), Ok(()));
        assert_eq!(limit.admit("a.example", at(60)), Ok(()));
        assert_eq!(limit.check("a.example", at(61)), Err(at(120)));
        assert_eq!(limit.check("a.example", at(120)), Ok(()));
    }

    #[test]
    fn pauses_grow_to_the_longest_until_a_success() {
        let breaker = Breaker::new(1, SignedDuration::from_secs(10));
        let breaker = breaker.growing_to(SignedDuration::from_secs(25));
        for (failed_at, open_until) in [(0, 10), (1, 10), (10, 30), (30, 55), (55, 80)] {
            breaker.failed(at(failed_at));
            assert_eq!(breaker.admit(at(failed_at)), Err(at(open_until)));
        }
        breaker.succeeded();
        breaker.failed(at(100));
        assert_eq!(breaker.admit(at(100)), Err(at(110)));
    }
}
