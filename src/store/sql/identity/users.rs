//! Users.

use super::super::columns::{Row, integer, json_text, micros};
use super::super::database::Connection;
use super::super::directory::one_row;
use super::super::statement::Statement;
use super::super::{SqlStore, page};
use crate::domain::ids::{OrganizationId, UserId};
use crate::store::{ADMINISTRATOR, Page, PageRequest, StoreError, User};

/// Every column by name: a statement that said `*` would fail on connections that prepared it before
/// another node's migration added a column.
const COLUMNS: &str = "id, organization, version, first_name, last_name, email, roles, \
    password_hash, created_at, updated_at";

pub(in super::super) fn insert(user: &User) -> Result<Statement, StoreError> {
    Ok(Statement::new(
        "INSERT INTO users (id, organization, version, first_name, last_name, email, roles, \
         password_hash, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         ON CONFLICT (email) DO NOTHING",
    )
    .bind(user.id.uuid())
    .bind(user.organization.uuid())
    .bind(integer(user.version))
    .bind(user.first_name.clone())
    .bind(user.last_name.clone())
    .bind(user.email.clone())
    .bind(json_text(&user.roles)?)
    .bind(user.password_hash.clone())
    .bind(micros(user.created_at))
    .bind(micros(user.updated_at)))
}

/// What the number of inserted rows means.
pub(in super::super) const fn email_was_free(inserted: u64) -> Result<(), StoreError> {
    if inserted == 1 {
        Ok(())
    } else {
        Err(StoreError::Taken { field: "email" })
    }
}

pub(super) async fn any(store: &SqlStore) -> Result<bool, StoreError> {
    let statement = Statement::new("SELECT 1 FROM users LIMIT 1");
    let row = store.database.fetch_optional(&statement).await?;
    Ok(row.is_some())
}

pub(super) async fn update(store: &SqlStore, user: &User) -> Result<(), StoreError> {
    let update = Statement::new(
        "UPDATE users SET version = $3, first_name = $4, last_name = $5, email = $6, roles = $7, \
         password_hash = $8, updated_at = $9 \
         WHERE id = $1 AND organization = $2 AND version = $3 - 1",
    )
    .bind(user.id.uuid())
    .bind(user.organization.uuid())
    .bind(integer(user.version))
    .bind(user.first_name.clone())
    .bind(user.last_name.clone())
    .bind(user.email.clone())
    .bind(json_text(&user.roles)?)
    .bind(user.password_hash.clone())
    .bind(micros(user.updated_at));
    let (organization, id) = (user.organization, user.id);
    let stays_administrator = user.roles.iter().any(|role| role == ADMINISTRATOR);
    store
        .database
        .transaction(update, move |connection, update| {
            Box::pin(async move {
                if stays_administrator {
                    return change(connection, update).await;
                }
                connection.lock_organization(organization.uuid()).await?;
                let was = is_administrator(connection, id).await?;
                change(connection, update).await?;
                if was {
                    keep_an_administrator(connection, organization).await
                } else {
                    Ok(())
                }
            })
        })
        .await
}

async fn change(connection: &mut Connection<'_>, update: &Statement) -> Result<(), StoreError> {
    let touched = connection
        .execute(update)
        .await
        .map_err(|error| match error {
            // The only unique field that an update changes.
            StoreError::Conflict => StoreError::Taken { field: "email" },
            other => other,
        })?;
    one_row(touched)
}

pub(super) async fn delete(
    store: &SqlStore,
    organization: OrganizationId,
    id: UserId,
) -> Result<bool, StoreError> {
    let delete = Statement::new("DELETE FROM users WHERE id = $1 AND organization = $2")
        .bind(id.uuid())
        .bind(organization.uuid());
    store
        .database
        .transaction(delete, move |connection, delete| {
            Box::pin(async move {
                connection.lock_organization(organization.uuid()).await?;
                let was = is_administrator(connection, id).await?;
                let deleted = connection.execute(delete).await? == 1;
                if was && deleted {
                    keep_an_administrator(connection, organization).await?;
                }
                Ok(deleted)
            })
        })
        .await
}

