//! The invoices that live in memory: who they are, what they look like, how much waits for them.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use dashmap::DashMap;
use ractor::ActorRef;
use tokio::sync::watch;

use super::invoice::InvoiceMessage;
use super::outcome::Represent;
use crate::domain::ids::InvoiceId;
use crate::domain::invoice::Invoice;
use crate::store::{Epoch, ShardId};

/// An invoice as it is now, with the bytes of its representation kept once they were made.
#[derive(Debug)]
pub struct Published {
    pub invoice: Arc<Invoice>,
    /// Kept from the second read on. What is read once is not worth its memory.
    representation: OnceLock<Bytes>,
    was_read: AtomicBool,
}

impl Published {
    pub fn new(invoice: Arc<Invoice>) -> Self {
        Self {
            invoice,
            representation: OnceLock::new(),
            was_read: AtomicBool::new(false),
        }
    }

    /// The JSON body of `GET /v1/invoices/{id}`.
    pub(super) fn represented(&self, represent: &Represent) -> Result<Bytes, String> {
        if let Some(bytes) = self.representation.get() {
            return Ok(bytes.clone());
        }
        let bytes = represent(&self.invoice)?;
        if !self.was_read.swap(true, Ordering::Relaxed) {
            return Ok(bytes);
        }
        Ok(self.representation.get_or_init(|| bytes).clone())
    }
}

/// One live invoice as the outside of its actor sees it.
#[derive(Debug)]
pub(super) struct Live {
    /// Under which it was activated: this incarnation is none any more when the shard's is another.
    pub(super) epoch: Epoch,
    actor: OnceLock<ActorRef<InvoiceMessage>>,
    published: ArcSwapOption<Published>,
    waiting: AtomicUsize,
    /// Milliseconds since the epoch.
    used_at_ms: AtomicI64,
}

impl Live {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            actor: OnceLock::new(),
            published: ArcSwapOption::empty(),
            waiting: AtomicUsize::new(0),
            used_at_ms: AtomicI64::new(0),
        }
    }

    pub(super) fn actor(&self) -> Option<&ActorRef<InvoiceMessage>> {
        self.actor.get()
    }

    pub(super) fn set_actor(&self, actor: ActorRef<InvoiceMessage>) {
        // Set once, by the shard that made both.
        let _ = self.actor.set(actor);
    }

    pub(super) fn published(&self) -> Option<Arc<Published>> {
        self.published.load_full()
    }

    pub(super) fn publish(&self, invoice: Option<Arc<Invoice>>) {
        self.published
            .store(invoice.map(|invoice| Arc::new(Published::new(invoice))));
    }

    pub(super) fn touch(&self, now_ms: i64) {
        self.used_at_ms.store(now_ms, Ordering::Relaxed);
    }

    pub(super) fn used_at_ms(&self) -> i64 {
        self.used_at_ms.load(Ordering::Relaxed)
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// The bounds of [`LiveInvoices`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) live: usize,
    pub(super) waiting_per_invoice: usize,
    pub(super) waiting: usize,
}

/// All live invoices of this node.
#[derive(Debug)]
pub(super) struct LiveInvoices {
    invoices: DashMap<InvoiceId, Arc<Live>>,
    watchers: DashMap<InvoiceId, watch::Sender<u64>>,
    waiting: AtomicUsize,
    /// Invoices that came to life since somebody last looked for ones to retire.
    since_retiring: AtomicUsize,
    pub(super) bounds: Bounds,
}

/// Too much is waiting already.
#[derive(Debug)]
pub(super) struct TooMuchWaiting;

