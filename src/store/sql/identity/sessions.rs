//! Sessions, and the chain of refresh tokens behind each.

use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::super::SqliteStore;
use super::super::columns::{Columns, id_bytes, micros};
use super::super::error::fault;
use crate::domain::ids::{SessionId, UserId};
use crate::store::{Refreshed, Session, StoreError};

/// How long a session that has expired stays, in microseconds: thirty days. Until then a token
/// stolen from it is still recognized.
const KEEP_EXPIRED_MICROS: i64 = 30 * 24 * 60 * 60 * 1_000_000;

/// Also forgets sessions that expired long ago: every login makes one, and none else removes them.
pub(super) async fn insert(store: &SqliteStore, session: &Session) -> Result<(), StoreError> {
    let forget = sqlx::query("DELETE FROM sessions WHERE expires_at < $1")
        .bind(micros(session.created_at).saturating_sub(KEEP_EXPIRED_MICROS));
    let insert = sqlx::query(
        "INSERT INTO sessions (id, user_id, refresh_hash, created_at, expires_at, revoked_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id_bytes(session.id.uuid()))
    .bind(id_bytes(session.user.uuid()))
    .bind(session.refresh_hash.clone())
    .bind(micros(session.created_at))
    .bind(micros(session.expires_at))
    .bind(session.revoked_at.map(micros));
    store
        .writer
        .transaction(|connection| {
            Box::pin(async move {
                forget.execute(&mut *connection).await.map_err(fault)?;
                insert.execute(connection).await.map(|_| ()).map_err(fault)
            })
        })
        .await
}

pub(super) async fn by_id(
    store: &SqliteStore,
    id: SessionId,
) -> Result<Option<Session>, StoreError> {
    let row = sqlx::query("SELECT * FROM sessions WHERE id = $1")
        .bind(id_bytes(id.uuid()))
        .fetch_optional(&store.reader)
        .await
        .map_err(fault)?;
    row.as_ref().map(session).transpose()
}

pub(super) async fn refresh(
    store: &SqliteStore,
    presented: String,
    next: String,
    now: Timestamp,
) -> Result<Refreshed, StoreError> {
    store
        .writer
        .transaction(move |connection| {
            Box::pin(async move {
                match by_present_token(connection, presented.clone()).await? {
                    Some(found) => rotate(connection, found, presented, next, now).await,
                    None => end_if_used(connection, presented, now).await,
                }
            })
        })
        .await
}

async fn by_present_token(
    connection: &mut SqliteConnection,
    hash: String,
) -> Result<Option<Session>, StoreError> {
    let row = sqlx::query("SELECT * FROM sessions WHERE refresh_hash = $1")
        .bind(hash)
        .fetch_optional(connection)
        .await
        .map_err(fault)?;
    row.as_ref().map(session).transpose()
}

async fn rotate(
    connection: &mut SqliteConnection,
    found: Session,
    presented: String,
    next: String,
    now: Timestamp,
) -> Result<Refreshed, StoreError> {
    if found.revoked_at.is_some() || found.expires_at <= now {
        return Ok(Refreshed::Unknown);
    }
    sqlx::query("UPDATE sessions SET refresh_hash = $2 WHERE id = $1")
        .bind(id_bytes(found.id.uuid()))
        .bind(next.clone())
        .execute(&mut *connection)
        .await
        .map_err(fault)?;
    sqlx::query("INSERT INTO used_refresh_tokens (hash, session) VALUES ($1, $2)")
        .bind(presented)
        .bind(id_bytes(found.id.uuid()))
        .execute(connection)
        .await
        .map_err(fault)?;
    Ok(Refreshed::Rotated(Session {
        refresh_hash: next,
        ..found
    }))
}

/// A token that was used before is in two hands: the whole chain ends.
async fn end_if_used(
    connection: &mut SqliteConnection,
    presented: String,
    now: Timestamp,
) -> Result<Refreshed, StoreError> {
    let row = sqlx::query(
        "UPDATE sessions SET revoked_at = COALESCE(revoked_at, $2) \
         WHERE id = (SELECT session FROM used_refresh_tokens WHERE hash = $1) RETURNING *",
    )
    .bind(presented)
    .bind(micros(now))
    .fetch_optional(connection)
    .await
    .map_err(fault)?;
    match row {
        Some(row) => Ok(Refreshed::Reused(session(&row)?)),
        None => Ok(Refreshed::Unknown),
    }
}

pub(super) async fn revoke(
    store: &SqliteStore,
    id: SessionId,
    at: Timestamp,
) -> Result<(), StoreError> {
    let update =
        sqlx::query("UPDATE sessions SET revoked_at = COALESCE(revoked_at, $2) WHERE id = $1")
            .bind(id_bytes(id.uuid()))
            .bind(micros(at));
    store.writer.execute(update).await.map(|_| ())
}

pub(super) async fn revoke_all_of(
    store: &SqliteStore,
    user: UserId,
    at: Timestamp,
) -> Result<Vec<SessionId>, StoreError> {
    let update = sqlx::query(
        "UPDATE sessions SET revoked_at = COALESCE(revoked_at, $2) WHERE user_id = $1 RETURNING id",
    )
    .bind(id_bytes(user.uuid()))
    .bind(micros(at));
    store
        .writer
        .statement(|connection| {
            Box::pin(async move {
                let rows = update.fetch_all(connection).await.map_err(fault)?;
                rows.iter()
                    .map(|row| Ok(SessionId::new(row.id("id")?)))
                    .collect()
            })
        })
        .await
}

fn session(row: &SqliteRow) -> Result<Session, StoreError> {
    Ok(Session {
        id: SessionId::new(row.id("id")?),
        user: UserId::new(row.id("user_id")?),
        refresh_hash: row.text("refresh_hash")?,
        created_at: row.timestamp("created_at")?,
        expires_at: row.timestamp("expires_at")?,
        revoked_at: row.optional_timestamp("revoked_at")?,
    })
}
