//! Nodes that work together: who owns what, and how a request finds its invoice.
//!
//! Safety rests on the store alone: an owner's writes carry its epoch, and an invoice refuses older
//! ones. What is here makes that rare, and quick.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::actors::invoices::InvoicesHandle;
use crate::actors::outbox::OutboxHandle;
use crate::store::cache::{Peers, SharedCache};
use crate::store::cluster::ClusterStore;

mod alone;
mod cookie_mark;
mod deaths;
mod feed;
pub mod gateway;
mod hand_over;
mod hearing;
mod inbound;
mod lasting;
pub mod links;
pub mod owners;
pub mod placement;
pub mod plan;
mod router;
mod seen;
mod session;
mod shared;
mod status;
mod steward;
pub mod tenure;
mod wanted;
mod watching;
pub mod wire;

pub use alone::Alone;
use lasting::Lasting;
use router::Router;
pub use session::{Identity, JoinError};
use shared::Shared;
pub use status::{ClusterHandle, LinkStatus};
use steward::Steward;

/// What a node that joins brings along.
pub struct Foundation {
    pub store: Arc<dyn ClusterStore>,
    pub invoices: InvoicesHandle,
    pub outbox: OutboxHandle,
    pub cache: SharedCache,
    pub identity: Identity,
}

/// A node's place in its cluster.
pub struct Cluster {
    shared: Arc<Shared>,
    steward: Lasting<()>,
    leaving: CancellationToken,
    /// Ended with the node.
    _tasks: JoinSet<()>,
}

impl Cluster {
    /// Enters the book, links to the other nodes, and takes what nobody owns.
    pub async fn join(foundation: Foundation) -> Result<Self, JoinError> {
        let Foundation {
            store,
            invoices,
            outbox,
            cache,
            identity,
        } = foundation;
        let shared = Arc::new(Shared::new(store, &invoices, outbox, cache));
        invoices.set_elsewhere(Arc::new(Router::new(Arc::clone(&shared))));
        let steward = Steward::join(Arc::clone(&shared), identity).await?;
        let leaving = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(watching::keep_watching(Arc::clone(&shared)));
        tasks.spawn(feed::keep_listening(Arc::clone(&shared)));
        tasks.spawn(feed::keep_telling(Arc::clone(&shared)));
        if let SharedCache::Peers(peers) = &shared.cache {
            tasks.spawn(tell_revoked(Arc::clone(&shared), peers.clone()));
        }
        Ok(Self {
            steward: Lasting::spawn(steward.run(leaving.clone())),
            leaving,
            _tasks: tasks,
            shared,
        })
    }

    pub fn handle(&self) -> ClusterHandle {
        ClusterHandle::new(Arc::clone(&self.shared))
    }

    /// Resolves with the reason when the membership is no longer kept: then the node can't go on.
    pub async fn failed(&self) -> String {
        self.steward.is_over().await;
        if self.leaving.is_cancelled() {
            return pending().await;
        }
        "the task that keeps the cluster's lease crashed".to_owned()
    }

    /// Gives what this node owns to others, as far as they take it in time. It still finds the way for
    /// requests.
    pub async fn hand_over(&self, patience: Duration) {
        hand_over::hand_over_all(&self.shared, patience).await;
    }

    /// Leaves: what is still owned is nobody's.
    pub async fn leave(self) {
        self.leaving.cancel();
        // A steward that crashed has nothing to finish.
        let _ = self.steward.join().await;
        hand_over::depart(&self.shared).await;
    }
}

/// Tells the other nodes what was revoked here.
async fn tell_revoked(shared: Arc<Shared>, peers: Peers) {
    let mut revoked = peers.own();
    loop {
        match revoked.recv().await {
            Ok(scopes) => {
                let scopes = scopes.into_iter().map(Into::into).collect();
                shared.broadcast(&wire::News::Revoked { scopes });
            }
            // Those that were missed run out by themselves within seconds.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}
