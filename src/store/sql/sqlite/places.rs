//! How far the feed reaches, and how far its readers have been told of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Places follow each other without a gap: one transaction writes at a time, and nobody deletes. Cheap
/// to clone.
#[derive(Debug, Clone)]
pub(super) struct Places {
    committed: Arc<AtomicI64>,
    told: Arc<AtomicI64>,
}

impl Places {
    /// Of a feed that reaches up to here already.
    pub(super) fn after(last: i64) -> Self {
        Self {
            committed: Arc::new(AtomicI64::new(last)),
            told: Arc::new(AtomicI64::new(last)),
        }
    }

    /// Everything up to this place is committed, whichever node did it.
    pub(super) fn reach(&self, place: i64) {
        self.committed.fetch_max(place, Ordering::AcqRel);
    }

    /// Takes so many at most of the places that nobody was told of; how many they were. For one caller
    /// at a time.
    pub(super) fn tell(&self, limit: u16) -> u64 {
        let told = self.told.load(Ordering::Acquire);
        let count = (self.committed.load(Ordering::Acquire) - told).min(i64::from(limit));
        self.told.store(told + count, Ordering::Release);
        u64::try_from(count).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_told_once_however_often_it_is_reached() {
        let places = Places::after(7);
        assert_eq!(places.tell(10), 0);
        places.reach(9);
        places.reach(12);
        places.reach(9);
        assert_eq!(places.tell(3), 3);
        places.reach(12);
        assert_eq!(places.tell(3), 2);
        assert_eq!(places.tell(3), 0);
    }
}
