//! Roles of an organization's own.

use super::super::SqlStore;
use super::super::columns::{Row, integer, json_text, micros};
use super::super::directory::one_row;
use super::super::statement::Statement;
use crate::domain::ids::OrganizationId;
use crate::domain::permission::Permission;
use crate::store::{Role, StoreError};

/// Every column by name: a statement that said `*` would fail on connections that prepared it before
/// another node's migration added a column.
const COLUMNS: &str = "organization, name, permissions, version, created_at, updated_at";

pub(super) async fn list(
    store: &SqlStore,
    organization: OrganizationId,
) -> Result<Vec<Role>, StoreError> {
    let statement = Statement::new("SELECT ")
        .and(COLUMNS)
        .and(" FROM roles WHERE organization = $1 ORDER BY name")
        .bind(organization.uuid());
    let rows = store.database.fetch_all(&statement).await?;
    rows.iter().map(role).collect()
}

pub(super) async fn insert(store: &SqlStore, role: &Role) -> Result<(), StoreError> {
    let insert = Statement::new(
        "INSERT INTO roles (organization, name, permissions, version, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (organization, name) DO NOTHING",
    )
    .bind(role.organization.uuid())
    .bind(role.name.clone())
    .bind(permissions_text(role)?)
    .bind(integer(role.version))
    .bind(micros(role.created_at))
    .bind(micros(role.updated_at));
    match store.database.execute(insert).await? {
        1 => Ok(()),
        _ => Err(StoreError::Taken { field: "name" }),
    }
}

pub(super) async fn update(store: &SqlStore, role: &Role) -> Result<(), StoreError> {
    let update = Statement::new(
        "UPDATE roles SET permissions = $3, version = $4, updated_at = $5 \
         WHERE organization = $1 AND name = $2 AND version = $4 - 1",
    )
    .bind(role.organization.uuid())
    .bind(role.name.clone())
    .bind(permissions_text(role)?)
    .bind(integer(role.version))
    .bind(micros(role.updated_at));
    one_row(store.database.execute(update).await?)
}

pub(super) async fn delete(
    store: &SqlStore,
    organization: OrganizationId,
    name: &str,
) -> Result<bool, StoreError> {
    let delete = Statement::new("DELETE FROM roles WHERE organization = $1 AND name = $2")
        .bind(organization.uuid())
        .bind(name.to_owned());
    Ok(store.database.execute(delete).await? == 1)
}

fn permissions_text(role: &Role) -> Result<String, StoreError> {
    json_text(&role.permissions.iter().collect::<Vec<_>>())
}

fn role(row: &Row) -> Result<Role, StoreError> {
    Ok(Role {
        organization: OrganizationId::new(row.id("organization")?),
        name: row.text("name")?,
        permissions: row
            .json::<Vec<Permission>>("permissions")?
            .into_iter()
            .collect(),
        version: row.unsigned("version")?,
        created_at: row.timestamp("created_at")?,
        updated_at: row.timestamp("updated_at")?,
    })
}
