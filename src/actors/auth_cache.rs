//! Who is calling: passwords, tokens and keys, checked off the reactor's threads, with a cache.

use std::sync::Arc;

use crate::domain::ids::{OrganizationId, SessionId, UserId};
use crate::domain::invoice::command::Initiator;
use crate::domain::permission::Permissions;
use crate::store::StoreError;

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
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks callers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuthHandle {}

impl AuthHandle {
    /// Who sent this bearer token (access token or API key).
    pub async fn authenticate(&self, bearer: &str) -> Result<Arc<Caller>, AuthError> {
        let _ = bearer;
        Err(AuthError::Unauthenticated { detail: "not built yet" })
    }
}
