//! What a node knows of its cluster, for operators.

use std::fmt;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::{Duration, timeout};

pub use super::links::LinkStatus;
use super::router::ask;
use super::shared::Shared;
use super::wire::{About, Question, Reply};
use crate::store::cluster::{BootId, ClusterView};

/// How long other nodes may take to say how they are, and the book to be read.
const WITHIN: Duration = Duration::from_millis(500);

/// Reads what is known of the cluster. Cheap to clone.
#[derive(Clone)]
pub struct ClusterHandle {
    shared: Arc<Shared>,
}

impl fmt::Debug for ClusterHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterHandle")
    }
}

impl ClusterHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// This node's boot id.
    pub fn me(&self) -> BootId {
        self.shared.me()
    }

    /// The cluster's book as it was read last.
    pub fn view(&self) -> Arc<ClusterView> {
        self.shared.view()
    }

    /// The book as it is now; as it was read last if it can't be.
    pub async fn look(&self) -> Arc<ClusterView> {
        match timeout(WITHIN, self.shared.store.view()).await {
            Ok(Ok(view)) => Arc::new(view),
            Ok(Err(_)) | Err(_) => self.view(),
        }
    }

    /// This node's links.
    pub fn links(&self) -> Vec<LinkStatus> {
        self.shared
            .links()
            .map_or_else(Vec::new, |links| links.status())
    }

    /// Whether an operator wants this node to own nothing.
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining()
    }

    /// How long ago the lease was renewed, in milliseconds.
    pub fn renewed_ms_ago(&self) -> u64 {
        self.shared.renewed_ms_ago()
    }

    /// How the linked nodes are, as they say themselves.
    pub async fn about_others(&self) -> Vec<(BootId, About)> {
        let Some(links) = self.shared.links() else {
            return Vec::new();
        };
        let asked = links.all().into_iter().map(|link| async move {
            match ask(&self.shared, &link, Question::About, WITHIN).await {
                Ok(Reply::About(about)) => Some((link.boot(), about)),
                _ => None,
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// Whether the node has its place: its lease is good. The error is for readiness.
    pub fn check(&self) -> Result<(), String> {
        if self.shared.ownership.is_within_term() {
            Ok(())
        } else {
            let seconds = self.shared.renewed_ms_ago() / 1_000;
            Err(format!(
                "the lease was renewed {seconds} s ago, and is over"
            ))
        }
    }
}
