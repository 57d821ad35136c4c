//! Keys for programs.

use jiff::Timestamp;

use super::super::columns::{Row, json_text, micros};
use super::super::statement::Statement;
use super::super::{SqlStore, page};
use crate::domain::ids::{ApiKeyId, OrganizationId};
use crate::store::{ApiKey, Page, PageRequest, StoreError};

/// Every column by name: a statement that said `*` would fail on connections that prepared it before
/// another node's migration added a column.
const COLUMNS: &str = "id, organization, name, roles, secret_hash, prefix, created_at, last_used_at, \
    revoked_at";

pub(super) async fn insert(store: &SqlStore, key: &ApiKey) -> Result<(), StoreError> {
    let insert = Statement::new(
        "INSERT INTO api_keys (id, organization, name, roles, secret_hash, prefix, created_at, \
         last_used_at, revoked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(key.id.uuid())
    .bind(key.organization.uuid())
    .bind(key.name.clone())
    .bind(json_text(&key.roles)?)
    .bind(key.secret_hash.clone())
    .bind(key.prefix.clone())
    .bind(micros(key.created_at))
    .bind(key.last_used_at.map(micros))
    .bind(key.revoked_at.map(micros));
    store.database.execute(insert).await.map(|_| ())
}

pub(super) async fn by_hash(
    store: &SqlStore,
    secret_hash: &str,
) -> Result<Option<ApiKey>, StoreError> {
    let statement = Statement::new("SELECT ")
        .and(COLUMNS)
        .and(" FROM api_keys WHERE secret_hash = $1")
        .bind(secret_hash.to_owned());
    let row = store.database.fetch_optional(&statement).await?;
    row.as_ref().map(api_key).transpose()
}

pub(super) async fn by_id(
    store: &SqlStore,
    organization: OrganizationId,
    id: ApiKeyId,
) -> Result<Option<ApiKey>, StoreError> {
    let statement = Statement::new("SELECT ")
        .and(COLUMNS)
        .and(" FROM api_keys WHERE id = $1 AND organization = $2")
        .bind(id.uuid())
        .bind(organization.uuid());
    let row = store.database.fetch_optional(&statement).await?;
    row.as_ref().map(api_key).transpose()
}

pub(super) async fn list(
    store: &SqlStore,
    organization: OrganizationId,
    page: &PageRequest<ApiKeyId>,
) -> Result<Page<ApiKey>, StoreError> {
    let mut statement = Statement::new("SELECT ")
        .and(COLUMNS)
        .and(" FROM api_keys WHERE organization = ");
    statement.push_bind(organization.uuid());
    if let Some(after) = page.starting_after {
        let Some(key) = by_id(store, organization, after).await? else {
            return Ok(page::empty());
        };
        page::push_after(&mut statement, micros(key.created_at), after.uuid());
    }
    page::push_newest_first(&mut statement, page.limit);
    let rows = store.database.fetch_all(&statement).await?;
    page::cut(&rows, page.limit, api_key)
}

pub(super) async fn touch(store: &SqlStore, id: ApiKeyId, at: Timestamp) -> Result<(), StoreError> {
    let update = Statement::new(
        "UPDATE api_keys SET last_used_at = $2 \
         WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)",
    )
    .bind(id.uuid())
    .bind(micros(at));
    store.database.execute(update).await.map(|_| ())
}

pub(super) async fn revoke(
    store: &SqlStore,
    organization: OrganizationId,
    id: ApiKeyId,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let update = Statement::new(
        "UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $3) \
         WHERE id = $1 AND organization = $2",
    )
    .bind(id.uuid())
    .bind(organization.uuid())
    .bind(micros(at));
    Ok(store.database.execute(update).await? == 1)
}

fn api_key(row: &Row) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: ApiKeyId::new(row.id("id")?),
        organization: OrganizationId::new(row.id("organization")?),
        name: row.text("name")?,
        roles: row.json("roles")?,
        secret_hash: row.text("secret_hash")?,
        prefix: row.text("prefix")?,
        created_at: row.timestamp("created_at")?,
        last_used_at: row.optional_timestamp("last_used_at")?,
        revoked_at: row.optional_timestamp("revoked_at")?,
    })
}
