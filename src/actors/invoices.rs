//! All invoices of a node: the handle everybody talks to.

use std::collections::HashSet;
use std::fmt;
use std::iter;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::time::Duration;

pub use super::live::Published;
pub use super::outcome::{Elsewhere, ExecuteError, Executed, Represent, Representation};

use super::effects::EffectRunner;
use super::invoice::{Call, InvoiceMessage, internal};
use super::live::{Bounds, Live, LiveInvoices};
use super::outbox::OutboxHandle;
use super::ownership::Ownership;
use super::shard::ShardMessage;
use super::slot::Slot;
use crate::clock::{self, Clock};
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::Invoice;
use crate::domain::invoice::command::{Command, Request};
use crate::domain::invoice::decide::Refusal;
use crate::domain::invoice::effect::PendingEffect;
use crate::domain::invoice::evolve::replay;
use crate::store::{InvoiceStore, SHARDS, SeriesStore, ShardId, StoreError, Stores};

mod routing;
mod supervisor;

pub(super) use supervisor::Invoices;

/// How often a message is sent again to an actor that died before it began.
const DELIVERIES: u32 = 20;
/// Ids looked at for one that this node owns.
const NEW_IDS: usize = 230;
/// How long to wait for a shard that is being restarted, and between two looks.
const SHARD_WAIT: Duration = Duration::from_millis(20);

/// What a node has still to finish of some shards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnderWay {
    pub commands: usize,
    pub effects: usize,
}

/// What the invoices of a node share.
pub(super) struct Node {
    pub(super) store: Arc<dyn InvoiceStore>,
    pub(super) series: Arc<dyn SeriesStore>,
    pub(super) clock: Clock,
    pub(super) ownership: Ownership,
    pub(super) live: LiveInvoices,
    pub(super) outbox: OutboxHandle,
    represent: Arc<Represent>,
    effects: OnceLock<EffectRunner>,
    elsewhere: OnceLock<Arc<dyn Elsewhere>>,
    shards: Vec<Slot<ShardMessage>>,
    shard_restarts: AtomicU64,
    /// The actors are about to be stopped, whatever they are at.
    is_stopping: AtomicBool,
    idle_after_ms: i64,
}

impl Node {
    pub(super) fn start_effects(&self, invoice: &Arc<Invoice>) {
        if let Some(effects) = self.effects.get() {
            effects.start(invoice);
        }
    }

    pub(super) fn effects_running(&self, invoice: &Invoice) -> bool {
        self.effects
            .get()
            .is_some_and(|effects| effects.is_running(invoice))
    }

    /// The command that notes that no number could be allocated, with the time of the next attempt.
    /// None before the effects are there: then the effect stays due.
    pub(super) fn unnumbered(&self, effect: &PendingEffect, error: &StoreError) -> Option<Command> {
        let effects = self.effects.get()?;
        Some(effects.unnumbered(effect, error))
    }
}

/// Talks to invoices. Cheap to clone.
#[derive(Clone)]
pub struct InvoicesHandle {
    node: Arc<Node>,
}

impl fmt::Debug for InvoicesHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InvoicesHandle")
    }
}

/// Does not keep the node alive: for what the node itself holds.
#[derive(Clone)]
pub struct WeakInvoices {
    node: Weak<Node>,
}

impl WeakInvoices {
    pub fn upgrade(&self) -> Option<InvoicesHandle> {
        self.node.upgrade().map(|node| InvoicesHandle { node })
    }
}

impl InvoicesHandle {
    pub fn downgrade(&self) -> WeakInvoices {
        WeakInvoices {
            node: Arc::downgrade(&self.node),
        }
    }

    /// A handle whose shards are still to be started by [`Invoices`].
    pub(super) fn new(
        stores: &Stores,
        clock: Clock,
        outbox: OutboxHandle,
        config: &crate::config::Actors,
        ownership: Ownership,
        represent: Arc<Represent>,
    ) -> Self {
        let bounds = Bounds {
            live: config.max_live_invoices,
            waiting_per_invoice: config.max_waiting_per_invoice,
            waiting: config.max_waiting,
        };
        let node = Node {
            store: Arc::clone(&stores.invoices),
            series: Arc::clone(&stores.series),
            clock,
            ownership,
            live: LiveInvoices::new(bounds),
            outbox,
            represent,
            effects: OnceLock::new(),
            elsewhere: OnceLock::new(),
            shards: (0..SHARDS).map(|_| Slot::default()).collect(),
            shard_restarts: AtomicU64::new(0),
            is_stopping: AtomicBool::new(false),
            idle_after_ms: i64::try_from(config.idle_after_s.saturating_mul(1_000))
                .unwrap_or(i64::MAX),
        };
        Self {
            node: Arc::new(node),
        }
    }

