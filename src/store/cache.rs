//! What nodes share besides their stores, to be quick and of one mind: checked callers, revocations,
//! counts of failed logins, rates. It may be gone at any moment, and then each node goes on by itself.

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::time::Duration;

use super::redis::Redis;
use crate::domain::ids::{OrganizationId, UserId};

/// SHA-256 of what must not be kept in clear.
pub type Digest = [u8; 32];

/// What a revocation ends. API keys are few and rarely revoked: all are looked up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    User(UserId),
    Organization(OrganizationId),
    ApiKeys,
}

/// What was revoked, as the nodes tell each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    One(Scope),
    /// Messages may have been missed.
    Anything,
}

/// Why the shared cache did not do it. A sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CacheError(pub String);

/// What the cache knows of a bearer.
#[derive(Debug)]
pub struct Recalled {
    pub kept: Option<Kept>,
    /// With it, what the store says now can be kept.
    pub reading: Reading,
}

/// What was kept of a bearer, and nothing it stands on was revoked since.
#[derive(Debug)]
pub struct Kept {
    pub body: Bytes,
    /// How much longer it may be believed.
    pub left: Duration,
}

/// The moment before the store was read.
#[derive(Debug)]
pub struct Reading {
    pub(super) bearer: Digest,
    /// The generations of all scopes that what is read stands on.
    pub(super) stamp: String,
    /// By the cache's own clock, in milliseconds since 1970.
    pub(super) began_at_ms: i64,
}

/// How failed logins are limited.
#[derive(Debug, Clone, Copy)]
pub struct LoginLimit {
    pub max_failed: u32,
    /// Failures are counted from the first one for this long.
    pub window: Duration,
}

/// Whether a login may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginEntry {
    Admitted,
    /// Too many have failed; the window ends after this time.
    Waits(Duration),
    /// So many are under way that all of them together could be too many.
    Crowded,
}

/// How a login ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginEnd {
    Succeeded,
    Failed,
    /// The password was never checked.
    Abandoned,
}

/// The cache that all nodes share, if there is one. Cheap to clone.
///
/// Where an answer is optional, `None` says that there is no shared cache, or that it can't be
/// asked now: then the node's own memory counts.
#[derive(Debug, Clone, Default)]
pub enum SharedCache {
    #[default]
    None,
    /// The nodes of a cluster tell each other what was revoked, and share nothing else.
    Peers(Peers),
    Redis(Redis),
}

/// What was revoked, on its way to the other nodes and from them.
#[derive(Debug, Clone)]
pub struct Peers {
    own: broadcast::Sender<Vec<Scope>>,
    heard: broadcast::Sender<Revoked>,
}

/// Revocations that may wait; who falls behind looks everything up again.
const REVOCATIONS: usize = 1_024;

impl Default for Peers {
    fn default() -> Self {
        Self {
            own: broadcast::channel(REVOCATIONS).0,
            heard: broadcast::channel(REVOCATIONS).0,
        }
    }
}

impl Peers {
    /// What this node revokes from now on: to be told to the others.
    pub fn own(&self) -> broadcast::Receiver<Vec<Scope>> {
        self.own.subscribe()
    }
}

impl SharedCache {
    pub const fn is_some(&self) -> bool {
        matches!(self, Self::Redis(_))
    }

    /// Looks a bearer up; what is found stands on these scopes.
    pub async fn recall(&self, bearer: &Digest, scopes: &[Scope]) -> Option<Recalled> {
        match self {
            Self::None | Self::Peers(_) => None,
            Self::Redis(redis) => redis.recall(bearer, scopes).await,
        }
    }

    /// Keeps what the store said after `reading` began, for at most `lives` from then on.
    pub async fn keep(&self, reading: Reading, body: Bytes, lives: Duration) {
        if let Self::Redis(redis) = self {
            redis.keep(reading, body, lives).await;
        }
    }

    /// Forgets all that stands on these scopes, and tells every node. To be called after the store
    /// was written.
    pub async fn revoke(&self, scopes: &[Scope]) {
        match self {
            Self::None => {}
            Self::Peers(peers) => {
                // Nobody to tell is fine: the node works alone for the moment.
                let _ = peers.own.send(scopes.to_vec());
            }
            Self::Redis(redis) => redis.revoke(scopes).await,
        }
    }

    /// Another node of the cluster revoked something.
    pub fn heard(&self, revoked: Revoked) {
        if let Self::Peers(peers) = self {
            // Before the first listener there is nothing to forget.
            let _ = peers.heard.send(revoked);
        }
    }

    /// What any node revokes from now on, this one included.
    pub fn revocations(&self) -> Option<broadcast::Receiver<Revoked>> {
        match self {
            Self::None => None,
            Self::Peers(peers) => Some(peers.heard.subscribe()),
            Self::Redis(redis) => Some(redis.revocations()),
        }
    }

    /// Counts a login that begins; logins under way count as if they failed.
    pub async fn login_begins(&self, address: &Digest, limit: LoginLimit) -> Option<LoginEntry> {
        match self {
            Self::None | Self::Peers(_) => None,
            Self::Redis(redis) => redis.login_begins(address, limit).await,
        }
    }

    /// Counts a login's end. A good one forgets the failed ones.
    pub async fn login_ends(&self, address: &Digest, end: LoginEnd, limit: LoginLimit) {
        if let Self::Redis(redis) = self {
            redis.login_ends(address, end, limit).await;
        }
    }

    /// Counts one use of something that may be used so often a minute, by all nodes together; the
    /// error says how long the next must wait.
    pub async fn admit(&self, used: &str, per_minute: u32) -> Option<Result<(), Duration>> {
        match self {
            Self::None | Self::Peers(_) => None,
            Self::Redis(redis) => redis.admit(used, per_minute).await,
        }
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Result<(), CacheError> {
        match self {
            Self::None | Self::Peers(_) => Ok(()),
            Self::Redis(redis) => redis.ping().await,
        }
    }

    /// Ends the connection; from then on nothing is kept or recalled.
    pub fn close(&self) {
        if let Self::Redis(redis) = self {
            redis.close();
        }
    }
}
