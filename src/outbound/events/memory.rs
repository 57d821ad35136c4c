//! Events kept in memory, for tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Unpublished;
use crate::domain::invoice::event::PublicEvent;

/// Records every event it takes, and fails when told to. Clones share what was published.
#[derive(Debug, Clone, Default)]
pub struct MemoryEvents {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    published: Vec<PublicEvent>,
    failures: VecDeque<Unpublished>,
}

impl MemoryEvents {
    /// Every event taken so far, in order; a repeated one stands there as often as it was taken.
    pub fn published(&self) -> Vec<PublicEvent> {
        self.lock().published.clone()
    }

    /// The next batch fails after so many of its events were taken; further calls, further batches.
    pub fn fail_next(&self, failure: Unpublished) {
        self.lock().failures.push_back(failure);
    }

    pub(super) fn publish(&self, events: &[&PublicEvent]) -> Result<(), Unpublished> {
        let mut state = self.lock();
        let failure = state.failures.pop_front();
        let taken = failure
            .as_ref()
            .map_or(events.len(), |failure| failure.taken.min(events.len()));
        let events = events.iter().take(taken).map(|event| (*event).clone());
        state.published.extend(events);
        failure.map_or(Ok(()), |failure| Err(Unpublished { taken, ..failure }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
