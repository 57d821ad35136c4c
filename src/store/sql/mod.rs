//! The SQLite backend: one file, one writer, a few readers.
//!
//! The statements' text is the common ground of SQLite and PostgreSQL: numbered parameters,
//! ON CONFLICT, RETURNING, row values; no function that only one of them has.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use sqlx::SqlitePool;

mod batch;
mod columns;
mod directory;
mod error;
mod feed;
mod identity;
mod inbox;
mod invoices;
mod lock;
mod open;
mod page;
mod prepared;
mod series;
mod writer;

pub use open::{SqliteOptions, StoreHandle};
use writer::Writer;

/// Every store of a node, in one SQLite file.
pub struct SqliteStore {
    reader: SqlitePool,
    writer: Writer,
    /// Events that were committed and that `publish` has not told of yet.
    untold: Arc<AtomicU64>,
}
