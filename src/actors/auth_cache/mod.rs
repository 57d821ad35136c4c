//! Who is calling: passwords, tokens and keys, checked off the reactor's threads, with a cache.

use std::fmt;
use std::sync::{Arc, OnceLock};

use jiff::SignedDuration;
use ractor::{ActorCell, SpawnErr};

use self::cache::{Scope, VerificationCache};
use self::digest::sha256_hex;
use self::oidc::Trusted;
use self::password::{PasswordOutcome, PasswordTask, Passwords};
use self::setup::SetupLink;
use self::throttle::LoginThrottle;
use self::tokens::TokenKeys;
use super::pool::{Pool, PoolError, PoolSize};
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::domain::ids::{OrganizationId, SessionId, UserId};
use crate::domain::invoice::command::Initiator;
use crate::domain::permission::Permissions;
use crate::store::{DirectoryStore, IdentityStore, StoreError, Stores};

pub mod accounts;
mod bearer;
mod cache;
mod digest;
mod login;
mod oidc;
pub mod password;
pub mod roles;
mod setup;
#[cfg(test)]
mod tests;
mod threads;
mod throttle;
mod tokens;

/// What an API key begins with; access tokens never do.
const API_KEY_PREFIX: &str = "fk_";

/// How long the Invoice Generator's tokens live.
const BASIC_TOKEN_TTL: SignedDuration = SignedDuration::from_hours(24);

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub organization: OrganizationId,
    pub initiator: Initiator,
    /// None for an API key.
    pub user: Option<UserId>,
    /// None for an API key.
    pub session: Option<SessionId>,
    pub roles: Vec<String>,
    pub permissions: Permissions,
}

/// Why a caller is not let in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuthError {
    /// No, wrong, expired or revoked credentials.
    #[error("{detail}")]
    Unauthenticated { detail: &'static str },
    /// Too many logins at once, or too many failed ones.
    #[error("too many attempts; try again in {retry_after_s} seconds")]
    Throttled { retry_after_s: u64 },
    /// The worker crashed on this request; others are not affected.
    #[error("the password could not be checked")]
    Crashed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AuthError {
    const fn unauthenticated(detail: &'static str) -> Self {
        Self::Unauthenticated { detail }
    }
}

/// What a login gives.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    pub access_token: String,
    /// Life of the access token in seconds.
    pub expires_in_s: u64,
    /// Usable once.
    pub refresh_token: String,
}

/// A new API key's secret with what of it is kept.
pub struct NewSecret {
    /// Shown to its owner once.
    pub secret: String,
    /// SHA-256, lowercase hexadecimal.
    pub hash: String,
    /// The first characters, by which people recognize it.
    pub prefix: String,
}

/// Checks callers. Cheap to clone.
#[derive(Clone)]
pub struct AuthHandle {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn IdentityStore>,
    directory: Arc<dyn DirectoryStore>,
    clock: Clock,
    passwords: Pool<Passwords>,
    max_in_flight: u64,
    throttle: LoginThrottle,
    keys: TokenKeys,
    cache: VerificationCache,
    access_ttl: SignedDuration,
    refresh_ttl: SignedDuration,
    setup: SetupLink,
    /// The OpenID Connect issuer, if there is one.
    trusted: OnceLock<Trusted>,
}

impl fmt::Debug for AuthHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthHandle")
    }
}

