//! Readers of the feed who wait at one node, events that are published at another: each node says where
//! somebody waits, for some seconds at a time, and is told when there is something new. What is lost
//! costs time only: the events themselves are read from the store.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::time::{Duration, sleep};

use super::shared::Shared;
use super::wire::{self, News};
use crate::actors::ownership::machine_ms;
use crate::store::cluster::BootId;

/// How long others tell of news without being asked again.
const FOR: Duration = Duration::from_secs(10);
/// How often they are asked again.
const AGAIN: Duration = Duration::from_secs(3);
/// Who only looks in is gone by then.
const LOOKING_IN: Duration = Duration::from_millis(5);
/// News are told no more often than this.
const GATHER: Duration = Duration::from_millis(10);
/// A peer may not ask for more.
const LONGEST: Duration = Duration::from_mins(1);
/// Nodes, those that are gone among them until their time is over.
const MAX_LISTENERS: usize = 4096;

/// The other nodes where somebody waits, and until when by the machine's clock.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    until: DashMap<BootId, u64>,
}

impl Listeners {
    /// Whether it is a new one.
    fn note(&self, boot: BootId, for_ms: u64) -> bool {
        if self.until.len() >= MAX_LISTENERS && !self.until.contains_key(&boot) {
            return false;
        }
        let now = machine_ms();
        let longest = u64::try_from(LONGEST.as_millis()).unwrap_or(u64::MAX);
        let until = now.saturating_add(for_ms.min(longest));
        let before = self.until.insert(boot, until);
        before.is_none_or(|before| before <= now)
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
                for_ms: FOR.as_millis().try_into().unwrap_or(u64::MAX),
            });
        }
    }

    /// At another node somebody waits from now on.
    pub(super) fn listened_to_from(&self, from: BootId, for_ms: u64) {
        if self.listeners.note(from, for_ms) {
            // What was published just before.
            self.tell(from, &News::Published);
        }
    }

    fn tell_published(&self) {
        let Some(links) = self.links() else { return };
        self.listeners.forget_gone();
        for link in links.all() {
            // An older node does not say whether somebody waits there.
            if self.listeners.has(link.boot()) || self.wire_of(link.boot()) < wire::LISTENS_SINCE {
                self.tell(link.boot(), &News::Published);
                metrics::counter!("faktor_cluster_feed_news_total").increment(1);
            }
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
            sleep(AGAIN).await;
        }
    }
}

/// Tells the others where somebody waits that there is something new.
pub(super) async fn keep_telling(shared: Arc<Shared>) {
    let mut published = shared.outbox.watch_own();
    while published.changed().await.is_ok() {
        shared.tell_published();
        sleep(GATHER).await;
    }
}
