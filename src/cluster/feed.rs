//! Readers of the feed who wait at one node, events that are published at another: each node says where
//! somebody waits, for some seconds at a time, and is told when there is something new. What is lost
//! costs time only: the events themselves are read from the store.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::Notify;
use tokio::time::{Duration, sleep};

use super::hearing;
use super::links::Link;
use super::shared::Shared;
use super::wire::{self, News};
use crate::actors::ownership::machine_ms;
use crate::store::cluster::BootId;

/// Who only looks in is gone by then.
const LOOKING_IN: Duration = Duration::from_millis(5);
/// News are told no more often than this.
const GATHER: Duration = Duration::from_millis(10);
/// Nodes, those that are gone among them until their time is over.
const MAX_LISTENERS: usize = 4096;

/// The other nodes where somebody waits, and until when by the machine's clock.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    until: DashMap<BootId, u64>,
    /// Somebody may be told from now on who was not before.
    came: Notify,
}

impl Listeners {
    /// Whether it is a new one.
    fn note(&self, boot: BootId, for_ms: u64) -> bool {
        if self.until.len() >= MAX_LISTENERS && !self.until.contains_key(&boot) {
            return false;
        }
        let before = self.until.insert(boot, hearing::until(for_ms));
        before.is_none_or(|before| before <= machine_ms())
    }

    fn has(&self, boot: BootId) -> bool {
        let until = self.until.get(&boot).map(|until| *until);
        until.is_some_and(|until| until > machine_ms())
    }

    fn forget_gone(&self) {
        let now = machine_ms();
        self.until.retain(|_, until| *until > now);
    }
}

impl Shared {
    /// Asks all other nodes to tell of news, if somebody waits for them here.
    pub(super) fn listen_elsewhere(&self) {
        if self.outbox.is_listened_to() {
            self.broadcast(&News::Listen {
                from: self.me(),
                for_ms: hearing::FOR_MS,
            });
        }
    }

    /// At another node somebody waits from now on.
    pub(super) fn listened_to_from(&self, from: BootId, for_ms: u64) {
        if self.listeners.note(from, for_ms) {
            self.listeners.came.notify_one();
            // What was published just before.
            self.tell(from, &News::Published);
        }
    }

    /// There is a link to another node.
    pub(super) fn linked_for_news(&self) {
        self.listeners.came.notify_one();
    }

    fn listening(&self) -> Vec<Link> {
        let Some(links) = self.links() else {
            return Vec::new();
        };
        self.listeners.forget_gone();
        let mut all = links.all();
        // An older node does not say whether somebody waits there.
        all.retain(|link| {
            self.listeners.has(link.boot()) || self.wire_of(link.boot()) < wire::LISTENS_SINCE
        });
        all
    }

    fn tell_published(&self) {
        for link in self.listening() {
            self.tell(link.boot(), &News::Published);
            metrics::counter!("faktor_cluster_feed_news_total").increment(1);
        }
    }
}

/// Asks again and again, as long as somebody waits here.
pub(super) async fn keep_listening(shared: Arc<Shared>) {
    loop {
        shared.outbox.listened_to().await;
        sleep(LOOKING_IN).await;
        while shared.outbox.is_listened_to() {
            shared.listen_elsewhere();
            sleep(hearing::AGAIN).await;
        }
    }
}

/// Tells the others where somebody waits that there is something new. While nobody does it sleeps
/// through all that is published.
pub(super) async fn keep_telling(shared: Arc<Shared>) {
    let mut published = shared.outbox.watch_own();
    loop {
        while shared.listening().is_empty() {
            shared.listeners.came.notified().await;
        }
        if published.changed().await.is_err() {
            return;
        }
        shared.tell_published();
        sleep(GATHER).await;
    }
}