impl AuthHandle {
    /// Loads the signing keys, makes the first one. Passwords are checked from
    /// [`spawn`](Self::spawn) on.
    pub async fn start(config: &Config, clock: Clock, stores: &Stores) -> Result<Self, StoreError> {
        let access_ttl = seconds(config.auth.access_token_ttl_s);
        let size = PoolSize {
            workers: config.pools.auth_workers,
            queue: config.pools.auth_queue,
        };
        let passwords = Pool::new(Passwords::new(size.workers), size);
        let keys = TokenKeys::load(
            Arc::clone(&stores.identity),
            seconds(config.auth.signing_key_rotation_s),
            access_ttl.max(BASIC_TOKEN_TTL),
            clock.now(),
        )
        .await?;
        let max_in_flight = passwords.workers().saturating_add(size.queue);
        Ok(Self {
            inner: Arc::new(Inner {
                store: Arc::clone(&stores.identity),
                directory: Arc::clone(&stores.directory),
                clock,
                max_in_flight: u64::try_from(max_in_flight).unwrap_or(u64::MAX),
                passwords,
                throttle: LoginThrottle::new(config.auth.max_failed_logins),
                keys,
                cache: VerificationCache::new(config.auth.cache_entries, config.auth.cache_ttl_s),
                access_ttl,
                refresh_ttl: seconds(config.auth.refresh_token_ttl_s),
                setup: SetupLink::default(),
                trusted: OnceLock::new(),
            }),
        })
    }

    /// Starts (or restarts) the pool under its supervisor.
    pub async fn spawn(&self, supervisor: ActorCell) -> Result<ActorCell, SpawnErr> {
        self.inner.passwords.spawn(supervisor).await
    }

    /// The pool that checks passwords.
    pub fn pool(&self) -> &Pool<Passwords> {
        &self.inner.passwords
    }

    /// Ends a session: its refresh token and its access tokens.
    pub async fn revoke_session(&self, user: UserId, session: SessionId) -> Result<(), StoreError> {
        self.inner
            .store
            .revoke_session(session, self.inner.clock.now())
            .await?;
        self.forget_user(user);
        Ok(())
    }

    /// Ends all sessions of a user: the password changed, or the user is gone.
    pub async fn revoke_sessions_of(&self, user: UserId) -> Result<(), StoreError> {
        self.inner
            .store
            .revoke_sessions_of(user, self.inner.clock.now())
            .await?;
        self.forget_user(user);
        Ok(())
    }

    /// To be called after a user was changed or deleted.
    pub fn forget_user(&self, user: UserId) {
        self.inner.cache.revoke(Scope::User(user));
    }

    /// To be called after a role was changed or deleted.
    pub fn forget_roles_of(&self, organization: OrganizationId) {
        self.inner.cache.revoke(Scope::Organization(organization));
    }

    /// To be called after an API key was revoked.
    pub fn forget_api_keys(&self) {
        self.inner.cache.revoke(Scope::ApiKeys);
    }

    /// A PHC string (argon2id) for a new password.
    pub async fn hash_password(&self, password: &str) -> Result<String, AuthError> {
        match self
            .run(PasswordTask::Hash {
                password: password.to_owned(),
            })
            .await?
        {
            PasswordOutcome::Hash(hash) => Ok(hash),
            PasswordOutcome::Verified(_) => Err(AuthError::Crashed),
        }
    }

    /// The permissions of these roles in an organization, together.
    pub async fn permissions_of(
        &self,
        organization: OrganizationId,
        roles: &[String],
    ) -> Result<Permissions, StoreError> {
        roles::permissions_of(self.inner.store.as_ref(), organization, roles).await
    }

    /// A secret for a new API key.
    pub fn new_api_key_secret() -> NewSecret {
        let secret = format!("{API_KEY_PREFIX}{}", new_secret());
        let prefix = secret.chars().take(API_KEY_PREFIX.len() + 8).collect();
        NewSecret {
            hash: sha256_hex(&secret),
            prefix,
            secret,
        }
    }

    async fn run(&self, task: PasswordTask) -> Result<PasswordOutcome, AuthError> {
        match self.inner.passwords.run(task).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Err(PoolError::Busy) => Err(busy()),
            Ok(Err(_)) | Err(PoolError::Crashed) => Err(AuthError::Crashed),
        }
    }
}

/// The queue is full: a worker is free again within seconds.
fn busy() -> AuthError {
    AuthError::Throttled {
        retry_after_s: throttle::soon_s(),
    }
}

/// The form in which addresses are stored and compared.
pub fn normal_email(email: &str) -> String {
    email.trim().to_lowercase()
}

/// 32 random bytes.
fn new_secret() -> String {
    clock::random_hex::<32>()
}

fn seconds(seconds: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}
