//! Callers with a token of the trusted OpenID Connect issuer.
//!
//! What such a caller may do comes from the token's roles, at every look; who it is, from the user
//! that the token belongs to.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::accounts::{self, Person};
use super::cache::Scope;
use super::digest::Digest;
use super::{AuthError, AuthHandle, Caller, new_secret, password, roles};
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::invoice::command::Initiator;
use crate::domain::limits;
use crate::outbound::oidc::{Claimed, Issuer, TokenError, claims_issuer};
use crate::store::{StoreError, User};

const UNKNOWN_USER: AuthError = AuthError::unauthenticated(
    "no user has the token's e-mail address; an administrator can add one",
);
const NO_EMAIL: AuthError =
    AuthError::unauthenticated("the token has no e-mail address that its issuer has verified");
const OTHER_ORGANIZATION: AuthError =
    AuthError::unauthenticated("the token's user belongs to another organization");

/// What is trusted, and whom it lets in.
pub(super) struct Trusted {
    issuer: Issuer,
    /// None: any.
    organization: Option<OrganizationId>,
    create_users: bool,
    creating: Mutex<()>,
}

impl AuthHandle {
    /// Takes the tokens of an issuer, too, from now on; to be called once.
    ///
    /// Users belong to `organization` if one is given. With `create_users`, those that are not known
    /// yet are made there on first sight.
    pub fn trust(&self, issuer: Issuer, organization: Option<OrganizationId>, create_users: bool) {
        let trusted = Trusted {
            issuer,
            organization,
            create_users,
            creating: Mutex::new(()),
        };
        if self.inner.trusted.set(trusted).is_err() {
            tracing::error!("a second OpenID Connect issuer is not taken");
        }
    }

    /// The issuer, when the token says that it is of it.
    pub(super) fn trusted_for(&self, token: &str) -> Option<&Trusted> {
        let trusted = self.inner.trusted.get()?;
        (claims_issuer(token)? == trusted.issuer.name()).then_some(trusted)
    }

    pub(super) async fn look_up_issued(
        &self,
        trusted: &Trusted,
        token: &str,
        digest: Digest,
        now: Timestamp,
    ) -> Result<Arc<Caller>, AuthError> {
        let claimed = match trusted.issuer.verify(token, now).await {
            Ok(claimed) => claimed,
            Err(TokenError::Expired) => return Err(super::bearer::EXPIRED),
            Err(TokenError::Invalid(detail)) => return Err(AuthError::Unauthenticated { detail }),
            Err(error @ TokenError::Unavailable(_)) => {
                return Err(AuthError::Store(StoreError::Unavailable {
                    reason: error.to_string(),
                }));
            }
        };
        let id = self.user_of(trusted, &claimed, now).await?;
        let of_user = self.inner.cache.stamp(Scope::User(id));
        let user = self.inner.store.user(id).await?.ok_or(UNKNOWN_USER)?;
        if trusted
            .organization
            .is_some_and(|only| only != user.organization)
        {
            return Err(OTHER_ORGANIZATION);
        }
        let of_organization = self
            .inner
            .cache
            .stamp(Scope::Organization(user.organization));
        let own = self.inner.store.roles(user.organization).await?;
        let mut held = claimed.roles;
        held.retain(|name| roles::exists(name, &own));
        let permissions = self.permissions_of(user.organization, &held).await?;
        let caller = Arc::new(Caller {
            organization: user.organization,
            initiator: Initiator::User(user.id),
            user: Some(user.id),
            session: None,
            roles: held,
            permissions,
        });
        let stamps = [of_user, of_organization];
        self.inner.cache.insert(
            digest,
            Arc::clone(&caller),
            now,
            Some(claimed.expires_at),
            stamps,
        );
        Ok(caller)
    }

