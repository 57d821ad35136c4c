//! The relational backends: SQLite in one file, or PostgreSQL.
//!
//! The statements' text is the common ground of both: numbered parameters, ON CONFLICT, RETURNING,
//! row values; no function that only one of them has. What has to differ stands in `sqlite` and
//! `postgres`: opening, transactions, the batch of commits, and how events get their places in the
//! feed.

mod cluster;
mod columns;
mod database;
mod directory;
mod error;
mod feed;
mod gather;
mod identity;
mod inbox;
mod invoices;
mod lock;
mod open;
mod page;
mod postgres;
mod prepared;
mod series;
mod sqlite;
mod statement;

use database::Database;
pub use lock::DirectoryLock;
pub use open::StoreHandle;
pub use postgres::{PostgresOptions, PostgresStore};
pub use sqlite::{SqliteOptions, SqliteStore};

/// Every store of a node, in one database.
pub(crate) struct SqlStore {
    database: Database,
}
