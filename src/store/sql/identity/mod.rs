//! Users, roles, keys and sessions: one file per table.

use async_trait::async_trait;
use jiff::Timestamp;

use super::SqlStore;
use crate::domain::ids::{ApiKeyId, OrganizationId, SessionId, UserId};
use crate::store::{
    ApiKey, IdentityStore, Page, PageRequest, Refreshed, Role, Session, SigningKey, StoreError,
    User,
};

mod api_keys;
mod roles;
mod sessions;
mod signing_keys;
mod users;

pub(super) use users::{email_was_free, insert as insert_user};

#[async_trait]
impl IdentityStore for SqlStore {
    async fn any_user(&self) -> Result<bool, StoreError> {
        users::any(self).await
    }

    async fn insert_user(&self, user: &User) -> Result<(), StoreError> {
        email_was_free(self.database.execute(insert_user(user)?).await?)
    }

    async fn update_user(&self, user: &User) -> Result<(), StoreError> {
        users::update(self, user).await
    }

    async fn delete_user(
        &self,
        organization: OrganizationId,
        id: UserId,
    ) -> Result<bool, StoreError> {
        users::delete(self, organization, id).await
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        users::by_id(self, id).await
    }

    async fn user_by_email(&self, email: &str) -> Result<Option<User>, StoreError> {
        users::by_email(self, email).await
    }

    async fn users(
        &self,
        organization: OrganizationId,
        page: &PageRequest<UserId>,
    ) -> Result<Page<User>, StoreError> {
        users::list(self, organization, page).await
    }

    async fn users_with_role(
        &self,
        organization: OrganizationId,
        role: &str,
    ) -> Result<u64, StoreError> {
        users::with_role(self, organization, role).await
    }

    async fn roles(&self, organization: OrganizationId) -> Result<Vec<Role>, StoreError> {
        roles::list(self, organization).await
    }

    async fn insert_role(&self, role: &Role) -> Result<(), StoreError> {
        roles::insert(self, role).await
    }

    async fn update_role(&self, role: &Role) -> Result<(), StoreError> {
        roles::update(self, role).await
    }

    async fn delete_role(
        &self,
        organization: OrganizationId,
        name: &str,
    ) -> Result<bool, StoreError> {
        roles::delete(self, organization, name).await
    }

    async fn insert_api_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        api_keys::insert(self, key).await
    }

    async fn api_key_by_hash(&self, secret_hash: &str) -> Result<Option<ApiKey>, StoreError> {
        api_keys::by_hash(self, secret_hash).await
    }

    async fn api_key(
        &self,
        organization: OrganizationId,
        id: ApiKeyId,
    ) -> Result<Option<ApiKey>, StoreError> {
        api_keys::by_id(self, organization, id).await
    }

    async fn api_keys(
        &self,
        organization: OrganizationId,
        page: &PageRequest<ApiKeyId>,
    ) -> Result<Page<ApiKey>, StoreError> {
        api_keys::list(self, organization, page).await
    }

    async fn touch_api_key(&self, id: ApiKeyId, at: Timestamp) -> Result<(), StoreError> {
        api_keys::touch(self, id, at).await
    }

    async fn revoke_api_key(
        &self,
        organization: OrganizationId,
        id: ApiKeyId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        api_keys::revoke(self, organization, id, at).await
    }

    async fn insert_session(&self, session: &Session) -> Result<(), StoreError> {
        sessions::insert(self, session).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        sessions::by_id(self, id).await
    }

    async fn refresh_session(
        &self,
        presented_hash: &str,
        next_hash: &str,
        now: Timestamp,
    ) -> Result<Refreshed, StoreError> {
        sessions::refresh(self, presented_hash.to_owned(), next_hash.to_owned(), now).await
    }

    async fn revoke_session(&self, id: SessionId, at: Timestamp) -> Result<(), StoreError> {
        sessions::revoke(self, id, at).await
    }

    async fn revoke_sessions_of(
        &self,
        user: UserId,
        at: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError> {
        sessions::revoke_all_of(self, user, at).await
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        signing_keys::list(self).await
    }

    async fn insert_signing_key(&self, key: &SigningKey) -> Result<(), StoreError> {
        signing_keys::insert(self, key).await
    }

    async fn retire_signing_keys(
        &self,
        except: &str,
        at: Timestamp,
        delete_before: Timestamp,
    ) -> Result<(), StoreError> {
        signing_keys::retire(self, except.to_owned(), at, delete_before).await
    }
}
