//! Sessions, and the chain of refresh tokens behind each.

use jiff::Timestamp;

use super::super::SqlStore;
use super::super::columns::{Row, micros};
use super::super::database::Connection;
use super::super::statement::Statement;
use crate::domain::ids::{SessionId, UserId};
use crate::store::{Refreshed, Session, StoreError};

/// Every column by name: a statement that said `*` would fail on connections that prepared it before
/// another node's migration added a column.
const COLUMNS: &str = "id, user_id, refresh_hash, created_at, expires_at, revoked_at";

/// How long a session that has expired stays, in microseconds: thirty days. Until then a token
/// stolen from it is still recognized.
const KEEP_EXPIRED_MICROS: i64 = 30 * 24 * 60 * 60 * 1_000_000;

/// Also forgets sessions that expired long ago: every login makes one, and none else removes them.
pub(super) async fn insert(store: &SqlStore, session: &Session) -> Result<(), StoreError> {
    let forget = Statement::new("DELETE FROM sessions WHERE expires_at < $1")
        .bind(micros(session.created_at).saturating_sub(KEEP_EXPIRED_MICROS));
    let insert = Statement::new(
        "INSERT INTO sessions (id, user_id, refresh_hash, created_at, expires_at, revoked_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(session.id.uuid())
    .bind(session.user.uuid())
    .bind(session.refresh_hash.clone())
    .bind(micros(session.created_at))
    .bind(micros(session.expires_at))
    .bind(session.revoked_at.map(micros));
    store.database.execute_all(vec![forget, insert]).await
}

pub(super) async fn by_id(store: &SqlStore, id: SessionId) -> Result<Option<Session>, StoreError> {
    let statement = Statement::new("SELECT ")
        .and(COLUMNS)
        .and(" FROM sessions WHERE id = $1")
        .bind(id.uuid());
    let row = store.database.fetch_optional(&statement).await?;
    row.as_ref().map(session).transpose()
}

pub(super) async fn refresh(
    store: &SqlStore,
    presented: String,
    next: String,
    now: Timestamp,
) -> Result<Refreshed, StoreError> {
    let given = (presented, next, now);
    store
        .database
        .transaction(given, |connection, (presented, next, now)| {
            Box::pin(async move {
                if let Some(rotated) = rotate(connection, presented, next, *now).await? {
                    return Ok(Refreshed::Rotated(rotated));
                }
                if is_present(connection, presented).await? {
                    return Ok(Refreshed::Unknown);
                }
                end_if_used(connection, presented, *now).await
            })
        })
        .await
}

/// Replaces the present token of a session that goes on. The condition on it is the update's own:
/// of two that present the same token, the later one finds it replaced.
async fn rotate(
    connection: &mut Connection<'_>,
    presented: &str,
    next: &str,
    now: Timestamp,
) -> Result<Option<Session>, StoreError> {
    let replace = Statement::new(
        "UPDATE sessions SET refresh_hash = $2 \
         WHERE refresh_hash = $1 AND revoked_at IS NULL AND expires_at > $3 RETURNING ",
    )
    .and(COLUMNS)
    .bind(presented)
    .bind(next)
    .bind(micros(now));
    let Some(row) = connection.fetch_optional(&replace).await? else {
        return Ok(None);
    };
    let rotated = session(&row)?;
    let remember =
        Statement::new("INSERT INTO used_refresh_tokens (hash, session) VALUES ($1, $2)")
            .bind(presented)
            .bind(rotated.id.uuid());
    connection.execute(&remember).await?;
    Ok(Some(rotated))
}

/// Whether it is the present token of a session, which then has expired or was revoked.
async fn is_present(connection: &mut Connection<'_>, presented: &str) -> Result<bool, StoreError> {
    let statement =
        Statement::new("SELECT 1 FROM sessions WHERE refresh_hash = $1").bind(presented);
    Ok(connection.fetch_optional(&statement).await?.is_some())
}

/// A token that was used before is in two hands: the whole chain ends.
async fn end_if_used(
    connection: &mut Connection<'_>,
    presented: &str,
    now: Timestamp,
) -> Result<Refreshed, StoreError> {
    let statement = Statement::new(
        "UPDATE sessions SET revoked_at = COALESCE(revoked_at, $2) \
         WHERE id = (SELECT session FROM used_refresh_tokens WHERE hash = $1) RETURNING ",
    )
    .and(COLUMNS)
    .bind(presented)
    .bind(micros(now));
    let row = connection.fetch_optional(&statement).await?;
    match row {
        Some(row) => Ok(Refreshed::Reused(session(&row)?)),
        None => Ok(Refreshed::Unknown),
    }
}

pub(super) async fn revoke(
    store: &SqlStore,
    id: SessionId,
    at: Timestamp,
) -> Result<(), StoreError> {
    let update =
        Statement::new("UPDATE sessions SET revoked_at = COALESCE(revoked_at, $2) WHERE id = $1")
            .bind(id.uuid())
            .bind(micros(at));
    store.database.execute(update).await.map(|_| ())
}

pub(super) async fn revoke_all_of(
    store: &SqlStore,
    user: UserId,
    at: Timestamp,
) -> Result<Vec<SessionId>, StoreError> {
    let update = Statement::new(
        "UPDATE sessions SET revoked_at = COALESCE(revoked_at, $2) WHERE user_id = $1 RETURNING id",
    )
    .bind(user.uuid())
    .bind(micros(at));
    let rows = store.database.execute_returning(update).await?;
    rows.iter()
        .map(|row| Ok(SessionId::new(row.id("id")?)))
        .collect()
}

fn session(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        id: SessionId::new(row.id("id")?),
        user: UserId::new(row.id("user_id")?),
        refresh_hash: row.text("refresh_hash")?,
        created_at: row.timestamp("created_at")?,
        expires_at: row.timestamp("expires_at")?,
        revoked_at: row.optional_timestamp("revoked_at")?,
    })
}
