//! What the parts of a node's membership share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use tokio::time::Duration;

use super::feed::Listeners;
use super::links::{Link, Links};
use super::owners::Owners;
use super::session::Session;
use super::watching::Watching;
use super::wire::{self, Held, Hint, News};
use crate::actors::invoices::{InvoicesHandle, WeakInvoices};
use crate::actors::outbox::OutboxHandle;
use crate::actors::ownership::{Ownership, machine_ms};
use crate::domain::ids::InvoiceId;
use crate::store::cache::SharedCache;
use crate::store::cluster::{BootId, ClusterStore, ClusterView};
use crate::store::{Epoch, ShardId};

pub(super) struct Shared {
    pub(super) store: Arc<dyn ClusterStore>,
    pub(super) ownership: Ownership,
    pub(super) owners: Owners,
    pub(super) watching: Watching,
    pub(super) listeners: Listeners,
    pub(super) outbox: OutboxHandle,
    pub(super) cache: SharedCache,
    invoices: WeakInvoices,
    session: ArcSwapOption<Session>,
    /// Changes whenever a shard is known to have moved.
    news: watch::Sender<u64>,
    /// The book as it was read last.
    view: watch::Sender<Arc<ClusterView>>,
    pub(super) look: Notify,
    /// In milliseconds of the machine's clock.
    renewed_at: AtomicU64,
    draining: AtomicBool,
    /// Who was asked last by way of another node.
    turn: AtomicUsize,
}

impl Shared {
    pub(super) fn new(
        store: Arc<dyn ClusterStore>,
        invoices: &InvoicesHandle,
        outbox: OutboxHandle,
        cache: SharedCache,
    ) -> Self {
        Self {
            store,
            ownership: invoices.ownership().clone(),
            owners: Owners::default(),
            watching: Watching::default(),
            listeners: Listeners::default(),
            outbox,
            cache,
            invoices: invoices.downgrade(),
            session: ArcSwapOption::empty(),
            news: watch::channel(0).0,
            view: watch::channel(Arc::default()).0,
            look: Notify::new(),
            renewed_at: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            turn: AtomicUsize::new(0),
        }
    }

    /// Who this node is now; nobody before it joined.
    pub(super) fn me(&self) -> BootId {
        self.session
            .load()
            .as_ref()
            .map_or(BootId::default(), |session| session.boot)
    }

    pub(super) fn begin_session(&self, session: Arc<Session>) {
        self.session.store(Some(session));
    }

    pub(super) fn session(&self) -> Option<Arc<Session>> {
        self.session.load_full()
    }

    pub(super) fn end_session(&self) -> Option<Arc<Session>> {
        self.session.swap(None)
    }

    pub(super) fn links(&self) -> Option<Links> {
        self.session
            .load()
            .as_ref()
            .map(|session| session.links.clone())
    }

    pub(super) fn link(&self, boot: BootId) -> Option<Link> {
        self.session.load().as_ref()?.links.link(boot)
    }

    /// A link to somebody who may have one to a node that this one has none to: another one each time.
    pub(super) fn link_by_way_of_another(&self) -> Option<Link> {
        let links = self.links()?.all();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let index = turn.checked_rem(links.len())?;
        links.into_iter().nth(index)
    }

    /// `None` while the process ends.
    pub(super) fn invoices(&self) -> Option<InvoicesHandle> {
        self.invoices.upgrade()
    }

    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Wakes everybody who waits for a shard's owner.
    pub(super) fn tell_moved(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    /// The book should be read soon: what is known of it led nowhere.
    pub(super) fn look_soon(&self) {
        self.look.notify_one();
    }

    /// Notes the owner of shards, and wakes those who wait for them.
    pub(super) fn note_owner(&self, boot: BootId, shards: &[(ShardId, Epoch)]) {
        let mut is_news = false;
        for (shard, epoch) in shards {
            is_news |= self.owners.note(*shard, boot, *epoch);
        }
        if is_news {
            self.tell_moved();
        }
    }

    pub(super) fn hint(&self, id: InvoiceId) -> Option<Hint> {
        let owner = self.owners.of(ShardId::of(id));
        let boot = owner.boot.filter(|boot| *boot != self.me())?;
        Some(Hint {
            owner: boot,
            epoch: owner.epoch.0,
        })
    }

    pub(super) fn set_view(&self, view: ClusterView) -> Arc<ClusterView> {
        let view = Arc::new(view);
        self.view.send_replace(Arc::clone(&view));
        view
    }

    pub(super) fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.view.borrow())
    }

    /// The newest version of the wire that a node speaks; of one that the book does not name yet, the
    /// oldest.
    pub(super) fn wire_of(&self, boot: BootId) -> u16 {
        let view = self.view.borrow();
        let record = view.nodes.iter().find(|record| record.node.boot == boot);
        record.map_or(wire::VERSIONS.0, |record| record.node.wire.1)
    }

    /// The lease was renewed by a request that began at `began`. The node itself counts on no more
    /// than four fifths of it.
    pub(super) fn renewed(&self, began: u64, ttl: Duration) {
        self.ownership.renewed(began, ttl * 4 / 5);
        self.renewed_at.store(began, Ordering::Relaxed);
    }

    pub(super) fn renewed_ms_ago(&self) -> u64 {
        machine_ms().saturating_sub(self.renewed_at.load(Ordering::Relaxed))
    }

    pub(super) fn set_draining(&self, draining: bool) -> bool {
        self.draining.swap(draining, Ordering::Relaxed)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Tells every other node.
    pub(super) fn broadcast(&self, news: &News) {
        let Some(links) = self.links() else { return };
        let Ok(payload) = wire::write(news) else {
            return;
        };
        for link in links.all() {
            // Who is not linked now reads the book when it is.
            let _ = link.cast(payload.clone());
        }
    }

    pub(super) fn tell(&self, to: BootId, news: &News) {
        if let (Some(link), Ok(payload)) = (self.link(to), wire::write(news)) {
            let _ = link.cast(payload);
        }
    }

    pub(super) fn broadcast_moved(&self, owner: BootId, shards: &[(ShardId, Epoch)]) {
        self.broadcast(&News::Moved {
            owner,
            shards: shards.iter().copied().map(Held::of).collect(),
        });
    }
}
