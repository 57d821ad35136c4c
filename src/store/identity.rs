//! Users, roles, keys and sessions.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Page, PageRequest, StoreError};
use crate::domain::ids::{ApiKeyId, OrganizationId, SessionId, UserId};
use crate::domain::permission::Permissions;

/// A person who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub organization: OrganizationId,
    pub version: u64,
    pub first_name: String,
    pub last_name: String,
    /// Lowercase; unique over all organizations, because it is what one signs in with.
    pub email: String,
    /// Names of roles of the organization.
    pub roles: Vec<String>,
    /// A PHC string (argon2id).
    pub password_hash: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The built-in role that holds every permission.
pub const ADMINISTRATOR: &str = "administrator";

/// A named set of permissions. `administrator` and `accountant` are built in and not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub organization: OrganizationId,
    pub name: String,
    pub permissions: Permissions,
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A key for programs. Only the hash of its secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub organization: OrganizationId,
    pub name: String,
    pub roles: Vec<String>,
    /// SHA-256 of the whole secret, lowercase hexadecimal.
    pub secret_hash: String,
    /// The first characters, for people to recognize it.
    pub prefix: String,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// A login: the chain of refresh tokens, each usable once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user: UserId,
    /// SHA-256 of the present refresh token, lowercase hexadecimal.
    pub refresh_hash: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// A key that signs access tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The token's `kid`.
    pub id: String,
    /// PKCS #8, DER.
    pub private_der: Vec<u8>,
    pub public_der: Vec<u8>,
    pub created_at: Timestamp,
    /// Signs no more after this; still verifies until tokens it signed have expired.
    pub retired_at: Option<Timestamp>,
}

/// How a refresh token was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    /// The token was the present one; it has been replaced.
    Rotated(Session),
    /// An older token of the chain: the whole chain has been revoked.
    Reused(Session),
    /// Expired, revoked or never issued.
    Unknown,
}

/// Users, roles, keys and sessions.
#[async_trait]
pub trait IdentityStore: Send + Sync + 'static {
    async fn any_user(&self) -> Result<bool, StoreError>;
    /// `Taken { field: "email" }` when the address is in use.
    async fn insert_user(&self, user: &User) -> Result<(), StoreError>;
    /// Conditional on `user.version - 1`. Refuses with `Conflict`, `Taken`, or `LastAdministrator`.
    async fn update_user(&self, user: &User) -> Result<(), StoreError>;
    /// False when there is no such user; refuses with `LastAdministrator`. Sessions stay until
    /// they are revoked.
    async fn delete_user(
        &self,
        organization: OrganizationId,
        id: UserId,
    ) -> Result<bool, StoreError>;
    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError>;
    async fn user_by_email(&self, email: &str) -> Result<Option<User>, StoreError>;
    async fn users(
        &self,
        organization: OrganizationId,
        page: &PageRequest<UserId>,
    ) -> Result<Page<User>, StoreError>;
    /// How many users hold the role.
    async fn users_with_role(
        &self,
        organization: OrganizationId,
        role: &str,
    ) -> Result<u64, StoreError>;

    /// The organization's own roles, by name.
    async fn roles(&self, organization: OrganizationId) -> Result<Vec<Role>, StoreError>;
    /// `Taken { field: "name" }` when it exists.
    async fn insert_role(&self, role: &Role) -> Result<(), StoreError>;
    /// Conditional on `role.version - 1`.
    async fn update_role(&self, role: &Role) -> Result<(), StoreError>;
    async fn delete_role(
        &self,
        organization: OrganizationId,
        name: &str,
    ) -> Result<bool, StoreError>;

    async fn insert_api_key(&self, key: &ApiKey) -> Result<(), StoreError>;
    async fn api_key_by_hash(&self, secret_hash: &str) -> Result<Option<ApiKey>, StoreError>;
    async fn api_key(
        &self,
        organization: OrganizationId,
        id: ApiKeyId,
    ) -> Result<Option<ApiKey>, StoreError>;
    async fn api_keys(
        &self,
        organization: OrganizationId,
        page: &PageRequest<ApiKeyId>,
    ) -> Result<Page<ApiKey>, StoreError>;
    /// Notes that a key was used. Costs a write: not to be called for every request.
    async fn touch_api_key(&self, id: ApiKeyId, at: Timestamp) -> Result<(), StoreError>;
    /// False when there is no such key; revoking twice is fine.
    async fn revoke_api_key(
        &self,
        organization: OrganizationId,
        id: ApiKeyId,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    async fn insert_session(&self, session: &Session) -> Result<(), StoreError>;
    async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError>;
    /// Replaces the present refresh token, in one transaction; an older one of the chain revokes it.
    async fn refresh_session(
        &self,
        presented_hash: &str,
        next_hash: &str,
        now: Timestamp,
    ) -> Result<Refreshed, StoreError>;
    async fn revoke_session(&self, id: SessionId, at: Timestamp) -> Result<(), StoreError>;
    /// Ends all sessions of a user (password changed, user deleted); returns them.
    async fn revoke_sessions_of(
        &self,
        user: UserId,
        at: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError>;

    /// All keys, newest first.
    async fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError>;
    async fn insert_signing_key(&self, key: &SigningKey) -> Result<(), StoreError>;
    /// Retires every key but `except`, and deletes those retired before `delete_before`.
    async fn retire_signing_keys(
        &self,
        except: &str,
        at: Timestamp,
        delete_before: Timestamp,
    ) -> Result<(), StoreError>;
}
