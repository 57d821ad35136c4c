//! Opening the file: lock, connect, migrate.

use std::mem;
use std::path::Path;
use std::sync::Arc;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::time::{Duration, Instant, sleep};

use super::super::error::{fault, migration_fault};
use super::super::lock::LockFile;
use super::super::open::{StoreHandle, stores};
use super::super::{Database, DirectoryLock};
use super::Sqlite;
use super::places::Places;
use super::turns::Turns;
use super::writer::Writer;
use crate::store::{StoreError, Stores};

static MIGRATOR: Migrator = sqlx::migrate!("./migrations/sqlite");

/// The database's file in the data directory.
const FILE_NAME: &str = "faktor.db";
/// Locked by the process that opens a shared data directory.
const OPENING_FILE_NAME: &str = "faktor-opening.lock";
/// How long to wait for others that open it, and migrate; and how often to look.
const OPENING_TIMEOUT: Duration = Duration::from_mins(5);
const OPENING_PAUSE: Duration = Duration::from_millis(10);
/// How long to wait for a program that holds the database, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a process that opens a shared file bears that others have it locked: one that is stopped in
/// the middle of a write, or that reads the log of one that was killed.
const LOCKED_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a read waits for a connection.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Readers that nobody needs are closed after this.
const READER_IDLE: Duration = Duration::from_mins(1);
/// Room for every statement of the writer, in all its sizes.
const STATEMENT_CACHE: usize = 128;
/// The log is cut to this after a checkpoint, in bytes.
const LOG_LIMIT_BYTES: &str = "16777216";

/// What can be set of the database.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// Connections that read, at most.
    pub readers: u32,
    /// The writer's page cache, in KiB.
    pub writer_cache_kib: u32,
    /// Each reader's page cache, in KiB.
    pub reader_cache_kib: u32,
    /// Writes of one transaction, at most; 1 does without group commit.
    pub max_batch: usize,
    /// Whether other processes work on the data directory, too: the nodes of a cluster on one host.
    pub shared: bool,
    /// Further pragmas of the writer, such as a limit on the file's size.
    pub writer_pragmas: Vec<(String, String)>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            readers: 4,
            writer_cache_kib: 8 * 1024,
            // The system's own cache is behind it.
            reader_cache_kib: 512,
            max_batch: 256,
            shared: false,
            writer_pragmas: Vec::new(),
        }
    }
}

/// Every store of a node, in one SQLite file.
pub struct SqliteStore;

impl SqliteStore {
    /// Opens the data directory, which is made if it is missing, and brings its schema up to date.
    ///
    /// Refuses with `InUse`, `SchemaTooNew`, `Corrupt`, or `Unavailable`.
    pub async fn open(
        directory: &Path,
        options: SqliteOptions,
    ) -> Result<(Stores, StoreHandle), StoreError> {
        let shared = options.shared;
        let lock = Arc::new(if shared {
            DirectoryLock::share(directory)?
        } else {
            DirectoryLock::take(directory)?
        });
        let base = SqliteConnectOptions::new()
            .filename(directory.join(FILE_NAME))
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(STATEMENT_CACHE)
            .pragma("temp_store", "MEMORY")
            .disable_statement_logging();
        let mut writing = base
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("journal_size_limit", LOG_LIMIT_BYTES)
            .pragma("cache_size", format!("-{}", options.writer_cache_kib))
            .thread_name(|_| "store-writer".to_owned());
        for (key, value) in options.writer_pragmas {
            writing = writing.pragma(key, value);
        }
        let reading = base
            .read_only(true)
            .pragma("cache_size", format!("-{}", options.reader_cache_kib))
            .thread_name(|number| format!("store-reader-{number}"));

        let opening = if shared {
            Some(turn_to_open(directory).await?)
        } else {
            None
        };
        let deadline = Instant::now()
            + if shared {
                LOCKED_TIMEOUT
            } else {
                Duration::ZERO
            };
        let (mut connection, last_place) = by(deadline, async || {
            let mut connection = writing.connect().await.map_err(fault)?;
            migrate(&mut connection).await?;
            let last_place = sqlx::query_scalar("SELECT COALESCE(MAX(sequence), 0) FROM feed")
                .fetch_one(&mut connection)
                .await
                .map_err(fault)?;
            Ok((connection, last_place))
        })
        .await?;
        drop(opening);
        let turns = if shared {
            // The writer waits for its turn by itself.
            writing = writing.busy_timeout(Duration::ZERO);
            connection.close().await.map_err(fault)?;
            connection = by(deadline, async || writing.connect().await.map_err(fault)).await?;
            Turns::shared(directory)?
        } else {
            Turns::Alone
        };
        let reader = SqlitePoolOptions::new()
            .max_connections(options.readers)
            .acquire_timeout(READ_TIMEOUT)
            .idle_timeout(READER_IDLE)
            .max_lifetime(None)
            // A file does not hang up: no ping before each use.
            .test_before_acquire(false)
            .connect_lazy_with(reading);
        let places = Places::after(last_place);
        let writer = Writer::start(
            connection,
            writing,
            turns.clone(),
            places.clone(),
            options.max_batch,
            Arc::clone(&lock),
        );
        let database = Database::Sqlite(Sqlite {
            reader,
            writer,
            turns,
            places,
        });
        Ok(stores(database, Some(lock)))
    }
}

