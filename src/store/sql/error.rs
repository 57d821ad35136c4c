//! What the database says, in the words of the store.

use std::fmt::Display;
use std::io;

use sqlx::error::ErrorKind;
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgDatabaseError;
use tokio_rustls::rustls;

use crate::store::StoreError;

// Primary result codes, https://www.sqlite.org/rescode.html
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const READONLY: u32 = 8;
const IOERR: u32 = 10;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANTOPEN: u32 = 14;
const NOTADB: u32 = 26;

/// Translates a failed statement. A broken constraint is a `Conflict`; where it means something
/// else the caller looks first.
pub(super) fn fault(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(error) => match error.kind() {
            ErrorKind::UniqueViolation | ErrorKind::ForeignKeyViolation => StoreError::Conflict,
            _ => match error.try_downcast_ref::<PgDatabaseError>() {
                Some(error) => by_state(error.code(), error.message()),
                None => by_code(error.code().as_deref(), error.message()),
            },
        },
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => corrupt(&error),
        sqlx::Error::PoolTimedOut => unavailable("no connection to the database was free in time"),
        sqlx::Error::Tls(error) => no_tls(error),
        sqlx::Error::Io(error) => by_kind(&error),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => unavailable("the store is closed"),
        other => unavailable(&other),
    }
}

/// A handshake and the files of an address fail as a connection does.
fn by_kind(error: &io::Error) -> StoreError {
    match (error.get_ref(), error.kind()) {
        (Some(inner), _) if inner.is::<rustls::Error>() => no_tls(inner),
        (_, io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => unavailable(format!(
            "a file or socket that the address names can't be used: {error}"
        )),
        _ => unavailable(format!("the connection to the database broke: {error}")),
    }
}

fn no_tls(error: impl Display) -> StoreError {
    unavailable(format!("no TLS with the database: {error}"))
}

/// Whether another connection to the file was in the way.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    let primary = code.and_then(|code| code.parse::<u32>().ok());
    primary.is_some_and(|code| code & 0xff == BUSY)
}

/// Translates a failed migration.
pub(super) fn migration_fault(error: MigrateError, known: i64) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => fault(error),
        MigrateError::VersionMissing(found) => StoreError::SchemaTooNew { found, known },
        other => corrupt(&other),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "so that it fits map_err")]
pub(super) fn unavailable(reason: impl ToString) -> StoreError {
    StoreError::Unavailable {
        reason: reason.to_string(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "so that it fits map_err")]
pub(super) fn corrupt(reason: impl ToString) -> StoreError {
    StoreError::Corrupt {
        reason: reason.to_string(),
    }
}

fn by_code(code: Option<&str>, message: &str) -> StoreError {
    // The extended code carries the primary one in its lowest byte.
    let primary = code
        .and_then(|code| code.parse::<u32>().ok())
        .map(|code| code & 0xff);
    match primary {
        Some(FULL) => unavailable("the disk is full"),
        Some(READONLY) => unavailable("the data directory is read-only"),
        Some(BUSY | LOCKED) => unavailable("another program has locked the database"),
        Some(IOERR) => unavailable(format!("the disk failed: {message}")),
        Some(CANTOPEN) => unavailable(format!("the database file can't be opened: {message}")),
        Some(CORRUPT | NOTADB) => corrupt(message),
        _ => unavailable(format!("unexpected answer of the database: {message}")),
    }
}

// By SQLSTATE, https://www.postgresql.org/docs/current/errcodes-appendix.html
fn by_state(state: &str, message: &str) -> StoreError {
    let sentence = match state {
        "25006" => "the database takes no writes: it is a standby, or set to read-only",
        "40001" | "40P01" => "the database gave up the transaction for the sake of another one",
        "53100" => "the database's disk is full",
        "53200" => "the database is out of memory",
        "53300" => "the database has no connection left for this node",
        "55P03" => "another transaction held a lock for too long",
        "57014" => "a statement took longer than storage.statement_timeout_ms",
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => {
            "the database ended the connection: it is stopping, starting, or told to"
        }
        "28000" | "28P01" | "3D000" | "42501" => {
            return unavailable(format!("the database refuses this node: {message}"));
        }
        "22021" | "22P05" | "XX001" | "XX002" => return corrupt(message),
        _ => {
            return unavailable(format!(
                "unexpected answer of the database ({state}): {message}"
            ));
        }
    };
    unavailable(sentence)
}
