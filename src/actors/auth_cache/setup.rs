//! The first start: a link, kept in memory only, that makes the first administrator once.

use subtle::ConstantTimeEq as _;
use tokio::sync::Mutex;

use super::accounts::{self, AccountError, Person};
use super::{AuthHandle, new_secret};
use crate::domain::party::Organization;
use crate::store::{StoreError, User};

/// The token of the set-up link, while there is one.
#[derive(Default)]
pub(super) struct SetupLink {
    token: Mutex<Option<String>>,
}

impl AuthHandle {
    /// The token of the set-up link, made when there is no user; `None` when there is one.
    pub async fn open_setup(&self) -> Result<Option<String>, StoreError> {
        let mut token = self.inner.setup.token.lock().await;
        if self.inner.store.any_user().await? {
            *token = None;
        } else if token.is_none() {
            *token = Some(new_secret());
        }
        Ok(token.clone())
    }

    /// Whether the link with this token still leads somewhere.
    pub async fn setup_is_open(&self, token: &str) -> Result<bool, StoreError> {
        let open = self.inner.setup.token.lock().await;
        Ok(is(open.as_deref(), token) && !self.inner.store.any_user().await?)
    }

    /// Makes the organization and its administrator; the link ends with it.
    pub async fn set_up(
        &self,
        token: &str,
        organization_name: &str,
        person: &Person,
    ) -> Result<(Organization, User), AccountError> {
        // Held until the end, so that the link is good for one organization only.
        let mut open = self.inner.setup.token.lock().await;
        if !is(open.as_deref(), token) {
            return Err(AccountError::SetupClosed);
        }
        if self.inner.store.any_user().await? {
            *open = None;
            return Err(AccountError::SetupClosed);
        }
        let now = self.inner.clock.now();
        let directory = self.inner.directory.as_ref();
        let founded = accounts::found(directory, now, organization_name, person).await?;
        *open = None;
        Ok(founded)
    }
}

fn is(open: Option<&str>, token: &str) -> bool {
    open.is_some_and(|open| bool::from(open.as_bytes().ct_eq(token.as_bytes())))
}
