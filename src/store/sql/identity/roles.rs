//! Roles of an organization's own.

use sqlx::sqlite::SqliteRow;

use super::super::SqliteStore;
use super::super::columns::{Columns, id_bytes, integer, json_text, micros};
use super::super::directory::one_row;
use super::super::error::fault;
use crate::domain::ids::OrganizationId;
use crate::domain::permission::Permission;
use crate::store::{Role, StoreError};

pub(super) async fn list(
    store: &SqliteStore,
    organization: OrganizationId,
) -> Result<Vec<Role>, StoreError> {
    let rows = sqlx::query("SELECT * FROM roles WHERE organization = $1 ORDER BY name")
        .bind(id_bytes(organization.uuid()))
        .fetch_all(&store.reader)
        .await
        .map_err(fault)?;
    rows.iter().map(role).collect()
}

pub(super) async fn insert(store: &SqliteStore, role: &Role) -> Result<(), StoreError> {
    let insert = sqlx::query(
        "INSERT INTO roles (organization, name, permissions, version, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (organization, name) DO NOTHING",
    )
    .bind(id_bytes(role.organization.uuid()))
    .bind(role.name.clone())
    .bind(permissions_text(role)?)
    .bind(integer(role.version))
    .bind(micros(role.created_at))
    .bind(micros(role.updated_at));
    match store.writer.execute(insert).await? {
        1 => Ok(()),
        _ => Err(StoreError::Taken { field: "name" }),
    }
}

pub(super) async fn update(store: &SqliteStore, role: &Role) -> Result<(), StoreError> {
    let update = sqlx::query(
        "UPDATE roles SET permissions = $3, version = $4, updated_at = $5 \
         WHERE organization = $1 AND name = $2 AND version = $4 - 1",
    )
    .bind(id_bytes(role.organization.uuid()))
    .bind(role.name.clone())
    .bind(permissions_text(role)?)
    .bind(integer(role.version))
    .bind(micros(role.updated_at));
    one_row(store.writer.execute(update).await?)
}

pub(super) async fn delete(
    store: &SqliteStore,
    organization: OrganizationId,
    name: &str,
) -> Result<bool, StoreError> {
    let delete = sqlx::query("DELETE FROM roles WHERE organization = $1 AND name = $2")
        .bind(id_bytes(organization.uuid()))
        .bind(name.to_owned());
    Ok(store.writer.execute(delete).await? == 1)
}

fn permissions_text(role: &Role) -> Result<String, StoreError> {
    json_text(&role.permissions.iter().collect::<Vec<_>>())
}

fn role(row: &SqliteRow) -> Result<Role, StoreError> {
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