/// A command's place in the queue; gives it back when dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    all: &'a AtomicUsize,
    live: Arc<Live>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
        self.live.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LiveInvoices {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            invoices: DashMap::new(),
            watchers: DashMap::new(),
            waiting: AtomicUsize::new(0),
            since_retiring: AtomicUsize::new(0),
            bounds,
        }
    }

    /// Called for each invoice that came to life: whether there are too many now. Looking goes
    /// through all of them, so it is asked for once in a twentieth of the bound.
    pub(super) fn wants_retiring(&self) -> bool {
        let since = self.since_retiring.fetch_add(1, Ordering::Relaxed);
        let due = since >= self.bounds.live / 20 && self.invoices.len() > self.bounds.live;
        if due {
            self.since_retiring.store(0, Ordering::Relaxed);
        }
        due
    }

    pub(super) fn get(&self, id: InvoiceId) -> Option<Arc<Live>> {
        self.invoices.get(&id).map(|live| Arc::clone(&live))
    }

    pub(super) fn insert(&self, id: InvoiceId, live: Arc<Live>) {
        self.invoices.insert(id, live);
    }

    /// Forgets this incarnation, not one that has taken its place.
    pub(super) fn remove(&self, id: InvoiceId, live: &Arc<Live>) {
        self.invoices
            .remove_if(&id, |_, present| Arc::ptr_eq(present, live));
    }

    /// Forgets an incarnation and ends its actor, after the command that it is at.
    pub(super) fn dismiss(&self, id: InvoiceId, live: &Arc<Live>) {
        self.remove(id, live);
        if let Some(actor) = live.actor() {
            actor.stop(None);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.invoices.len()
    }

    /// Commands waiting for any invoice.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Takes a place in an invoice's queue, unless it or all of them are full.
    pub(super) fn enter(&self, live: &Arc<Live>) -> Result<Place<'_>, TooMuchWaiting> {
        let all = self.waiting.fetch_add(1, Ordering::Relaxed);
        let own = live.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place {
            all: &self.waiting,
            live: Arc::clone(live),
        };
        if all >= self.bounds.waiting || own >= self.bounds.waiting_per_invoice {
            return Err(TooMuchWaiting);
        }
        Ok(place)
    }

    /// The invoices not used since `before_ms`, and beyond that the least recently used ones above
    /// the bound (with a tenth of slack, so that not every activation has to look).
    pub(super) fn retirable(&self, before_ms: i64) -> Vec<Arc<Live>> {
        let mut all: Vec<_> = self
            .invoices
            .iter()
            .map(|live| (live.used_at_ms(), Arc::clone(&live)))
            .collect();
        let idle = all
            .iter()
            .filter(|(used_at, _)| *used_at < before_ms)
            .count();
        let above = if all.len() > self.bounds.live {
            all.len() - self.bounds.live + self.bounds.live / 10
        } else {
            0
        };
        let count = idle.max(above).min(all.len());
        if count == 0 {
            return Vec::new();
        }
        all.sort_unstable_by_key(|(used_at, _)| *used_at);
        all.truncate(count);
        all.into_iter().map(|(_, live)| live).collect()
    }

    /// The live invoices of these shards.
    pub(super) fn of_shards(
        &self,
        wanted: impl Fn(ShardId) -> bool,
    ) -> Vec<(InvoiceId, Arc<Live>)> {
        self.invoices
            .iter()
            .filter(|live| wanted(ShardId::of(*live.key())))
            .map(|live| (*live.key(), Arc::clone(&live)))
            .collect()
    }

    /// The invoices that somebody watches.
    pub(super) fn watched_ids(&self) -> Vec<InvoiceId> {
        self.watchers
            .iter()
            .filter(|watcher| watcher.receiver_count() > 0)
            .map(|watcher| *watcher.key())
            .collect()
    }

    /// Tells watchers of a new version; costs a look-up when there are none.
    pub(super) fn notify(&self, id: InvoiceId, version: u64) {
        if self.watchers.is_empty() {
            return;
        }
        let gone = self.watchers.get(&id).is_some_and(|watcher| {
            watcher.send_replace(version);
            watcher.receiver_count() == 0
        });
        if gone {
            self.watchers
                .remove_if(&id, |_, watcher| watcher.receiver_count() == 0);
        }
    }

    pub(super) fn watch(&self, id: InvoiceId) -> watch::Receiver<u64> {
        if self.watchers.len() > self.bounds.live {
            self.watchers
                .retain(|_, watcher| watcher.receiver_count() > 0);
        }
        self.watchers
            .entry(id)
            .or_insert_with(|| watch::channel(0).0)
            .subscribe()
    }

    /// How many invoices are being watched.
    pub(super) fn watched(&self) -> usize {
        self.watchers.len()
    }
}
