//! The books' own file: its layout, and how an older one is brought to it.

use std::path::Path;

use super::LedgerError;
use super::books::{Books, Query};
use crate::outbound::durable_file;

/// The layout of the tables below; a file with a higher one was written by a newer Faktor.
const LAYOUT: i64 = 2;

const TABLES: &str = "
    CREATE TABLE sandbox_charges (
        sequence INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        key TEXT NOT NULL UNIQUE,
        organization TEXT NOT NULL,
        invoice TEXT NOT NULL,
        effect TEXT NOT NULL,
        session TEXT,
        amount INTEGER NOT NULL,
        currency TEXT NOT NULL,
        payment_method TEXT NOT NULL,
        code TEXT,
        detail TEXT,
        created_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX sandbox_charges_of_invoice ON sandbox_charges (invoice);
    CREATE TABLE sandbox_sessions (
        sequence INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        key TEXT NOT NULL UNIQUE,
        organization TEXT NOT NULL,
        invoice TEXT NOT NULL,
        effect TEXT NOT NULL,
        amount INTEGER NOT NULL,
        currency TEXT NOT NULL,
        description TEXT NOT NULL,
        return_url TEXT NOT NULL,
        state TEXT NOT NULL,
        created_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE sandbox_events (
        sequence INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        body TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        next_attempt_ms INTEGER NOT NULL,
        -- Until then a process is delivering it, by the host's clock.
        claimed_until_ms INTEGER NOT NULL,
        last_error TEXT,
        created_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX sandbox_events_waiting ON sandbox_events (next_attempt_ms)
        WHERE state = 'pending';
    PRAGMA user_version = 2;
";

const FROM_LAYOUT_1: &str = "
    INSERT INTO sandbox_charges
        SELECT rowid, id, key, organization, invoice, effect, session, amount, currency,
            payment_method, code, detail, created_ms FROM charges;
    INSERT INTO sandbox_sessions
        SELECT rowid, id, key, organization, invoice, effect, amount, currency, description,
            return_url, state, created_ms FROM sessions;
    INSERT INTO sandbox_events
        SELECT rowid, id, body, state, attempts, next_attempt_ms, 0, last_error, created_ms
            FROM events;
    DROP TABLE charges;
    DROP TABLE sessions;
    DROP TABLE events;
";

/// Opens the file, which is made when it is missing. Of several processes that do so at once, one
/// makes the tables.
pub(super) async fn open(path: &Path) -> Result<Books, LedgerError> {
    let directory = path.parent().map(ToOwned::to_owned).unwrap_or_default();
    durable_file::blocking(move || durable_file::make_directory(&directory))
        .await
        .map_err(|error| LedgerError::Failed {
            reason: error.to_string(),
        })?;
    let books = Books::file(path).await?;
    let mut writing = books.begin().await?;
    let layout = writing
        .fetch_optional(Query::new("PRAGMA user_version"))
        .await?;
    match layout.map_or(Ok(0), |row| row.integer("user_version"))? {
        0 => writing.script(TABLES).await?,
        1 => {
            writing.script(TABLES).await?;
            writing.script(FROM_LAYOUT_1).await?;
        }
        LAYOUT => return Ok(books),
        _ => {
            let path = path.display();
            return Err(LedgerError::Failed {
                reason: format!("{path} was written by a newer version of Faktor"),
            });
        }
    }
    writing.commit().await?;
    Ok(books)
}
