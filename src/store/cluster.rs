//! The cluster's book: which nodes there are, and who owns which shard.
//!
//! A node has one lease for itself, which it renews; a shard belongs to the node that its row names.
//! All times are those of the database, so that the nodes' clocks do not matter. What was said of a
//! node once stays true: one that is gone never comes back under the same boot id, and the epoch of a
//! shard only grows.

use std::fmt;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Duration;
use uuid::Uuid;

use super::{Epoch, ShardId, StoreError};

/// One start of a node; no two starts share one.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct BootId(pub Uuid);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_simple().fmt(f)
    }
}

/// A node that wants to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNode {
    pub boot: BootId,
    /// The operator's name for it: the same over all its starts, of one node at a time.
    pub name: String,
    /// `host:port` at which other nodes reach it; empty: it works alone.
    pub address: String,
    /// Its own HTTP address, for operators.
    pub http: String,
    /// The program's version.
    pub version: String,
    /// The versions of the wire that it speaks, inclusive.
    pub wire: (u16, u16),
    /// Nodes link only to those of the same mark; empty: it is not known.
    pub cookie_mark: String,
}

/// Why a node is no longer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It handed everything over and left.
    Left,
    /// Its lease ran out.
    Expired,
    /// Its process was found gone: the connection closed and its address refused another one.
    Refused,
    /// It works alone, and so does the one that came after it.
    Replaced,
}

impl Gone {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Replaced => "replaced",
        }
    }
}

/// A node as it stands in the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    pub node: NewNode,
    pub joined_at: Timestamp,
    /// How much of its lease was left when the book was read; zero or less: it ran out.
    pub left: SignedDuration,
    /// An operator, or its own end, wants it to own nothing.
    pub draining: bool,
    /// To other nodes, when it renewed its lease last.
    pub links: u32,
    pub gone: Option<Gone>,
}

impl NodeRecord {
    /// Whether it has no address: it shares its storage with nobody.
    pub fn works_alone(&self) -> bool {
        self.node.address.is_empty()
    }

    /// Whether it may own shards.
    pub fn is_live(&self) -> bool {
        self.gone.is_none() && self.left.is_positive()
    }
}

/// A shard as it stands in the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardRecord {
    pub shard: ShardId,
    /// Nobody at first, and after its owner left.
    pub owner: Option<BootId>,
    /// Of this owner, or of the last one.
    pub epoch: Epoch,
}

/// The book at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Those that are not gone, and those that own something though they are; by name.
    pub nodes: Vec<NodeRecord>,
    /// Every shard, in order.
    pub shards: Vec<ShardRecord>,
}

/// What a renewal said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    Member {
        draining: bool,
    },
    /// The lease ran out, or somebody said that this node is gone: it owns nothing any more.
    Gone,
}

/// The cluster's book. Each call is one transaction.
#[async_trait]
pub trait ClusterStore: Send + Sync + 'static {
    /// Enters a node with a lease of `ttl`. `Taken { field: "name" }` while another node of that
    /// name is live.
    async fn join(&self, node: &NewNode, ttl: Duration) -> Result<(), StoreError>;

    /// Prolongs a node's lease to `ttl` from now, unless it ran out or the node is gone; and notes how
    /// many links it has.
    async fn renew(&self, boot: BootId, ttl: Duration, links: u32) -> Result<Renewed, StoreError>;

    async fn view(&self) -> Result<ClusterView, StoreError>;

    /// Notes that a node is gone. With [`Gone::Expired`] only if its lease did run out by the
    /// database's clock. Whether it is gone now.
    async fn bury(&self, boot: BootId, how: Gone) -> Result<bool, StoreError>;

    /// Gives those of `shards` to a live node that nobody owns, or whose owner is gone, each with a
    /// new epoch; which they were.
    async fn take(
        &self,
        boot: BootId,
        shards: &[ShardId],
    ) -> Result<Vec<(ShardId, Epoch)>, StoreError>;

    /// Gives those of `shards` that `from` owns with these epochs to `to`, if that is live, each with
    /// a new epoch; which they were, with their new epochs.
    async fn hand_over(
        &self,
        from: BootId,
        to: BootId,
        shards: &[(ShardId, Epoch)],
    ) -> Result<Vec<(ShardId, Epoch)>, StoreError>;

    /// The node leaves: nobody owns its shards.
    async fn leave(&self, boot: BootId) -> Result<(), StoreError>;

    /// Whether a live node should own nothing. False: it is none. By its boot, so that a request that
    /// comes late does not meet the next node of that name.
    async fn set_draining(&self, boot: BootId, draining: bool) -> Result<bool, StoreError>;
}
