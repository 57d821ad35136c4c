//! Organizations and users as they come to be: by the set-up page, the environment and the command
//! line. There is no default password.

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::password::{self, HashingFailed};
use super::{normal_email, roles};
use crate::clock::{self, Clock};
use crate::domain::ids::{OrganizationId, UserId};
use crate::domain::invoice::validate::is_email;
use crate::domain::limits;
use crate::domain::money::Currency;
use crate::domain::party::{Issuer, Locale, MailTexts, Organization, PageSize, Rounding};
use crate::domain::problem::{Problem, Problems};
use crate::domain::tax::Tax;
use crate::store::{DirectoryStore, StoreError, Stores, User};

/// The variables that make the first administrator when the node starts without users.
pub const ADMIN_EMAIL: &str = "FAKTOR_ADMIN_EMAIL";
pub const ADMIN_PASSWORD: &str = "FAKTOR_ADMIN_PASSWORD";
/// Optional, beside the other two.
pub const ORGANIZATION_NAME: &str = "FAKTOR_ORGANIZATION_NAME";

/// A person, before there is a user.
#[derive(Clone, Default)]
pub struct Person {
    pub first_name: String,
    pub last_name: String,
    pub email: String,
    pub password: String,
}

/// Why there is no such account now. Every one is a sentence to show.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccountError {
    #[error("{}", sentences(.problems))]
    Invalid { problems: Vec<Problem> },
    #[error("the e-mail address is already in use")]
    EmailTaken,
    #[error("there is no user with this e-mail address")]
    NoSuchUser,
    #[error("there is no such organization")]
    NoSuchOrganization,
    #[error("there is no role {name}; use administrator, accountant or a role of the organization")]
    NoSuchRole { name: String },
    #[error("{given} is set but {missing} is not; set both to make the first administrator")]
    Incomplete {
        given: &'static str,
        missing: &'static str,
    },
    #[error("the set-up link is not valid, or was used")]
    SetupClosed,
    #[error(transparent)]
    Hashing(#[from] HashingFailed),
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for AccountError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Taken { field: "email" } => Self::EmailTaken,
            error => Self::Store(error),
        }
    }
}

fn sentences(problems: &[Problem]) -> String {
    let sentences: Vec<_> = problems
        .iter()
        .map(|problem| format!("{}: {}", problem.param, problem.detail))
        .collect();
    sentences.join("; ")
}

impl Person {
    /// The rules for every user, however it is made.
    pub fn check(&self, problems: &mut Problems) {
        check_name("first_name", &self.first_name, problems);
        check_name("last_name", &self.last_name, problems);
        check_email("email", &self.email, problems);
        check_password("password", &self.password, problems);
    }

    fn checked(&self) -> Result<(), AccountError> {
        let mut problems = Problems::new();
        self.check(&mut problems);
        problems
            .finish(())
            .map_err(|problems| AccountError::Invalid { problems })
    }
}

/// 1 to 200 characters, one line.
pub fn check_name(field: &str, name: &str, problems: &mut Problems) {
    if name.trim().is_empty() {
        problems.add(field, "required", "this field is required");
    } else if name.chars().count() > limits::NAME_CHARS {
        problems.add(
            field,
            "too_long",
            format!("at most {} characters", limits::NAME_CHARS),
        );
    } else if name.chars().any(char::is_control) {
        problems.add(
            field,
            "invalid_character",
            "one line without control characters",
        );
    }
}

/// An address as mail can reach it: `name@host`, at most 254 characters.
pub fn check_email(field: &str, email: &str, problems: &mut Problems) {
    if email.trim().is_empty() {
        problems.add(field, "required", "this field is required");
    } else if email.len() > limits::EMAIL_CHARS {
        problems.add(
            field,
            "too_long",
            format!("at most {} characters", limits::EMAIL_CHARS),
        );
    } else if !is_email(&normal_email(email)) {
        problems.add(
            field,
            "invalid_email",
            "expected an address such as name@example.com",
        );
    }
}

/// 12 to 200 characters, any.
pub fn check_password(field: &str, password: &str, problems: &mut Problems) {
    let chars = password.chars().count();
    if chars < password::MIN_CHARS {
        let detail = format!("at least {} characters", password::MIN_CHARS);
        problems.add(field, "too_short", detail);
    } else if chars > password::MAX_CHARS {
        problems.add(
            field,
            "too_long",
            format!("at most {} characters", password::MAX_CHARS),
        );
    }
}

/// A new organization with its first user, an administrator: both or neither.
pub async fn found(
    directory: &dyn DirectoryStore,
    now: Timestamp,
    organization_name: &str,
    person: &Person,
) -> Result<(Organization, User), AccountError> {
    let mut problems = Problems::new();
    check_name("organization_name", organization_name, &mut problems);
    person.check(&mut problems);
    problems
        .finish(())
        .map_err(|problems| AccountError::Invalid { problems })?;
    let organization = new_organization(organization_name, now);
    let hash = password::hash(person.password.clone()).await?;
    let roles = vec![roles::ADMINISTRATOR.to_owned()];
    let user = new_user(new_id(), organization.id, person, roles, hash, now);
    directory.found_organization(&organization, &user).await?;
    tracing::info!(
        organization.id = %organization.id, user.id = %user.id,
        "an organization was founded with its administrator"
    );
    Ok((organization, user))
}

