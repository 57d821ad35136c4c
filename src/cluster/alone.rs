//! A node that works alone on a database which several could reach: it takes every shard, and whoever
//! is started after it takes them from it. Two that were started by mistake never both act.

use std::future::pending;
use std::sync::Arc;

use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::JoinError;
use super::lasting::Lasting;
use super::wire;
use crate::actors::invoices::{InvoicesHandle, WeakInvoices};
use crate::actors::ownership::Ownership;
use crate::clock;
use crate::store::cluster::{BootId, ClusterStore, Gone, NewNode, NodeRecord, Renewed};
use crate::store::{SHARDS, ShardId, StoreError};

/// The name in the book.
const NAME: &str = "alone";
/// A part of the lease after which it is renewed.
const RENEW_AFTER: u32 = 4;
/// The pause before the book is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// A node that works alone.
pub struct Alone {
    leaving: CancellationToken,
    keeper: Lasting<Option<Keeper>>,
}

impl Alone {
    /// Takes every shard. Nodes of a cluster keep theirs: then it fails.
    pub async fn join(
        book: Arc<dyn ClusterStore>,
        invoices: &InvoicesHandle,
        http: String,
        ttl: Duration,
    ) -> Result<Self, JoinError> {
        let mut keeper = Keeper {
            book,
            ownership: invoices.ownership().clone(),
            invoices: invoices.downgrade(),
            node: NewNode {
                boot: BootId::default(),
                name: NAME.to_owned(),
                address: String::new(),
                http,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                wire: wire::VERSIONS,
                cookie_mark: String::new(),
            },
            ttl,
        };
        keeper.enter().await?;
        let leaving = CancellationToken::new();
        Ok(Self {
            keeper: Lasting::spawn(keeper.run(leaving.clone())),
            leaving,
        })
    }

    /// Resolves with the reason when the node can't go on.
    pub async fn failed(&self) -> String {
        self.keeper.is_over().await;
        if self.leaving.is_cancelled() {
            return pending().await;
        }
        "its database belongs to another node by now; for several nodes on one database, give each of \
         them cluster.listen"
            .to_owned()
    }

    /// Nobody owns what it owned.
    pub async fn leave(self) {
        self.leaving.cancel();
        // One that was replaced, or crashed, has nothing to leave.
        let Ok(Some(keeper)) = self.keeper.join().await else {
            return;
        };
        keeper.ownership.lose_all();
        if let Err(error) = keeper.book.leave(keeper.node.boot).await {
            tracing::warn!(%error, "the node could not say that it leaves; its lease will run out");
        }
    }
}

/// Keeps the lease.
struct Keeper {
    book: Arc<dyn ClusterStore>,
    ownership: Ownership,
    invoices: WeakInvoices,
    node: NewNode,
    ttl: Duration,
}

impl Keeper {
    /// Enters the book, in the place of one that worked alone before.
    async fn enter(&mut self) -> Result<(), JoinError> {
        let deadline = Instant::now() + self.ttl + Duration::from_secs(1);
        loop {
            let view = self.book.view().await?;
            let mut others = view.nodes.iter().filter(|record| record.is_live());
            if let Some(other) = others.clone().find(|record| !record.works_alone()) {
                if Instant::now() >= deadline {
                    return Err(JoinError::ClusterAtWork {
                        name: other.node.name.clone(),
                        address: other.node.address.clone(),
                    });
                }
            } else {
                if let Some(before) = others.next() {
                    tracing::info!(node.boot = %before.node.boot, "this node takes the place of one that worked alone");
                    self.book.bury(before.node.boot, Gone::Replaced).await?;
                }
                match self.take_all().await {
                    Ok(()) => return Ok(()),
                    // Another one is being started at the same moment.
                    Err(StoreError::Taken { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            sleep(ASK_AGAIN).await;
        }
    }

    /// Joins under a new boot id, and takes every shard.
    async fn take_all(&mut self) -> Result<(), StoreError> {
        self.node.boot = BootId(clock::new_uuid());
        let began = self.ownership.now();
        self.book.join(&self.node, self.ttl).await?;
        let all: Vec<ShardId> = (0..SHARDS).map(ShardId).collect();
        for (shard, epoch) in self.book.take(self.node.boot, &all).await? {
            self.ownership.grant(shard, epoch);
        }
        self.ownership.renewed(began, self.ttl * 4 / 5);
        Ok(())
    }

    /// Renews the lease until the node leaves; `None` when it is none any more.
    async fn run(mut self, leaving: CancellationToken) -> Option<Self> {
        let mut pause = self.ttl / RENEW_AFTER;
        while timeout(pause, leaving.cancelled()).await.is_err() {
            let began = self.ownership.now();
            pause = self.ttl / RENEW_AFTER;
            let kept = match self.book.renew(self.node.boot, self.ttl, 0).await {
                Ok(Renewed::Member { .. }) => {
                    self.ownership.renewed(began, self.ttl * 4 / 5);
                    Ok(true)
                }
                Ok(Renewed::Gone) => self.come_back().await,
                Err(error) => Err(error),
            };
            match kept {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    tracing::warn!(%error, "the lease could not be renewed; tried again");
                    pause = self.ttl / (RENEW_AFTER * 4);
                }
            }
        }
        Some(self)
    }

    /// The lease ran out, while the database was away or the machine slept: it begins anew unless
    /// another node took its place. False: it did.
    async fn come_back(&mut self) -> Result<bool, StoreError> {
        self.ownership.lose_all();
        if let Some(invoices) = self.invoices.upgrade() {
            invoices.dismiss_all();
        }
        let view = self.book.view().await?;
        if view.nodes.iter().any(NodeRecord::is_live) {
            return Ok(false);
        }
        match self.take_all().await {
            Ok(()) => {
                tracing::warn!("this node's lease had run out; it begins anew");
                Ok(true)
            }
            Err(StoreError::Taken { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
