//! Public events on their way out: one actor tells of what was committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{Notify, watch};
use tokio::time::Duration;

use super::slot::Slot;
use crate::store::FeedStore;

/// Events told of at a time.
const BATCH: u16 = 500;
/// How long the outbox lets events gather, so that a burst wakes its readers once.
const GATHER: Duration = Duration::from_millis(10);
/// When to look again after the store failed, or in case a nudge was lost in a crash.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

pub(super) enum OutboxMessage {
    Publish,
}

impl ractor::Message for OutboxMessage {}

/// Tells of events that reached the feed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OutboxHandle {
    slot: Slot<OutboxMessage>,
    /// A `Publish` is on its way already.
    nudged: Arc<AtomicBool>,
    published: watch::Sender<u64>,
    listened_to: Arc<Notify>,
    /// Of these, what this node published itself.
    own: watch::Sender<u64>,
    total: Arc<AtomicU64>,
}

impl OutboxHandle {
    pub(super) fn new() -> Self {
        Self {
            slot: Slot::default(),
            nudged: Arc::default(),
            published: watch::channel(0).0,
            listened_to: Arc::default(),
            own: watch::channel(0).0,
            total: Arc::default(),
        }
    }

    /// Changes whenever events were published, of any organization.
    pub fn watch(&self) -> watch::Receiver<u64> {
        let listener = self.published.subscribe();
        self.listened_to.notify_one();
        listener
    }

    /// Whether somebody watches.
    pub fn is_listened_to(&self) -> bool {
        self.published.receiver_count() > 0
    }

    /// Ends when somebody begins to watch, or has begun to since it ended last.
    pub async fn listened_to(&self) {
        self.listened_to.notified().await;
    }

    /// Changes whenever this node published events: what the other nodes have to be told.
    pub fn watch_own(&self) -> watch::Receiver<u64> {
        self.own.subscribe()
    }

    /// Another node published events.
    pub fn heard(&self) {
        self.published.send_modify(|count| *count += 1);
    }

    /// Says that there are events to publish.
    pub(super) fn nudge(&self) {
        if !self.nudged.swap(true, Ordering::AcqRel) {
            // While it is being restarted it looks by itself.
            let _ = self.slot.send(OutboxMessage::Publish);
        }
    }

    /// Events published since the start.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

pub(super) struct Outbox {
    pub(super) store: Arc<dyn FeedStore>,
    pub(super) handle: OutboxHandle,
}

impl Actor for Outbox {
    type Msg = OutboxMessage;
    type State = ();
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<OutboxMessage>,
        (): (),
    ) -> Result<(), ActorProcessingErr> {
        self.handle.slot.set(myself.clone());
        myself.send_interval(LOOK_AGAIN, || OutboxMessage::Publish);
        myself.send_message(OutboxMessage::Publish)?;
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<OutboxMessage>,
        message: OutboxMessage,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match message {
            OutboxMessage::Publish => self.publish().await,
        }
        Ok(())
    }
}

impl Outbox {
    async fn publish(&self) {
        tokio::time::sleep(GATHER).await;
        // From here on a new event needs a new nudge.
        self.handle.nudged.store(false, Ordering::Release);
        loop {
            match self.store.publish(BATCH).await {
                Ok(0) => return,
                Ok(count) => {
                    self.tell(count);
                    // What was committed meanwhile has nudged, and gathers.
                    if count < u64::from(BATCH) {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "events could not be published; tried again in 2 s");
                    return;
                }
            }
        }
    }

    fn tell(&self, count: u64) {
        metrics::counter!("faktor_outbox_published_total").increment(count);
        let total = self.handle.total.fetch_add(count, Ordering::Relaxed) + count;
        self.handle.own.send_replace(total);
        self.handle.heard();
    }
}
