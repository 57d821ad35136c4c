//! Keyset pages: newest first, stable under inserts, because a page begins after a row and not
//! after a count.

use uuid::Uuid;

use super::columns::Row;
use super::statement::Statement;
use crate::store::{Page, StoreError};

/// Narrows to what is older than the row with the given creation and id.
pub(super) fn push_after(statement: &mut Statement, created_at: i64, id: Uuid) {
    statement
        .push(" AND (created_at, id) < (")
        .push_bind(created_at)
        .push(", ")
        .push_bind(id)
        .push(")");
}

/// Orders, and asks for one row more than the page holds.
pub(super) fn push_newest_first(statement: &mut Statement, limit: u16) {
    statement
        .push(" ORDER BY created_at DESC, id DESC LIMIT ")
        .push_bind(i64::from(limit) + 1);
}

/// Makes the page; the row too many tells that there is more.
pub(super) fn cut<T>(
    rows: &[Row],
    limit: u16,
    read: impl Fn(&Row) -> Result<T, StoreError>,
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
