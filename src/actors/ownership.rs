//! Which shards this node owns, and until when it may say so.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Duration;

use crate::store::{Epoch, SHARDS, ShardId};

/// Set in a shard's word while it is being handed over: what was taken is finished, nothing new is
/// taken.
const LEAVING: u64 = 1 << 63;
/// A term without an end.
const FOR_EVER: u64 = u64::MAX;

/// Why this node does not answer for a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOwned {
    /// Somebody else owns it, or nobody.
    Elsewhere,
    /// It is about to be somebody else's.
    Leaving,
    /// The node's lease could not be renewed in time: it may be somebody else's by now.
    TermOver,
}

/// Which shards this node owns. Cheap to clone; read on every request.
///
/// The term is measured by a clock of the machine that never jumps and goes on while it sleeps, never
/// by the time of day.
#[derive(Clone)]
pub struct Ownership {
    inner: Arc<Inner>,
}

struct Inner {
    /// The epoch of each shard that is owned, else 0.
    shards: Vec<AtomicU64>,
    /// In milliseconds of the machine's clock.
    term_ends_at: AtomicU64,
    clock: fn() -> u64,
}

impl fmt::Debug for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ownership")
            .field("owned", &self.owned().len())
            .finish()
    }
}

impl Ownership {
    /// A node whose storage is its own owns everything, under the epochs that the shards have had: what
    /// it writes then is not newer than what a cluster on the same storage writes later.
    pub fn alone(epochs: impl IntoIterator<Item = (ShardId, Epoch)>) -> Self {
        let all = Self::nothing(machine_ms);
        for (shard, epoch) in epochs {
            all.grant(shard, epoch);
        }
        all.inner.term_ends_at.store(FOR_EVER, Ordering::Release);
        all
    }

    /// As [`alone`](Self::alone), of a storage that no cluster has seen.
    pub fn first() -> Self {
        Self::alone((0..SHARDS).map(|shard| (ShardId(shard), Epoch(1))))
    }

    /// A node that has not joined yet. `clock` counts milliseconds and never goes back.
    pub fn nothing(clock: fn() -> u64) -> Self {
        Self {
            inner: Arc::new(Inner {
                shards: (0..SHARDS).map(|_| AtomicU64::new(0)).collect(),
                term_ends_at: AtomicU64::new(0),
                clock,
            }),
        }
    }

    /// The epoch under which this node answers for a shard now.
    pub fn serves(&self, shard: ShardId) -> Result<Epoch, NotOwned> {
        match self.word(shard).load(Ordering::Acquire) {
            0 => Err(NotOwned::Elsewhere),
            word if word & LEAVING != 0 => Err(NotOwned::Leaving),
            epoch => self.within_term().map(|()| Epoch(epoch)),
        }
    }

    /// Whether what was begun under this epoch may still be finished here.
    pub fn may_finish(&self, shard: ShardId, epoch: Epoch) -> bool {
        let word = self.word(shard).load(Ordering::Acquire);
        word & !LEAVING == epoch.0 && self.within_term().is_ok()
    }

    /// Whether the node may answer for what it owns.
    pub fn is_within_term(&self) -> bool {
        self.within_term().is_ok()
    }

    fn within_term(&self) -> Result<(), NotOwned> {
        match self.inner.term_ends_at.load(Ordering::Acquire) {
            // Spares a node that works alone the look at the clock.
            FOR_EVER => Ok(()),
            end if (self.inner.clock)() < end => Ok(()),
            _ => Err(NotOwned::TermOver),
        }
    }

    /// What is owned and not being handed over, with its epochs, whether or not the term is over.
    pub fn owned(&self) -> Vec<(ShardId, Epoch)> {
        (0..SHARDS)
            .map(ShardId)
            .filter_map(|shard| match self.word(shard).load(Ordering::Acquire) {
                0 => None,
                word if word & LEAVING != 0 => None,
                epoch => Some((shard, Epoch(epoch))),
            })
            .collect()
    }

    /// The shards that this node answers for now.
    pub fn serving(&self) -> Vec<ShardId> {
        if self.within_term().is_err() {
            return Vec::new();
        }
        self.owned().into_iter().map(|(shard, _)| shard).collect()
    }

    /// Whether this node does what only one node should do: it owns the first shard. Two may do it for
    /// a moment, so that all of it has to bear being done twice.
    pub fn does_chores(&self) -> bool {
        self.serves(ShardId(0)).is_ok()
    }

    /// The machine's clock now, to measure terms from.
    pub fn now(&self) -> u64 {
        (self.inner.clock)()
    }

