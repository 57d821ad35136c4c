//! The one task that keeps a node's membership: renews its lease, reads the book, and takes and hands
//! over shards as [`plan`](super::plan) says.

use std::sync::Arc;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::deaths::{bury_if_dead, bury_if_never_met};
use super::links::{DownReason, LinkEvent};
use super::plan::plan;
use super::session::{Identity, JoinError, Session};
use super::shared::Shared;
use super::wire::News;
use crate::store::cache::Revoked;
use crate::store::cluster::{ClusterView, Gone, NodeRecord, Renewed};
use crate::store::{Epoch, ShardId, StoreError};

/// A part of the lease after which it is renewed.
const RENEW_AFTER: u32 = 4;
/// Looks that others ask for come no closer together than this.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// The pause before joining is tried again.
const REJOIN_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Steward {
    pub(super) shared: Arc<Shared>,
    identity: Identity,
    pub(super) session: Arc<Session>,
    events: Receiver<LinkEvent>,
    pub(super) renew_at: Instant,
    /// When the first lease of another node runs out, unless it is renewed.
    expires_at: Option<Instant>,
    /// Whether the last renewal failed, so that it is said once.
    is_troubled: bool,
    /// Since when most other nodes are out of reach.
    isolated_since: Option<Instant>,
    /// Whether it gives away what it owns for that reason.
    has_withdrawn: bool,
}

/// What to do after a look.
pub(super) enum Next {
    Wait,
    /// There is more to do: at once.
    GoOn,
    /// This node is none any more.
    Rejoin,
}

impl Steward {
    /// Joins, and takes what nobody owns.
    pub(super) async fn join(
        shared: Arc<Shared>,
        mut identity: Identity,
    ) -> Result<Self, JoinError> {
        let session = Session::begin(&shared, &mut identity).await?;
        shared.begin_session(Arc::clone(&session));
        let mut steward = Self {
            events: session.links.events(),
            renew_at: Instant::now() + identity.ttl / RENEW_AFTER,
            expires_at: None,
            shared,
            identity,
            session,
            is_troubled: false,
            isolated_since: None,
            has_withdrawn: false,
        };
        tracing::info!(
            node.name = steward.session.name,
            node.boot = %steward.session.boot,
            "this node joined the cluster"
        );
        let view = steward.read().await?;
        steward.session.link_to(&view);
        steward
            .session
            .wait_for_links(&view, Duration::from_secs(2))
            .await;
        steward.look().await;
        steward.look_for_the_dead(&view);
        Ok(steward)
    }

