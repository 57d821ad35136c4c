//! A place for an actor that its supervisor may replace.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use ractor::{ActorRef, ActorStatus, Message};

/// Holds the present incarnation of an actor. Clones share it.
pub(super) struct Slot<M> {
    actor: Arc<ArcSwapOption<ActorRef<M>>>,
}

impl<M> Clone for Slot<M> {
    fn clone(&self) -> Self {
        Self {
            actor: Arc::clone(&self.actor),
        }
    }
}

impl<M> Default for Slot<M> {
    fn default() -> Self {
        Self {
            actor: Arc::new(ArcSwapOption::empty()),
        }
    }
}

impl<M> fmt::Debug for Slot<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

/// The actor is being restarted; the message comes back.
#[derive(Debug)]
pub(super) struct NotRunning;

impl<M: Message> Slot<M> {
    /// Puts a new incarnation in.
    pub(super) fn set(&self, actor: ActorRef<M>) {
        self.actor.store(Some(Arc::new(actor)));
    }

    /// Sends to the present incarnation.
    pub(super) fn send(&self, message: M) -> Result<(), NotRunning> {
        match self.actor.load().as_deref() {
            Some(actor) => actor.send_message(message).map_err(|_| NotRunning),
            None => Err(NotRunning),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.actor.load().as_deref().is_some_and(|actor| {
            matches!(
                actor.get_status(),
                ActorStatus::Starting | ActorStatus::Running
            )
        })
    }
}
