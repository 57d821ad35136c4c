//! Keyset pages: newest first, stable under inserts, because a page begins after a row and not
//! after a count.

use sqlx::QueryBuilder;
use sqlx::sqlite::{Sqlite, SqliteRow};
use uuid::Uuid;

use super::columns::id_bytes;
use crate::store::{Page, StoreError};

/// Narrows to what is older than the row with the given creation and id.
pub(super) fn push_after(query: &mut QueryBuilder<Sqlite>, created_at: i64, id: Uuid) {
    query
        .push(" AND (created_at, id) < (")
        .push_bind(created_at)
        .push(", ")
        .push_bind(id_bytes(id))
        .push(")");
}

/// Orders, and asks for one row more than the page holds.
pub(super) fn push_newest_first(query: &mut QueryBuilder<Sqlite>, limit: u16) {
    query
        .push(" ORDER BY created_at DESC, id DESC LIMIT ")
        .push_bind(i64::from(limit) + 1);
}

/// Makes the page; the row too many tells that there is more.
pub(super) fn cut<T>(
    rows: &[SqliteRow],
    limit: u16,
    read: impl Fn(&SqliteRow) -> Result<T, StoreError>,
) -> Result<Page<T>, StoreError> {
    let has_more = rows.len() > usize::from(limit);
    let data = rows
        .iter()
        .take(usize::from(limit))
        .map(read)
        .collect::<Result<_, _>>()?;
    Ok(Page { data, has_more })
}

pub(super) const fn empty<T>() -> Page<T> {
    Page {
        data: Vec::new(),
        has_more: false,
    }
}