    /// From now on nothing is carried out here: who is still waiting hears that it may have been, who
    /// comes that another node has to.
    pub(super) fn begin_stop(&self) {
        self.node.is_stopping.store(true, Ordering::Release);
    }

    fn is_stopping(&self) -> bool {
        self.node.is_stopping.load(Ordering::Acquire)
    }

    /// Gives the invoices the runner of their effects; it talks back to them.
    pub(super) fn set_effects(&self, effects: EffectRunner) {
        // Set once, while the node is put together.
        let _ = self.node.effects.set(effects);
    }

    /// Gives the invoices the way to other nodes; without one, this node has to own them all.
    pub fn set_elsewhere(&self, elsewhere: Arc<dyn Elsewhere>) {
        // Set once, while the node is put together.
        let _ = self.node.elsewhere.set(elsewhere);
    }

    /// Which shards this node owns.
    pub fn ownership(&self) -> &Ownership {
        &self.node.ownership
    }

    /// An id for a new invoice: if possible, of a shard that this node owns.
    pub fn new_id(&self) -> InvoiceId {
        let new = || InvoiceId::new(clock::new_uuid());
        let owned = |id: &InvoiceId| self.node.ownership.serves(ShardId::of(*id)).is_ok();
        // A node that owns one shard in a hundred finds one of its own in nine of ten cases.
        iter::repeat_with(new)
            .take(NEW_IDS)
            .find(owned)
            .unwrap_or_else(new)
    }

    /// The invoice now, if this node owns it.
    pub async fn get_here(&self, id: InvoiceId) -> Result<Arc<Published>, ExecuteError> {
        for _ in 0..DELIVERIES {
            if self.is_stopping() {
                return Err(ExecuteError::NotOwner);
            }
            let live = self.live(id).await?;
            live.touch(self.node.clock.now().as_millisecond());
            if let Some(published) = live.published() {
                return Ok(published);
            }
            let _place = self
                .node
                .live
                .enter(&live)
                .map_err(|_| ExecuteError::Busy)?;
            let (reply, answer) = oneshot::channel();
            if send(&live, InvoiceMessage::Get { reply })
                && let Ok(result) = answer.await
            {
                return result;
            }
            self.node.live.remove(id, &live);
        }
        Err(ExecuteError::Crashed)
    }

    /// The invoice as it was at a moment, replayed from its history.
    pub async fn as_of(
        &self,
        organization: OrganizationId,
        id: InvoiceId,
        at: Timestamp,
    ) -> Result<Arc<Invoice>, ExecuteError> {
        let history = self
            .node
            .history_until(id, |recorded| recorded.at <= at)
            .await?;
        replay(&history)
            .filter(|invoice| invoice.organization == organization)
            .map(Arc::new)
            .ok_or_else(|| Refusal::NotFound.into())
    }

    /// Tells of every new version from now on. A receiver may see several at once: read what lies
    /// between from the store.
    pub fn watch(&self, id: InvoiceId) -> watch::Receiver<u64> {
        let receiver = self.node.live.watch(id);
        if let Some(elsewhere) = self.node.elsewhere.get() {
            elsewhere.watch(id);
        }
        receiver
    }

    /// As [`watch`](Self::watch), but only what is written here.
    pub fn watch_here(&self, id: InvoiceId) -> watch::Receiver<u64> {
        self.node.live.watch(id)
    }

    /// The invoices that somebody watches at this node.
    pub fn watched_ids(&self) -> Vec<InvoiceId> {
        self.node.live.watched_ids()
    }

    /// Tells those who watch at this node of a version that was written elsewhere.
    pub fn notify(&self, id: InvoiceId, version: u64) {
        self.node.live.notify(id, version);
    }

    /// The version of an invoice that lives here.
    pub fn live_version(&self, id: InvoiceId) -> Option<u64> {
        let published = self.node.live.get(id)?.published()?;
        Some(published.invoice.version)
    }

    /// What of these shards is still under way here: commands that wait, and effects.
    pub fn under_way(&self, shards: &[ShardId]) -> UnderWay {
        let mut under_way = UnderWay::default();
        let wanted: HashSet<ShardId> = shards.iter().copied().collect();
        for (_, live) in self.node.live.of_shards(|shard| wanted.contains(&shard)) {
            under_way.commands += live.waiting();
            let running = live
                .published()
                .is_some_and(|published| self.node.effects_running(&published.invoice));
            under_way.effects += usize::from(running);
        }
        under_way
    }

    /// Lets all invoices of these shards leave memory, whatever they are at: the node does not own
    /// them any more.
    pub fn dismiss(&self, shards: &[ShardId]) -> usize {
        let wanted: HashSet<ShardId> = shards.iter().copied().collect();
        self.dismiss_those(|shard| wanted.contains(&shard))
    }