    /// The user that was made for this subject, or has its address.
    async fn user_of(
        &self,
        trusted: &Trusted,
        claimed: &Claimed,
        now: Timestamp,
    ) -> Result<UserId, AuthError> {
        let id = user_id(trusted.issuer.name(), &claimed.subject);
        if let Some(known) = self.known(id, claimed).await? {
            return Ok(known);
        }
        let email = claimed.email.as_deref().ok_or(NO_EMAIL)?;
        let Some(organization) = trusted.organization.filter(|_| trusted.create_users) else {
            return Err(UNKNOWN_USER);
        };
        // One at a time: the first of many requests makes the user, the others find it.
        let _turn = trusted.creating.lock().await;
        if let Some(known) = self.known(id, claimed).await? {
            return Ok(known);
        }
        let user = new_user(id, organization, email, claimed, now).await?;
        match self.inner.store.insert_user(&user).await {
            Ok(()) => {
                tracing::info!(
                    user.id = %id, organization.id = %organization,
                    "a user of the OpenID Connect issuer was made"
                );
                Ok(id)
            }
            // Another node was first.
            Err(StoreError::Taken { .. }) => self.known(id, claimed).await?.ok_or(UNKNOWN_USER),
            Err(error) => Err(error.into()),
        }
    }

    async fn known(&self, id: UserId, claimed: &Claimed) -> Result<Option<UserId>, StoreError> {
        if self.inner.store.user(id).await?.is_some() {
            return Ok(Some(id));
        }
        let Some(email) = claimed.email.as_deref() else {
            return Ok(None);
        };
        let by_email = self.inner.store.user_by_email(email).await?;
        Ok(by_email.map(|user| user.id))
    }
}

/// The same for the same subject in every node, and for no other subject.
fn user_id(issuer: &str, subject: &str) -> UserId {
    let issuer = Uuid::new_v5(&Uuid::NAMESPACE_URL, issuer.as_bytes());
    UserId::new(Uuid::new_v5(&issuer, subject.as_bytes()))
}

/// Nobody knows its password: it signs in at the issuer, until an administrator gives it one.
async fn new_user(
    id: UserId,
    organization: OrganizationId,
    email: &str,
    claimed: &Claimed,
    now: Timestamp,
) -> Result<User, AuthError> {
    let hash = password::hash(new_secret())
        .await
        .map_err(|_| AuthError::Crashed)?;
    let local_part = email.split('@').next().unwrap_or(email);
    let person = Person {
        first_name: name(claimed.first_name.as_deref(), local_part),
        last_name: name(claimed.last_name.as_deref(), "-"),
        email: email.to_owned(),
        password: String::new(),
    };
    let mut problems = crate::domain::problem::Problems::new();
    accounts::check_email("email", email, &mut problems);
    problems.finish(()).map_err(|_| NO_EMAIL)?;
    // Its roles are the token's.
    Ok(accounts::new_user(
        id,
        organization,
        &person,
        Vec::new(),
        hash,
        now,
    ))
}

/// A name as a user may have it, from what the issuer says.
fn name(claimed: Option<&str>, otherwise: &str) -> String {
    let clean: String = claimed
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(limits::NAME_CHARS)
        .collect();
    match clean.trim() {
        "" => otherwise.to_owned(),
        clean => clean.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_one_user_for_ever_and_of_its_issuer_only() {
        let id = user_id("https://a.example", "ada");
        assert_eq!(id, user_id("https://a.example", "ada"));
        assert_ne!(id, user_id("https://b.example", "ada"));
        assert_ne!(id, user_id("https://a.example", "bob"));
        // It is stored: a change would lose every user.
        assert_eq!(id.to_string(), "usr_d1331d9854045d1497d06379eea4ab25");
    }

    #[test]
    fn a_name_from_outside_is_made_fit() {
        assert_eq!(name(Some("Ada\nB"), "x"), "Ada B");
        assert_eq!(name(Some("  "), "x"), "x");
        assert_eq!(name(None, "x"), "x");
        assert_eq!(
            name(Some(&"é".repeat(500)), "x").chars().count(),
            limits::NAME_CHARS
        );
    }
}