/// Makes the first administrator as the environment says; nothing when there are users, or when it
/// says nothing. `read` gives a variable's value.
pub async fn found_from_environment(
    stores: &Stores,
    clock: &Clock,
    read: impl Fn(&str) -> Option<String>,
) -> Result<Option<User>, AccountError> {
    let read = |name| read(name).filter(|value| !value.is_empty());
    let (email, password) = match (read(ADMIN_EMAIL), read(ADMIN_PASSWORD)) {
        (None, None) => return Ok(None),
        (Some(email), Some(password)) => (email, password),
        (Some(_), None) => {
            return Err(AccountError::Incomplete {
                given: ADMIN_EMAIL,
                missing: ADMIN_PASSWORD,
            });
        }
        (None, Some(_)) => {
            return Err(AccountError::Incomplete {
                given: ADMIN_PASSWORD,
                missing: ADMIN_EMAIL,
            });
        }
    };
    let mut problems = Problems::new();
    check_email(ADMIN_EMAIL, &email, &mut problems);
    check_password(ADMIN_PASSWORD, &password, &mut problems);
    problems
        .finish(())
        .map_err(|problems| AccountError::Invalid { problems })?;
    if stores.identity.any_user().await? {
        return Ok(None);
    }
    let person = Person {
        first_name: "First".to_owned(),
        last_name: "Administrator".to_owned(),
        email,
        password,
    };
    let name = read(ORGANIZATION_NAME).unwrap_or_else(|| "My organization".to_owned());
    match found(stores.directory.as_ref(), clock.now(), &name, &person).await {
        Ok((_, user)) => Ok(Some(user)),
        // Another node with the same environment was started at the same moment.
        Err(AccountError::EmailTaken) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Adds a user to an organization.
pub async fn add_user(
    stores: &Stores,
    clock: &Clock,
    organization: OrganizationId,
    person: &Person,
    roles: Vec<String>,
) -> Result<User, AccountError> {
    person.checked()?;
    if stores.directory.organization(organization).await?.is_none() {
        return Err(AccountError::NoSuchOrganization);
    }
    let own = stores.identity.roles(organization).await?;
    let unknown = roles.iter().find(|name| !roles::exists(name, &own));
    if let Some(name) = unknown {
        return Err(AccountError::NoSuchRole { name: name.clone() });
    }
    let hash = password::hash(person.password.clone()).await?;
    let user = new_user(new_id(), organization, person, roles, hash, clock.now());
    stores.identity.insert_user(&user).await?;
    Ok(user)
}

/// Gives a user a new password and ends all its sessions.
pub async fn set_password(
    stores: &Stores,
    clock: &Clock,
    email: &str,
    password: &str,
) -> Result<(), AccountError> {
    let mut problems = Problems::new();
    check_password("password", password, &mut problems);
    problems
        .finish(())
        .map_err(|problems| AccountError::Invalid { problems })?;
    let email = normal_email(email);
    let user = stores.identity.user_by_email(&email).await?;
    let mut user = user.ok_or(AccountError::NoSuchUser)?;
    let now = clock.now();
    user.password_hash = password::hash(password.to_owned()).await?;
    user.version += 1;
    user.updated_at = now;
    stores.identity.update_user(&user).await?;
    stores.identity.revoke_sessions_of(user.id, now).await?;
    Ok(())
}

/// The organization of a user: where the command line adds another one beside.
pub async fn organization_of(stores: &Stores, email: &str) -> Result<OrganizationId, AccountError> {
    let user = stores.identity.user_by_email(&normal_email(email)).await?;
    user.map(|user| user.organization)
        .ok_or(AccountError::NoSuchUser)
}

/// A user as it is first stored.
pub fn new_user(
    id: UserId,
    organization: OrganizationId,
    person: &Person,
    roles: Vec<String>,
    password_hash: String,
    now: Timestamp,
) -> User {
    User {
        id,
        organization,
        version: 1,
        first_name: person.first_name.trim().to_owned(),
        last_name: person.last_name.trim().to_owned(),
        email: normal_email(&person.email),
        roles,
        password_hash,
        created_at: now,
        updated_at: now,
    }
}

fn new_id() -> UserId {
    UserId::new(clock::new_uuid())
}

fn new_organization(legal_name: &str, now: Timestamp) -> Organization {
    Organization {
        id: OrganizationId::new(clock::new_uuid()),
        version: 1,
        issuer: Issuer {
            legal_name: legal_name.trim().to_owned(),
            ..Issuer::default()
        },
        locale: Locale::En,
        page_size: PageSize::A4,
        currency: Currency::EUR,
        number_pattern: "{YYYY}-{0000}".to_owned(),
        due_in_days: 14,
        payment_terms: None,
        rounding: Rounding::PerRate,
        default_tax: Tax::standard(Decimal::from(19)),
        mail_texts: MailTexts::default(),
        created_at: now,
        updated_at: now,
    }
}