/// Opens, again and again until the deadline while the file is not available.
async fn by<T>(
    deadline: Instant,
    open: impl AsyncFn() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut is_told = false;
    loop {
        match open().await {
            Err(error @ StoreError::Unavailable { .. }) if Instant::now() < deadline => {
                if !mem::replace(&mut is_told, true) {
                    tracing::warn!(%error, "the data file can't be opened yet; tried again");
                }
                sleep(OPENING_PAUSE).await;
            }
            settled => return settled,
        }
    }
}

/// Lets one process at a time make the file and bring its schema up to date, until the answer is
/// dropped.
async fn turn_to_open(directory: &Path) -> Result<LockFile, StoreError> {
    let file = LockFile::open(directory, OPENING_FILE_NAME)?;
    let held = "another node is still opening the data directory";
    file.lock((OPENING_PAUSE, OPENING_TIMEOUT), held).await?;
    Ok(file)
}

/// Brings the schema up to date, and refuses one that is newer than this binary.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let known = MIGRATOR
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or_default();
    let has_schema: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'",
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(fault)?;
    if has_schema.is_some() {
        let found: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
            .fetch_one(&mut *connection)
            .await
            .map_err(fault)?;
        if let Some(found) = found.filter(|found| *found > known) {
            return Err(StoreError::SchemaTooNew { found, known });
        }
    }
    MIGRATOR
        .run_direct(None, connection, false)
        .await
        .map_err(|error| migration_fault(error, known))
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, Executor as _, Row as _, SqliteConnection};

    const FOUNDATION: &str = include_str!("../../../../migrations/sqlite/0001_foundation.sql");
    const IN_COMMIT_ORDER: &str =
        include_str!("../../../../migrations/sqlite/0002_feed_in_commit_order.sql");

    #[tokio::test]
    async fn the_migration_keeps_every_event_once_and_in_order() {
        let mut database = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        database.execute(FOUNDATION).await.unwrap();
        // Of organization 1, 11 and 12 are published, and 12 is still to be taken from the outbox;
        // 13 and 14 wait.
        database
            .execute(
                "INSERT INTO feed (organization, position, event_id, invoice, version) VALUES \
                 (x'01', 2, x'12', x'aa', 2), (x'02', 1, x'21', x'bb', 1), \
                 (x'01', 1, x'11', x'aa', 1); \
                 INSERT INTO outbox (sequence, organization, invoice, version, event_id) VALUES \
                 (9, x'01', x'aa', 4, x'14'), (8, x'01', x'aa', 3, x'13'), \
                 (7, x'01', x'aa', 2, x'12')",
            )
            .await
            .unwrap();
        database.execute(IN_COMMIT_ORDER).await.unwrap();
        for (organization, expected) in [(1_u8, vec![11, 12, 13, 14]), (2, vec![21])] {
            let rows = sqlx::query(
                "SELECT hex(event_id) FROM feed WHERE organization = $1 ORDER BY sequence",
            )
            .bind(vec![organization])
            .fetch_all(&mut database)
            .await
            .unwrap();
            let events: Vec<u32> = rows
                .iter()
                .map(|row| row.get::<String, _>(0).parse().unwrap())
                .collect();
            assert_eq!(events, expected);
        }
    }
}
