//! Signing in and staying signed in: sessions and their tokens.

use jiff::{SignedDuration, Timestamp};

use super::digest::sha256_hex;
use super::password::{PasswordOutcome, PasswordTask, UNKNOWN_USER_HASH};
use super::tokens::Claims;
use super::{
    AuthError, AuthHandle, BASIC_TOKEN_TTL, Tokens, busy, new_secret, normal_email, roles,
};
use crate::clock;
use crate::domain::ids::SessionId;
use crate::store::cache::LoginEnd;
use crate::store::{Refreshed, Session, User};

/// The same for an unknown address and a wrong password.
const WRONG_CREDENTIALS: AuthError =
    AuthError::unauthenticated("the e-mail address or the password is wrong");
const BAD_REFRESH_TOKEN: AuthError =
    AuthError::unauthenticated("the refresh token is unknown, used, expired or revoked");

impl AuthHandle {
    /// Signs in with a password: a new session.
    pub async fn login(&self, email: &str, password: &str) -> Result<Tokens, AuthError> {
        let (user, now) = self.check_login(email, password).await?;
        let refresh_token = new_secret();
        let expires_at = after(now, self.inner.refresh_ttl);
        let session = self
            .open_session(&user, &refresh_token, now, expires_at)
            .await?;
        self.tokens(&user, &session, refresh_token, now).await
    }

    /// Signs in as the Invoice Generator's clients do: one token for a day, revocable like any.
    pub async fn login_basic(&self, email: &str, password: &str) -> Result<String, AuthError> {
        let (user, now) = self.check_login(email, password).await?;
        let expires_at = after(now, BASIC_TOKEN_TTL);
        // The refresh token is told to nobody: such a session can't be prolonged.
        let session = self
            .open_session(&user, &new_secret(), now, expires_at)
            .await?;
        let mut claims = Claims::new(user.id, user.organization, session.id, now, expires_at);
        claims.admin = Some(user.roles.iter().any(|role| role == roles::ADMINISTRATOR));
        claims.username = Some(user.email);
        Ok(self.inner.keys.sign(&claims, now).await?)
    }

    /// New tokens for a refresh token. A used one ends its session and all tokens made from it.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Tokens, AuthError> {
        let now = self.inner.clock.now();
        let next = new_secret();
        let refreshed = self
            .inner
            .store
            .refresh_session(&sha256_hex(refresh_token), &sha256_hex(&next), now)
            .await?;
        match refreshed {
            Refreshed::Rotated(session) => {
                let user = self
                    .inner
                    .store
                    .user(session.user)
                    .await?
                    .ok_or(BAD_REFRESH_TOKEN)?;
                self.tokens(&user, &session, next, now).await
            }
            Refreshed::Reused(session) => {
                self.forget_user(session.user).await;
                tracing::warn!(
                    session.id = %session.id, user.id = %session.user,
                    "a refresh token was used twice; its session was ended"
                );
                Err(BAD_REFRESH_TOKEN)
            }
            Refreshed::Unknown => Err(BAD_REFRESH_TOKEN),
        }
    }

    /// Whether it is the user's password. Wrong ones count as failed logins.
    pub async fn verify_password(&self, user: &User, password: &str) -> Result<bool, AuthError> {
        let now = self.inner.clock.now();
        self.verify_counted(&user.email, &user.password_hash, password, now)
            .await
    }

    pub(super) async fn check_login(
        &self,
        email: &str,
        password: &str,
    ) -> Result<(User, Timestamp), AuthError> {
        let email = normal_email(email);
        let now = self.inner.clock.now();
        if self.inner.passwords.in_flight() >= self.inner.max_in_flight {
            // In a storm not even the store is asked.
            return Err(busy());
        }
        let user = self.inner.store.user_by_email(&email).await?;
        let hash = user
            .as_ref()
            .map_or(UNKNOWN_USER_HASH, |user| user.password_hash.as_str());
        let right = self.verify_counted(&email, hash, password, now).await?;
        match user {
            Some(user) if right => Ok((user, now)),
            _ => Err(WRONG_CREDENTIALS),
        }
    }

    async fn verify_counted(
        &self,
        email: &str,
        hash: &str,
        password: &str,
        now: Timestamp,
    ) -> Result<bool, AuthError> {
        let attempt = self.inner.throttle.enter(email, now)?;
        let shared_attempt = self.begin_shared_login(email).await?;
        let task = PasswordTask::Verify {
            password: password.to_owned(),
            hash: hash.to_owned(),
        };
        match self.run(task).await? {
            PasswordOutcome::Verified(true) => {
                attempt.succeeded();
                shared_attempt.ended(LoginEnd::Succeeded).await;
            }
            PasswordOutcome::Verified(false) => {
                attempt.failed(now);
                shared_attempt.ended(LoginEnd::Failed).await;
                return Ok(false);
            }
            PasswordOutcome::Hash(_) => return Err(AuthError::Crashed),
        }
        Ok(true)
    }

    pub(super) async fn open_session(
        &self,
        user: &User,
        refresh_token: &str,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Session, AuthError> {
        let session = Session {
            id: SessionId::new(clock::new_uuid()),
            user: user.id,
            refresh_hash: sha256_hex(refresh_token),
            created_at: now,
            expires_at,
            revoked_at: None,
        };
        self.inner.store.insert_session(&session).await?;
        // The password may have been changed while it was checked; that ended only the sessions
        // that were there.
        let unchanged = self
            .inner
            .store
            .user(user.id)
            .await?
            .is_some_and(|present| present.password_hash == user.password_hash);
        if unchanged {
            Ok(session)
        } else {
            self.inner.store.revoke_session(session.id, now).await?;
            Err(WRONG_CREDENTIALS)
        }
    }

    async fn tokens(
        &self,
        user: &User,
        session: &Session,
        refresh_token: String,
        now: Timestamp,
    ) -> Result<Tokens, AuthError> {
        let expires_at = after(now, self.inner.access_ttl).min(session.expires_at);
        let claims = Claims::new(user.id, user.organization, session.id, now, expires_at);
        let access_token = self.inner.keys.sign(&claims, now).await?;
        self.introduce(&access_token).await;
        let expires_in_s = expires_at.duration_since(now).as_secs();
        Ok(Tokens {
            access_token,
            expires_in_s: u64::try_from(expires_in_s).unwrap_or(0),
            refresh_token,
        })
    }
}

fn after(now: Timestamp, duration: SignedDuration) -> Timestamp {
    now.checked_add(duration).unwrap_or(Timestamp::MAX)
}