    /// Goes on until the node leaves.
    pub(super) async fn run(mut self, leaving: CancellationToken) {
        let mut look_at = self.renew_at;
        loop {
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                () = leaving.cancelled() => return,
                () = sleep_until(look_at) => {}
                () = shared.look.notified() => sleep(LOOK_PAUSE).await,
                event = self.events.recv() => self.on_event(event).await,
            }
            loop {
                match self.look().await {
                    Next::Wait => break,
                    Next::GoOn => {}
                    Next::Rejoin => self.rejoin(&leaving).await,
                }
                if leaving.is_cancelled() {
                    return;
                }
            }
            look_at = self
                .expires_at
                .map_or(self.renew_at, |at| at.min(self.renew_at));
        }
    }

    /// Nodes that died before this one joined closed no link to it.
    fn look_for_the_dead(&self, view: &ClusterView) {
        // By then each that lives has read the book, and dialled.
        let patience = self.identity.ttl / RENEW_AFTER + Duration::from_secs(1);
        let others = view
            .nodes
            .iter()
            .filter(|record| record.is_live() && record.node.boot != self.session.boot);
        for NodeRecord { node, .. } in others {
            let (shared, address) = (Arc::clone(&self.shared), node.address.clone());
            tokio::spawn(bury_if_never_met(shared, node.boot, address, patience));
        }
    }

    async fn on_event(&mut self, event: Result<LinkEvent, RecvError>) {
        match event {
            Ok(LinkEvent::Up(_)) | Err(RecvError::Lagged(_)) => {
                // What was revoked meanwhile was not heard.
                self.shared.cache.heard(Revoked::Anything);
                self.shared.outbox.heard();
                self.shared.listen_elsewhere();
                self.shared.linked_for_news();
            }
            Ok(LinkEvent::Down {
                boot,
                address,
                reason,
            }) => {
                if reason != DownReason::Removed && !address.is_empty() {
                    tokio::spawn(bury_if_dead(Arc::clone(&self.shared), boot, address));
                }
            }
            Err(RecvError::Closed) => sleep(LOOK_PAUSE).await,
        }
    }

    async fn look(&mut self) -> Next {
        match self.renew().await {
            Ok(Renewed::Gone) => return Next::Rejoin,
            Ok(Renewed::Member { .. }) => {}
            Err(error) => {
                if !std::mem::replace(&mut self.is_troubled, true) {
                    tracing::warn!(%error, "the lease could not be renewed; tried again");
                }
                self.renew_at = Instant::now() + self.identity.ttl / (RENEW_AFTER * 4);
                return Next::Wait;
            }
        }
        match self.act().await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "the cluster's book could not be read or written; tried again");
                self.renew_at = self
                    .renew_at
                    .min(Instant::now() + self.identity.ttl / (RENEW_AFTER * 4));
                Next::Wait
            }
        }
    }

    /// Renews the lease if a part of it is over.
    async fn renew(&mut self) -> Result<Renewed, StoreError> {
        let draining = self.shared.is_draining();
        if Instant::now() < self.renew_at {
            return Ok(Renewed::Member { draining });
        }
        let began = self.shared.ownership.now();
        let links = u32::try_from(self.session.links.all().len()).unwrap_or(u32::MAX);
        let book = &self.shared.store;
        let renewed = book
            .renew(self.session.boot, self.identity.ttl, links)
            .await?;
        if let Renewed::Member { draining } = renewed {
            self.shared.renewed(began, self.identity.ttl);
            self.renew_at = Instant::now() + self.identity.ttl / RENEW_AFTER;
            if std::mem::replace(&mut self.is_troubled, false) {
                tracing::info!("the lease is renewed again");
            }
            if self.shared.set_draining(draining) != draining && !self.has_withdrawn {
                tracing::info!(draining, "an operator changed whether this node takes part");
            }
        }
        Ok(renewed)
    }

    async fn read(&self) -> Result<Arc<ClusterView>, StoreError> {
        let view = self.shared.store.view().await?;
        Ok(self.shared.set_view(view))
    }

    /// When to look whether another node's lease has run out.
    fn next_expiry(&self, view: &ClusterView) -> Option<Instant> {
        let others = view
            .nodes
            .iter()
            .filter(|record| record.is_live() && record.node.boot != self.session.boot);
        let left = others.map(|record| record.left).min()?;
        let left = Duration::try_from(left).unwrap_or_default();
        Some(Instant::now() + left + LOOK_PAUSE)
    }

    /// Reads the book and does what follows from it.
    async fn act(&mut self) -> Result<Next, StoreError> {
        let view = self.read().await?;
        self.expires_at = self.next_expiry(&view);
        let changes = self.session.tenure().learn(&view);
        self.lost(&changes.lost);
        self.granted(&changes.granted, "the book says so");
        self.session.link_to(&view);
        self.withdraw_if_isolated(&view).await?;
        let plan = {
            let tenure = self.session.tenure();
            // The book tells the new owners what nobody else can.
            let reachable = |boot| self.has_withdrawn || self.session.links.link(boot).is_some();
            plan(&view, &tenure, &reachable)
        };
        for (shard, owner) in (0..).map(ShardId).zip(&plan.owners) {
            if let Some(owner) = owner {
                self.shared.note_owner(owner.boot, &[(shard, owner.epoch)]);
            }
        }
        for record in view.nodes.iter().filter(|record| !record.is_live()) {
            self.shared.owners.forget(record.node.boot);
        }
        self.measure(&view);
        if !plan.bury.is_empty() {
            for boot in plan.bury {
                if self.shared.store.bury(boot, Gone::Expired).await? {
                    tracing::warn!(node.boot = %boot, "a node's lease ran out");
                    self.shared.broadcast(&News::Look);
                }
            }
            return Ok(Next::GoOn);
        }
        if !plan.take.is_empty() {
            let taken = self
                .shared
                .store
                .take(self.session.boot, &plan.take)
                .await?;
            {
                let mut tenure = self.session.tenure();
                for (shard, epoch) in &taken {
                    tenure.grant(*shard, *epoch);
                }
            }
            self.granted(&taken, "nobody owned it");
            self.shared.broadcast_moved(self.session.boot, &taken);
        }
        self.hand_over_some(&plan.hand_over).await
    }

    /// A node that most others can't reach has no use for its shards: after a while it drains, and takes
    /// part again when it is reached. Who is cut off from a few is reached by way of the others.
    async fn withdraw_if_isolated(&mut self, view: &ClusterView) -> Result<(), StoreError> {
        let me = self.session.boot;
        let others = view
            .nodes
            .iter()
            .filter(|record| record.is_live() && record.node.boot != me);
        let (mut all, mut linked) = (0, 0);
        for record in others {
            all += 1;
            linked += usize::from(self.session.links.link(record.node.boot).is_some());
        }
        if all < 2 || linked * 2 >= all {
            self.isolated_since = None;
            if std::mem::replace(&mut self.has_withdrawn, false) {
                tracing::info!("other nodes reach this one again; it takes part again");
                self.shared.store.set_draining(me, false).await?;
            }
            return Ok(());
        }
        let since = *self.isolated_since.get_or_insert_with(Instant::now);
        let is_long = since.elapsed() >= self.identity.ttl * 2 / 3;
        if is_long && !self.has_withdrawn && !self.shared.is_draining() {
            tracing::warn!(
                links = linked,
                nodes = all,
                "most nodes can't reach this one; it gives away what it owns"
            );
            self.has_withdrawn = self.shared.store.set_draining(me, true).await?;
            self.renew_at = Instant::now();
            self.shared.look_soon();
        }
        Ok(())
    }

    fn lost(&self, shards: &[(ShardId, Epoch)]) {
        if shards.is_empty() {
            return;
        }
        let ids: Vec<ShardId> = shards.iter().map(|(shard, _)| *shard).collect();
        let live = self
            .shared
            .invoices()
            .map_or(0, |invoices| invoices.dismiss(&ids));
        metrics::counter!("faktor_cluster_shards_total", "change" => "lost")
            .increment(shards.len() as u64);
        tracing::warn!(
            shards = shards.len(),
            invoices.live = live,
            "shards belong to another node by now"
        );
    }

    pub(super) fn granted(&self, shards: &[(ShardId, Epoch)], reason: &'static str) {
        if shards.is_empty() {
            return;
        }
        self.shared.note_owner(self.session.boot, shards);
        self.shared.tell_moved();
        metrics::counter!("faktor_cluster_shards_total", "change" => "granted")
            .increment(shards.len() as u64);
        tracing::info!(shards = shards.len(), reason, "shards are this node's now");
    }

    fn measure(&self, view: &ClusterView) {
        let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        metrics::gauge!("faktor_cluster_shards_owned")
            .set(count(self.shared.ownership.owned().len()));
        let live = view.nodes.iter().filter(|record| record.is_live()).count();
        metrics::gauge!("faktor_cluster_nodes").set(count(live));
        metrics::gauge!("faktor_cluster_links").set(count(self.session.links.status().len()));
    }

    /// The node was thought dead, or slept too long: it owns nothing, and begins anew.
    async fn rejoin(&mut self, leaving: &CancellationToken) {
        tracing::warn!(node.boot = %self.session.boot, "this node's lease ran out; it joins anew");
        self.end_session().await;
        loop {
            match Session::begin(&self.shared, &mut self.identity).await {
                Ok(session) => {
                    self.shared.begin_session(Arc::clone(&session));
                    self.events = session.links.events();
                    self.session = session;
                    self.isolated_since = None;
                    self.has_withdrawn = false;
                    self.renew_at = Instant::now() + self.identity.ttl / RENEW_AFTER;
                    tracing::info!(node.boot = %self.session.boot, "this node joined anew");
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "this node can't join the cluster; tried again");
                }
            }
            if timeout(REJOIN_PAUSE, leaving.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    async fn end_session(&self) {
        self.session.tenure().end();
        if let Some(invoices) = self.shared.invoices() {
            invoices.dismiss_all();
        }
        self.shared.end_session();
        self.session.links.stop().await;
    }
}
