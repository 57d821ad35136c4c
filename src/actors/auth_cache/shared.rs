//! Callers and counts of failed logins, shared by all nodes. The shared cache never decides alone: a
//! token's signature was checked here, what it says of a caller carries a node's seal and is at most
//! `auth.cache_ttl_s` old, and a node's own count of failures holds whatever the shared one says.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Duration;

use super::digest::{Digest, sha256};
use super::throttle::{self, MustWait};
use super::{AuthError, AuthHandle, Caller, Inner};
use crate::domain::ids::{OrganizationId, SessionId, UserId};
use crate::domain::invoice::command::Initiator;
use crate::domain::permission::{Permission, Permissions};
use crate::store::cache::{
    LoginEnd, LoginEntry, LoginLimit, Reading, Recalled, Revoked, Scope, SharedCache,
};

/// A caller as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptCaller {
    organization: OrganizationId,
    initiator: Initiator,
    user: Option<UserId>,
    session: Option<SessionId>,
    roles: Vec<String>,
    permissions: Vec<Permission>,
    /// In milliseconds since 1970; none for an API key.
    expires_at_ms: Option<i64>,
}

/// A caller whom another node, or this one, has looked up a moment ago.
pub(super) struct KnownCaller {
    pub(super) caller: Arc<Caller>,
    pub(super) expires_at: Option<Timestamp>,
    /// How much longer it may be believed.
    pub(super) left: Duration,
}

/// What the shared cache said of a bearer.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) known: Option<KnownCaller>,
    /// With it, what the store says now is kept for the other nodes.
    pub(super) reading: Option<Reading>,
}

impl AuthHandle {
    /// What is known of a bearer that stands on these scopes. Only what has more than `least` of its
    /// life left counts.
    pub(super) async fn recall(
        &self,
        digest: &Digest,
        scopes: &[Scope],
        now: Timestamp,
        least: Duration,
    ) -> Memory {
        if self.inner.cache.ttl().is_zero() {
            return Memory::default();
        }
        let Some(Recalled { kept, reading }) = self.inner.shared.recall(digest, scopes).await
        else {
            return Memory::default();
        };
        let known = kept
            .filter(|kept| kept.left > least)
            .and_then(|kept| self.read(digest, &kept.body, kept.left))
            .filter(|known| known.expires_at.is_none_or(|at| at > now));
        let result = if known.is_some() { "hit" } else { "miss" };
        metrics::counter!("faktor_auth_cache_total", "layer" => "redis", "result" => result)
            .increment(1);
        Memory {
            known,
            reading: Some(reading),
        }
    }

    fn read(&self, digest: &Digest, body: &[u8], left: Duration) -> Option<KnownCaller> {
        let text = self.inner.keys.open(digest, body)?;
        // A newer node may know more permissions: then the store is asked.
        let kept: KeptCaller = serde_json::from_slice(&text).ok()?;
        let expires_at = match kept.expires_at_ms {
            Some(at) => Some(Timestamp::from_millisecond(at).ok()?),
            None => None,
        };
        Some(KnownCaller {
            caller: Arc::new(Caller {
                organization: kept.organization,
                initiator: kept.initiator,
                user: kept.user,
                session: kept.session,
                roles: kept.roles,
                permissions: Permissions::from_iter(kept.permissions),
            }),
            expires_at,
            left: left.min(self.inner.cache.ttl()),
        })
    }

    /// Makes a new token known, so that its first use is a hit at whichever node.
    pub(super) async fn introduce(&self, token: &str) {
        if self.inner.shared.is_some()
            && let Err(error) = self.authenticate(token).await
        {
            tracing::debug!(%error, "a new token is looked up at its first use");
        }
    }

    /// Keeps for the other nodes what the store said after `reading` began.
    pub(super) async fn keep(
        &self,
        digest: &Digest,
        caller: &Caller,
        expires_at: Option<Timestamp>,
        reading: Option<Reading>,
    ) {
        let Some(reading) = reading else { return };
        let kept = KeptCaller {
            organization: caller.organization,
            initiator: caller.initiator.clone(),
            user: caller.user,
            session: caller.session,
            roles: caller.roles.clone(),
            permissions: caller.permissions.iter().collect(),
            expires_at_ms: expires_at.map(Timestamp::as_millisecond),
        };
        let sealed: Option<Bytes> = serde_json::to_vec(&kept)
            .ok()
            .and_then(|text| self.inner.keys.seal(digest, &text));
        if let Some(sealed) = sealed {
            let lives = self.inner.cache.ttl();
            self.inner.shared.keep(reading, sealed, lives).await;
        }
    }

    /// Ends what stands on a scope: here at once, and at the other nodes as soon as they are told.
    pub(super) async fn end(&self, scope: Scope) {
        self.inner.cache.revoke(scope);
        // Roles are an API key's, too, and its organization is not known before it is looked up.
        match scope {
            Scope::Organization(_) => self.inner.shared.revoke(&[scope, Scope::ApiKeys]).await,
            scope => self.inner.shared.revoke(&[scope]).await,
        }
        // What was recalled between the two.
        self.inner.cache.revoke(scope);
    }

    /// Counts a login that begins with all nodes. Dropped without an end, it counts as abandoned.
    pub(super) async fn begin_shared_login(&self, email: &str) -> Result<SharedAttempt, AuthError> {
        let mut attempt = SharedAttempt {
            shared: self.inner.shared.clone(),
            address: sha256(email.as_bytes()),
            limit: LoginLimit {
                max_failed: self.inner.throttle.max_failed(),
                window: Duration::from_secs(throttle::WINDOW_S),
            },
            is_counted: false,
        };
        let entry = attempt
            .shared
            .login_begins(&attempt.address, attempt.limit)
            .await;
        match entry {
            // Only this node's own count holds now.
            None => Ok(attempt),
            Some(LoginEntry::Admitted) => {
                attempt.is_counted = true;
                Ok(attempt)
            }
            Some(LoginEntry::Waits(left)) => Err(MustWait {
                retry_after_s: left
                    .as_millis()
                    .div_ceil(1_000)
                    .try_into()
                    .unwrap_or(u64::MAX),
            }
            .into()),
            Some(LoginEntry::Crowded) => Err(super::busy()),
        }
    }
}

/// Waits for what other nodes revoke, as long as there is something to revoke.
pub(super) async fn hear_revocations(inner: Weak<Inner>, mut revocations: Receiver<Revoked>) {
    loop {
        let revoked = match revocations.recv().await {
            Ok(revoked) => revoked,
            Err(RecvError::Lagged(_)) => Revoked::Anything,
            Err(RecvError::Closed) => return,
        };
        let Some(inner) = inner.upgrade() else { return };
        match revoked {
            Revoked::One(scope) => inner.cache.revoke(scope),
            Revoked::Anything => inner.cache.revoke_all(),
        }
    }
}

/// A login under way, as all nodes count it.
pub(super) struct SharedAttempt {
    shared: SharedCache,
    address: Digest,
    limit: LoginLimit,
    is_counted: bool,
}

impl SharedAttempt {
    pub(super) async fn ended(mut self, end: LoginEnd) {
        self.is_counted = false;
        self.shared.login_ends(&self.address, end, self.limit).await;
    }
}

impl Drop for SharedAttempt {
    fn drop(&mut self) {
        if !self.is_counted {
            return;
        }
        // Outside of the runtime, at the very end of a process, its window runs out by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (shared, address, limit) = (self.shared.clone(), self.address, self.limit);
            runtime.spawn(async move {
                shared
                    .login_ends(&address, LoginEnd::Abandoned, limit)
                    .await;
            });
        }
    }
}