async fn is_administrator(connection: &mut Connection<'_>, id: UserId) -> Result<bool, StoreError> {
    let statement = Statement::new("SELECT roles FROM users WHERE id = $1").bind(id.uuid());
    let row = connection.fetch_optional(&statement).await?;
    let roles: Vec<String> = row
        .map(|row| row.json("roles"))
        .transpose()?
        .unwrap_or_default();
    Ok(roles.iter().any(|role| role == ADMINISTRATOR))
}

/// Refuses what would lock everybody out. Stands in the transaction of the change, behind
/// the organization's lock, so that two administrators who remove each other do not both succeed.
async fn keep_an_administrator(
    connection: &mut Connection<'_>,
    organization: OrganizationId,
) -> Result<(), StoreError> {
    let users = connection.fetch_all(&roles_of_users(organization)).await?;
    if count_with_role(&users, ADMINISTRATOR)? == 0 {
        return Err(StoreError::LastAdministrator);
    }
    Ok(())
}

/// Reads every user of the organization: asked for only when a role is taken away.
pub(super) async fn with_role(
    store: &SqlStore,
    organization: OrganizationId,
    role: &str,
) -> Result<u64, StoreError> {
    let users = store
        .database
        .fetch_all(&roles_of_users(organization))
        .await?;
    count_with_role(&users, role)
}

fn roles_of_users(organization: OrganizationId) -> Statement {
    Statement::new("SELECT roles FROM users WHERE organization = $1").bind(organization.uuid())
}

fn count_with_role(users: &[Row], role: &str) -> Result<u64, StoreError> {
    let mut count = 0;
    for user in users {
        let roles: Vec<String> = user.json("roles")?;
        count += u64::from(roles.iter().any(|held| held == role));
    }
    Ok(count)
}

pub(super) async fn by_id(store: &SqlStore, id: UserId) -> Result<Option<User>, StoreError> {
    let statement = Statement::new("SELECT ")
        .and(COLUMNS)
        .and(" FROM users WHERE id = $1")
        .bind(id.uuid());
    let row = store.database.fetch_optional(&statement).await?;
    row.as_ref().map(user).transpose()
}

pub(super) async fn by_email(store: &SqlStore, email: &str) -> Result<Option<User>, StoreError> {
    let statement = Statement::new("SELECT ")
        .and(COLUMNS)
        .and(" FROM users WHERE email = $1")
        .bind(email.to_owned());
    let row = store.database.fetch_optional(&statement).await?;
    row.as_ref().map(user).transpose()
}

pub(super) async fn list(
    store: &SqlStore,
    organization: OrganizationId,
    page: &PageRequest<UserId>,
) -> Result<Page<User>, StoreError> {
    let mut statement = Statement::new("SELECT ")
        .and(COLUMNS)
        .and(" FROM users WHERE organization = ");
    statement.push_bind(organization.uuid());
    if let Some(after) = page.starting_after {
        let start =
            Statement::new("SELECT created_at FROM users WHERE id = $1 AND organization = $2")
                .bind(after.uuid())
                .bind(organization.uuid());
        let Some(start) = store.database.fetch_optional(&start).await? else {
            return Ok(page::empty());
        };
        let created_at = start.integer("created_at")?;
        page::push_after(&mut statement, created_at, after.uuid());
    }
    page::push_newest_first(&mut statement, page.limit);
    let rows = store.database.fetch_all(&statement).await?;
    page::cut(&rows, page.limit, user)
}

fn user(row: &Row) -> Result<User, StoreError> {
    Ok(User {
        id: UserId::new(row.id("id")?),
        organization: OrganizationId::new(row.id("organization")?),
        version: row.unsigned("version")?,
        first_name: row.text("first_name")?,
        last_name: row.text("last_name")?,
        email: row.text("email")?,
        roles: row.json("roles")?,
        password_hash: row.text("password_hash")?,
        created_at: row.timestamp("created_at")?,
        updated_at: row.timestamp("updated_at")?,
    })
}