    /// Lets all invoices leave memory.
    pub fn dismiss_all(&self) -> usize {
        self.dismiss_those(|_| true)
    }

    fn dismiss_those(&self, wanted: impl Fn(ShardId) -> bool) -> usize {
        let gone = self.node.live.of_shards(wanted);
        for (id, live) in &gone {
            self.node.live.dismiss(*id, live);
        }
        gone.len()
    }

    /// Lets an invoice look at the clock and at what is pending.
    pub(super) async fn wake(&self, id: InvoiceId) -> Result<(), ExecuteError> {
        let live = self.live(id).await?;
        if !send(&live, InvoiceMessage::Wake) {
            self.node.live.remove(id, &live);
        }
        Ok(())
    }

    /// Lets idle invoices, and those above the bound, leave memory.
    pub(super) fn retire_idle(&self) {
        let now_ms = self.node.clock.now().as_millisecond();
        for live in self.node.live.retirable(now_ms - self.node.idle_after_ms) {
            send(&live, InvoiceMessage::Retire);
        }
    }

    /// Effects under way.
    pub fn effects_running(&self) -> u64 {
        self.node.effects.get().map_or(0, EffectRunner::running)
    }

    /// Invoices in memory.
    pub fn live_count(&self) -> u64 {
        self.node.live.len() as u64
    }

    /// The live invoice's actor.
    #[cfg(test)]
    pub(super) fn actor_of(&self, id: InvoiceId) -> Option<ractor::ActorCell> {
        let live = self.node.live.get(id)?;
        live.actor().map(ractor::ActorRef::get_cell)
    }

    /// Commands waiting.
    pub fn waiting(&self) -> u64 {
        self.node.live.waiting() as u64
    }

    /// Event streams and waiting payers.
    pub fn watched(&self) -> u64 {
        self.node.live.watched() as u64
    }

    /// Shards running.
    pub(super) fn shards_running(&self) -> u64 {
        self.node
            .shards
            .iter()
            .filter(|shard| shard.is_running())
            .count() as u64
    }

    pub(super) fn shard_restarts(&self) -> u64 {
        self.node.shard_restarts.load(Ordering::Relaxed)
    }

    /// Carries out a command, if this node owns the invoice. `None`: whoever it belongs to.
    pub async fn execute_here(
        &self,
        id: InvoiceId,
        organization: Option<OrganizationId>,
        request: Request,
    ) -> Result<Executed, ExecuteError> {
        let call = Arc::new(Call {
            request,
            organization,
            started: AtomicBool::new(false),
            span: tracing::Span::current(),
        });
        let mut begun = 0;
        for _ in 0..DELIVERIES {
            if self.is_stopping() {
                // What was begun may be committed all the same.
                return Err(match begun {
                    0 => ExecuteError::NotOwner,
                    _ => ExecuteError::Unreachable,
                });
            }
            let live = self.live(id).await?;
            live.touch(self.node.clock.now().as_millisecond());
            let _place = self
                .node
                .live
                .enter(&live)
                .map_err(|_| ExecuteError::Busy)?;
            let (reply, answer) = oneshot::channel();
            if send(
                &live,
                InvoiceMessage::Execute {
                    call: Arc::clone(&call),
                    reply,
                },
            ) && let Ok(result) = answer.await
            {
                return result;
            }
            // The actor is gone. A command it had begun is asked for once more (its key tells a
            // repeat); one that was only waiting was never seen.
            self.node.live.remove(id, &live);
            if call.started.swap(false, Ordering::AcqRel) {
                begun += 1;
                let is_last = begun == 2 || call.request.key.is_none();
                if is_last && !self.is_stopping() {
                    return Err(ExecuteError::Crashed);
                }
            }
        }
        Err(ExecuteError::Crashed)
    }

    /// The live invoice: from the map, else from its shard.
    async fn live(&self, id: InvoiceId) -> Result<Arc<Live>, ExecuteError> {
        let shard = ShardId::of(id);
        let owned = self.node.ownership.serves(shard);
        let epoch = owned.map_err(|_| ExecuteError::NotOwner)?;
        if let Some(live) = self.node.live.get(id)
            && live.epoch == epoch
        {
            return Ok(live);
        }
        let shard = &self.node.shards[usize::from(shard.0)];
        for _ in 0..DELIVERIES {
            let (reply, answer) = oneshot::channel();
            if shard
                .send(ShardMessage::Activate { id, epoch, reply })
                .is_ok()
                && let Ok(live) = answer.await
            {
                if self.node.live.wants_retiring() {
                    self.retire_idle();
                }
                return Ok(live);
            }
            tokio::time::sleep(SHARD_WAIT).await;
        }
        Err(ExecuteError::Busy)
    }
}

fn send(live: &Live, message: InvoiceMessage) -> bool {
    live.actor()
        .is_some_and(|actor| actor.send_message(message).is_ok())
}
