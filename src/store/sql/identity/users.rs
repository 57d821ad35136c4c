//! Users.

use futures_util::TryStreamExt;
use sqlx::sqlite::{Sqlite, SqliteConnection, SqliteRow};
use sqlx::{Executor, QueryBuilder};

use super::super::columns::{Columns, id_bytes, integer, json_text, micros};
use super::super::directory::one_row;
use super::super::error::fault;
use super::super::writer::BoundQuery;
use super::super::{SqliteStore, page};
use crate::domain::ids::{OrganizationId, UserId};
use crate::store::{ADMINISTRATOR, Page, PageRequest, StoreError, User};

pub(in super::super) fn insert(user: &User) -> Result<BoundQuery, StoreError> {
    Ok(sqlx::query(
        "INSERT INTO users (id, organization, version, first_name, last_name, email, roles, \
         password_hash, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         ON CONFLICT (email) DO NOTHING",
    )
    .bind(id_bytes(user.id.uuid()))
    .bind(id_bytes(user.organization.uuid()))
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

pub(super) async fn any(store: &SqliteStore) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT 1 FROM users LIMIT 1")
        .fetch_optional(&store.reader)
        .await
        .map_err(fault)?;
    Ok(row.is_some())
}

pub(super) async fn update(store: &SqliteStore, user: &User) -> Result<(), StoreError> {
    let update = sqlx::query(
        "UPDATE users SET version = $3, first_name = $4, last_name = $5, email = $6, roles = $7, \
         password_hash = $8, updated_at = $9 \
         WHERE id = $1 AND organization = $2 AND version = $3 - 1",
    )
    .bind(id_bytes(user.id.uuid()))
    .bind(id_bytes(user.organization.uuid()))
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
        .writer
        .transaction(move |connection| {
            Box::pin(async move {
                let was = !stays_administrator && is_administrator(connection, id).await?;
                let touched = update
                    .execute(&mut *connection)
                    .await
                    .map_err(email_taken)?;
                one_row(touched.rows_affected())?;
                if was {
                    keep_an_administrator(connection, organization).await
                } else {
                    Ok(())
                }
            })
        })
        .await
}

pub(super) async fn delete(
    store: &SqliteStore,
    organization: OrganizationId,
    id: UserId,
) -> Result<bool, StoreError> {
    let delete = sqlx::query("DELETE FROM users WHERE id = $1 AND organization = $2")
        .bind(id_bytes(id.uuid()))
        .bind(id_bytes(organization.uuid()));
    store
        .writer
        .transaction(move |connection| {
            Box::pin(async move {
                let was = is_administrator(connection, id).await?;
                let touched = delete.execute(&mut *connection).await.map_err(fault)?;
                let deleted = touched.rows_affected() == 1;
                if was && deleted {
                    keep_an_administrator(connection, organization).await?;
                }
                Ok(deleted)
            })
        })
        .await
}

async fn is_administrator(
    connection: &mut SqliteConnection,
    id: UserId,
) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT roles FROM users WHERE id = $1")
        .bind(id_bytes(id.uuid()))
        .fetch_optional(connection)
        .await
        .map_err(fault)?;
    let roles: Vec<String> = row
        .map(|row| row.json("roles"))
        .transpose()?
        .unwrap_or_default();
    Ok(roles.iter().any(|role| role == ADMINISTRATOR))
}

/// Refuses what would lock everybody out. Stands in the transaction of the change, so that two
/// administrators who remove each other do not both succeed.
async fn keep_an_administrator(
    connection: &mut SqliteConnection,
    organization: OrganizationId,
) -> Result<(), StoreError> {
    if count_with_role(connection, organization, ADMINISTRATOR).await? == 0 {
        return Err(StoreError::LastAdministrator);
    }
    Ok(())
}

/// Reads every user of the organization: asked for only when a role is taken away.
pub(super) async fn count_with_role<'e>(
    executor: impl Executor<'e, Database = Sqlite>,
    organization: OrganizationId,
    role: &str,
) -> Result<u64, StoreError> {
    let mut rows = sqlx::query("SELECT roles FROM users WHERE organization = $1")
        .bind(id_bytes(organization.uuid()))
        .fetch(executor);
    let mut count = 0;
    while let Some(row) = rows.try_next().await.map_err(fault)? {
        let roles: Vec<String> = row.json("roles")?;
        count += u64::from(roles.iter().any(|held| held == role));
    }
    Ok(count)
}

pub(super) async fn by_id(store: &SqliteStore, id: UserId) -> Result<Option<User>, StoreError> {
    let row = sqlx::query("SELECT * FROM users WHERE id = $1")
        .bind(id_bytes(id.uuid()))
        .fetch_optional(&store.reader)
        .await
        .map_err(fault)?;
    row.as_ref().map(user).transpose()
}

pub(super) async fn by_email(store: &SqliteStore, email: &str) -> Result<Option<User>, StoreError> {
    let row = sqlx::query("SELECT * FROM users WHERE email = $1")
        .bind(email.to_owned())
        .fetch_optional(&store.reader)
        .await
        .map_err(fault)?;
    row.as_ref().map(user).transpose()
}

pub(super) async fn list(
    store: &SqliteStore,
    organization: OrganizationId,
    page: &PageRequest<UserId>,
) -> Result<Page<User>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM users WHERE organization = ");
    query.push_bind(id_bytes(organization.uuid()));
    if let Some(after) = page.starting_after {
        let created_at: Option<i64> =
            sqlx::query_scalar("SELECT created_at FROM users WHERE id = $1 AND organization = $2")
                .bind(id_bytes(after.uuid()))
                .bind(id_bytes(organization.uuid()))
                .fetch_optional(&store.reader)
                .await
                .map_err(fault)?;
        let Some(created_at) = created_at else {
            return Ok(page::empty());
        };
        page::push_after(&mut query, created_at, after.uuid());
    }
    page::push_newest_first(&mut query, page.limit);
    let rows = query
        .build()
        .fetch_all(&store.reader)
        .await
        .map_err(fault)?;
    page::cut(&rows, page.limit, user)
}

fn user(row: &SqliteRow) -> Result<User, StoreError> {
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

/// The only unique field that an update changes.
fn email_taken(error: sqlx::Error) -> StoreError {
    match error.as_database_error() {
        Some(database) if database.is_unique_violation() => StoreError::Taken { field: "email" },
        _ => fault(error),
    }
}
