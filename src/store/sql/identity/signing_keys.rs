//! Keys that sign access tokens.

use jiff::Timestamp;

use super::super::SqlStore;
use super::super::columns::{Row, micros};
use super::super::statement::Statement;
use crate::store::{SigningKey, StoreError};

/// Every column by name: a statement that said `*` would fail on connections that prepared it before
/// another node's migration added a column.
const COLUMNS: &str = "id, private_der, public_der, created_at, retired_at";

/// Newest first: the first one that is not retired signs.
pub(super) async fn list(store: &SqlStore) -> Result<Vec<SigningKey>, StoreError> {
    let statement = Statement::new("SELECT ")
        .and(COLUMNS)
        .and(" FROM signing_keys ORDER BY created_at DESC, id DESC");
    let rows = store.database.fetch_all(&statement).await?;
    rows.iter().map(signing_key).collect()
}

pub(super) async fn insert(store: &SqlStore, key: &SigningKey) -> Result<(), StoreError> {
    let insert = Statement::new(
        "INSERT INTO signing_keys (id, private_der, public_der, created_at, retired_at) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(key.id.clone())
    .bind(key.private_der.clone())
    .bind(key.public_der.clone())
    .bind(micros(key.created_at))
    .bind(key.retired_at.map(micros));
    store.database.execute(insert).await.map(|_| ())
}

pub(super) async fn retire(
    store: &SqlStore,
    except: String,
    at: Timestamp,
    delete_before: Timestamp,
) -> Result<(), StoreError> {
    let retire = Statement::new(
        "UPDATE signing_keys SET retired_at = $2 WHERE id <> $1 AND retired_at IS NULL",
    )
    .bind(except.clone())
    .bind(micros(at));
    let delete = Statement::new("DELETE FROM signing_keys WHERE id <> $1 AND retired_at < $2")
        .bind(except)
        .bind(micros(delete_before));
    store.database.execute_all(vec![retire, delete]).await
}

fn signing_key(row: &Row) -> Result<SigningKey, StoreError> {
    Ok(SigningKey {
        id: row.text("id")?,
        private_der: row.bytes("private_der")?,
        public_der: row.bytes("public_der")?,
        created_at: row.timestamp("created_at")?,
        retired_at: row.optional_timestamp("retired_at")?,
    })
}
