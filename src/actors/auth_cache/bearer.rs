//! Who sent a bearer token, from the cache or the store.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::cache::{Hit, Scope};
use super::digest::{Digest, sha256, sha256_hex};
use super::tokens::BadToken;
use super::{API_KEY_PREFIX, AuthError, AuthHandle, Caller};
use crate::domain::invoice::command::Initiator;
use crate::store::ApiKey;

const BAD_BEARER: AuthError = AuthError::unauthenticated("not a valid access token or API key");
pub(super) const EXPIRED: AuthError = AuthError::unauthenticated("the access token has expired");
const ENDED: AuthError = AuthError::unauthenticated("the session has ended");
const REVOKED: AuthError = AuthError::unauthenticated("the API key is revoked");

const NOTE_USE_AFTER: SignedDuration = SignedDuration::from_hours(1);

impl AuthHandle {
    /// Who sent this bearer token (access token or API key). Mostly answered from the cache:
    /// one SHA-256 and one look-up.
    pub async fn authenticate(&self, bearer: &str) -> Result<Arc<Caller>, AuthError> {
        let digest = sha256(bearer.as_bytes());
        let now = self.inner.clock.now();
        match self.inner.cache.get(&digest, now) {
            Hit::Known(caller) => Ok(caller),
            Hit::LookAgain(known) => match self.look_up(bearer, digest, now).await {
                // Remembered for the rest of its time: a short fault of the store ends nobody.
                Err(AuthError::Store(_)) => Ok(known),
                Err(refused) => {
                    self.inner.cache.forget(&digest);
                    Err(refused)
                }
                Ok(caller) => Ok(caller),
            },
            Hit::Unknown => self.look_up(bearer, digest, now).await,
        }
    }

    /// Asks the store, and remembers a good answer.
    async fn look_up(
        &self,
        bearer: &str,
        digest: Digest,
        now: Timestamp,
    ) -> Result<Arc<Caller>, AuthError> {
        if bearer.starts_with(API_KEY_PREFIX) {
            self.look_up_api_key(bearer, digest, now).await
        } else if let Some(trusted) = self.trusted_for(bearer) {
            self.look_up_issued(trusted, bearer, digest, now).await
        } else {
            self.look_up_token(bearer, digest, now).await
        }
    }

    async fn look_up_token(
        &self,
        token: &str,
        digest: Digest,
        now: Timestamp,
    ) -> Result<Arc<Caller>, AuthError> {
        let claims = match self.inner.keys.verify(token, now).await? {
            Ok(claims) => claims,
            Err(BadToken::Expired) => return Err(EXPIRED),
            Err(BadToken::Invalid) => return Err(BAD_BEARER),
        };
        let stamps = [
            self.inner.cache.stamp(Scope::User(claims.sub)),
            self.inner.cache.stamp(Scope::Organization(claims.org)),
        ];
        let session = self.inner.store.session(claims.sid).await?.ok_or(ENDED)?;
        if session.user != claims.sub || session.revoked_at.is_some() || session.expires_at <= now {
            return Err(ENDED);
        }
        let user = self.inner.store.user(claims.sub).await?.ok_or(ENDED)?;
        if user.organization != claims.org {
            return Err(ENDED);
        }
        let permissions = self.permissions_of(user.organization, &user.roles).await?;
        let caller = Arc::new(Caller {
            organization: user.organization,
            initiator: Initiator::User(user.id),
            user: Some(user.id),
            session: Some(session.id),
            roles: user.roles,
            permissions,
        });
        let expires_at = claims.expires_at().min(session.expires_at);
        self.inner
            .cache
            .insert(digest, Arc::clone(&caller), now, Some(expires_at), stamps);
        Ok(caller)
    }

    /// Notes that a key is used, to the hour: a write for every request would cost too much.
    async fn note_use(&self, key: &ApiKey, now: Timestamp) {
        let is_recent = key
            .last_used_at
            .is_some_and(|at| now.duration_since(at) < NOTE_USE_AFTER);
        if is_recent {
            return;
        }
        // A full disk must not lock anybody out.
        if let Err(error) = self.inner.store.touch_api_key(key.id, now).await {
            tracing::warn!(api_key.id = %key.id, %error, "the use of an API key was not noted");
        }
    }

    async fn look_up_api_key(
        &self,
        secret: &str,
        digest: Digest,
        now: Timestamp,
    ) -> Result<Arc<Caller>, AuthError> {
        let of_key = self.inner.cache.stamp(Scope::ApiKeys);
        let key = self
            .inner
            .store
            .api_key_by_hash(&sha256_hex(secret))
            .await?
            .ok_or(BAD_BEARER)?;
        if key.revoked_at.is_some() {
            return Err(REVOKED);
        }
        self.note_use(&key, now).await;
        let of_organization = self
            .inner
            .cache
            .stamp(Scope::Organization(key.organization));
        let permissions = self.permissions_of(key.organization, &key.roles).await?;
        let caller = Arc::new(Caller {
            organization: key.organization,
            initiator: Initiator::ApiKey(key.id),
            user: None,
            session: None,
            roles: key.roles,
            permissions,
        });
        let stamps = [of_key, of_organization];
        self.inner
            .cache
            .insert(digest, Arc::clone(&caller), now, None, stamps);
        Ok(caller)
    }
}