    /// The lease was renewed by a request that began at `began`: it holds for `term` from then on.
    pub fn renewed(&self, began: u64, term: Duration) {
        let term = u64::try_from(term.as_millis()).unwrap_or(u64::MAX / 2);
        self.inner
            .term_ends_at
            .fetch_max(began.saturating_add(term), Ordering::AcqRel);
    }

    /// A shard is this node's from now on.
    pub fn grant(&self, shard: ShardId, epoch: Epoch) {
        self.word(shard).store(epoch.0, Ordering::Release);
    }

    /// Nothing new is taken for this shard from now on.
    pub fn begin_leaving(&self, shard: ShardId) {
        let word = self.word(shard);
        // Only what is owned can leave.
        let _ = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            (word != 0).then_some(word | LEAVING)
        });
    }

    /// It stays after all.
    pub fn stay(&self, shard: ShardId) {
        self.word(shard).fetch_and(!LEAVING, Ordering::AcqRel);
    }

    /// A shard is no longer this node's.
    pub fn lose(&self, shard: ShardId) {
        self.word(shard).store(0, Ordering::Release);
    }

    /// The node is none any more: it owns nothing until it joins again.
    pub fn lose_all(&self) {
        self.inner.term_ends_at.store(0, Ordering::Release);
        for shard in 0..SHARDS {
            self.lose(ShardId(shard));
        }
    }

    fn word(&self, shard: ShardId) -> &AtomicU64 {
        &self.inner.shards[usize::from(shard.0)]
    }
}

/// Milliseconds since the machine started, the time it slept included.
pub fn machine_ms() -> u64 {
    #[cfg(target_os = "linux")]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(CLOCK);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000
        + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static NOW: Cell<u64> = const { Cell::new(0) };
    }

    fn node() -> Ownership {
        NOW.set(1_000);
        Ownership::nothing(|| NOW.get())
    }

    const SHARD: ShardId = ShardId(7);

    #[test]
    fn a_node_alone_serves_every_shard_for_ever_under_its_own_epoch() {
        let epochs = (0..SHARDS).map(|shard| (ShardId(shard), Epoch(1 + u64::from(shard % 7))));
        let alone = Ownership::alone(epochs.clone());
        for (shard, epoch) in epochs {
            assert_eq!(alone.serves(shard), Ok(epoch));
        }
    }

    #[test]
    fn an_owner_stops_serving_when_its_term_is_over_and_goes_on_when_it_is_renewed() {
        let node = node();
        node.grant(SHARD, Epoch(2));
        assert_eq!(node.serves(SHARD), Err(NotOwned::TermOver));
        node.renewed(NOW.get(), Duration::from_millis(500));
        assert_eq!(node.serves(SHARD), Ok(Epoch(2)));
        NOW.set(1_499);
        assert_eq!(node.serves(SHARD), Ok(Epoch(2)));
        NOW.set(1_500);
        assert_eq!(node.serves(SHARD), Err(NotOwned::TermOver));
        assert!(!node.may_finish(SHARD, Epoch(2)));
        node.renewed(NOW.get(), Duration::from_millis(500));
        assert_eq!(node.serves(SHARD), Ok(Epoch(2)));
    }

    #[test]
    fn a_slow_renewal_counts_from_when_it_began_and_never_shortens_the_term() {
        let node = node();
        node.grant(SHARD, Epoch(2));
        node.renewed(1_400, Duration::from_millis(500));
        node.renewed(1_100, Duration::from_millis(500));
        NOW.set(1_899);
        assert_eq!(node.serves(SHARD), Ok(Epoch(2)));
        NOW.set(1_900);
        assert_eq!(node.serves(SHARD), Err(NotOwned::TermOver));
    }

    #[test]
    fn a_leaving_shard_finishes_what_it_has_and_takes_nothing_new() {
        let node = node();
        node.renewed(NOW.get(), Duration::from_millis(500));
        node.grant(SHARD, Epoch(2));
        node.begin_leaving(SHARD);
        assert_eq!(node.serves(SHARD), Err(NotOwned::Leaving));
        assert!(node.may_finish(SHARD, Epoch(2)));
        assert!(!node.may_finish(SHARD, Epoch(1)));
        assert!(node.owned().is_empty());
        node.stay(SHARD);
        assert_eq!(node.serves(SHARD), Ok(Epoch(2)));
        node.lose(SHARD);
        node.begin_leaving(SHARD);
        assert_eq!(node.serves(SHARD), Err(NotOwned::Elsewhere));
    }
}
