//! Opening: connect, migrate under a lock that all nodes share, and hand out the pools.

use std::fmt::Display;
use std::str::FromStr;

use reqwest::Url;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};
use tokio::time::{Duration, timeout};

use super::super::Database;
use super::super::error::{fault, migration_fault, unavailable};
use super::super::open::{StoreHandle, stores};
use super::Postgres;
use crate::store::{StoreError, Stores};

static MIGRATOR: Migrator = sqlx::migrate!("./migrations/postgres");

/// How the node shows in `pg_stat_activity`.
const APPLICATION_NAME: &str = "faktor";
/// How long a statement's way to the server and back may take, besides its own time-out there.
const ON_THE_WAY: Duration = Duration::from_secs(1);
/// How long a node waits for another one that migrates, and migrates itself.
const MIGRATION_TIMEOUT: Duration = Duration::from_mins(5);
/// Connections that nobody needs are closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
/// A connection that was idle for this long is tried before it is used.
const TRY_AFTER: Duration = Duration::from_secs(1);

/// What the library knows in an address; `options[NAME]` besides.
const OPTIONS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// What can be set of the connections to PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Connections at most, at least 2: one is kept for the invoices' commits.
    pub max_connections: u32,
    /// How long to wait for a connection: a new one, or a free one.
    pub connect_timeout: Duration,
    /// How long the server works on one statement; half of it, how long it waits for a lock.
    pub statement_timeout: Duration,
    /// Commits of one statement, at most.
    pub max_batch: usize,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            max_connections: 16,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            max_batch: 256,
        }
    }
}

/// Every store of a node, in one PostgreSQL database that other nodes may share.
pub struct PostgresStore;

impl PostgresStore {
    /// Connects to the database of a `postgres://` address, and brings its schema up to date.
    ///
    /// Refuses with `SchemaTooNew`, `Corrupt`, or `Unavailable`.
    pub async fn open(
        url: &str,
        options: PostgresOptions,
    ) -> Result<(Stores, StoreHandle), StoreError> {
        let base = understood(url)
            .map_err(unavailable)?
            .application_name(APPLICATION_NAME)
            .disable_statement_logging();
        // Without the statements' time-outs: a migration, and waiting for one, may take longer.
        let mut connection = timeout(options.connect_timeout, base.connect())
            .await
            .map_err(|_| unavailable("the database did not answer in time"))?
            .map_err(fault)?;
        timeout(MIGRATION_TIMEOUT, migrate(&mut connection))
            .await
            .map_err(|_| unavailable("the migration took longer than five minutes"))??;
        connection.close().await.map_err(fault)?;

        let bounded = with_timeouts(base, options.statement_timeout);
        let pool = pool(
            bounded.clone(),
            &options,
            options.max_connections.max(2) - 1,
        );
        let commits = pool_of_commits(bounded, &options);
        let patience = options.statement_timeout + ON_THE_WAY;
        let postgres = Postgres::new(pool, commits, patience, options.max_batch);
        Ok(stores(Database::Postgres(postgres), None))
    }

    /// Whether this is an address that [`open`](Self::open) can make use of; otherwise why not.
    pub fn check_address(url: &str) -> Result<(), String> {
        understood(url).map(|_| ())
    }
}

/// The library passes over an option that it does not know, and logs its value: with a misspelt
/// `sslmode` it would do without TLS.
fn understood(url: &str) -> Result<PgConnectOptions, String> {
    let not_understood = |reason: &dyn Display| format!("the address is not understood: {reason}");
    let parsed = Url::parse(url).map_err(|error| not_understood(&error))?;
    for (name, _) in parsed.query_pairs() {
        if !OPTIONS.contains(&&*name) && !name.starts_with("options[") {
            let reason = format!("it has an unknown option, `{name}`");
            return Err(not_understood(&reason));
        }
    }
    PgConnectOptions::from_str(url).map_err(|error| not_understood(&error))
}

/// The server ends what takes too long, and what a node left half done.
fn with_timeouts(options: PgConnectOptions, statement_timeout: Duration) -> PgConnectOptions {
    let millis = statement_timeout.as_millis().max(1);
    options.options([
        ("statement_timeout", millis),
        ("lock_timeout", (millis / 2).max(1)),
        ("idle_in_transaction_session_timeout", millis),
    ])
}

fn pool_of_commits(connect: PgConnectOptions, options: &PostgresOptions) -> PgPool {
    pool(by_keys(connect), options, 1)
}

/// The one statement of commits goes by keys, always. Without this the server would plan it once
/// for a young database's few rows, which are quickly read from end to end, and keep to that plan
/// until it analyzes the table by itself: a minute in which all commits read all invoices.
pub(super) fn by_keys(connect: PgConnectOptions) -> PgConnectOptions {
    connect.options([("enable_seqscan", "off"), ("jit", "off")])
}

fn pool(connect: PgConnectOptions, options: &PostgresOptions, max_connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(options.connect_timeout)
        .idle_timeout(IDLE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > TRY_AFTER {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(connect)
}

/// Brings the schema up to date, and refuses one that is newer than this binary. An advisory lock
/// lets one node at a time do so.
async fn migrate(connection: &mut PgConnection) -> Result<(), StoreError> {
    let known = MIGRATOR
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or_default();
    let has_schema: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(fault)?;
    if has_schema {
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
