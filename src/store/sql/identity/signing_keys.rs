//! Keys that sign access tokens.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;

use super::super::SqliteStore;
use super::super::columns::{Columns, micros};
use super::super::error::fault;
use crate::store::{SigningKey, StoreError};

/// Newest first: the first one that is not retired signs.
pub(super) async fn list(store: &SqliteStore) -> Result<Vec<SigningKey>, StoreError> {
    let rows = sqlx::query("SELECT * FROM signing_keys ORDER BY created_at DESC, id DESC")
        .fetch_all(&store.reader)
        .await
        .map_err(fault)?;
    rows.iter().map(signing_key).collect()
}

pub(super) async fn insert(store: &SqliteStore, key: &SigningKey) -> Result<(), StoreError> {
    let insert = sqlx::query(
        "INSERT INTO signing_keys (id, private_der, public_der, created_at, retired_at) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(key.id.clone())
    .bind(key.private_der.clone())
    .bind(key.public_der.clone())
    .bind(micros(key.created_at))
    .bind(key.retired_at.map(micros));
    store.writer.execute(insert).await.map(|_| ())
}

pub(super) async fn retire(
    store: &SqliteStore,
    except: String,
    at: Timestamp,
    delete_before: Timestamp,
) -> Result<(), StoreError> {
    let retire = sqlx::query(
        "UPDATE signing_keys SET retired_at = $2 WHERE id <> $1 AND retired_at IS NULL",
    )
    .bind(except.clone())
    .bind(micros(at));
    let delete = sqlx::query("DELETE FROM signing_keys WHERE id <> $1 AND retired_at < $2")
        .bind(except)
        .bind(micros(delete_before));
    store
        .writer
        .transaction(|connection| {
            Box::pin(async move {
                retire.execute(&mut *connection).await.map_err(fault)?;
                delete.execute(connection).await.map(|_| ()).map_err(fault)
            })
        })
        .await
}

fn signing_key(row: &SqliteRow) -> Result<SigningKey, StoreError> {
    Ok(SigningKey {
        id: row.text("id")?,
        private_der: row.bytes("private_der")?,
        public_der: row.bytes("public_der")?,
        created_at: row.timestamp("created_at")?,
        retired_at: row.optional_timestamp("retired_at")?,
    })
}
