//! Where the nodes of one trial keep their data.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

impl Drop for Place {
    /// What nodes said before a trial failed stays for whoever looks into it.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.directory.disable_cleanup(true);
            println!("\nsee {}", self.directory.path().display());
        }
    }
}

/// A data directory, and a PostgreSQL database beside it when that was asked for.
pub(crate) struct Place {
    directory: TempDir,
    pub(crate) postgres: Option<String>,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self {
            directory: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
            postgres: None,
        }
    }

    /// A new database of the server in `FAKTOR_TEST_POSTGRES_URL`; none without one.
    pub(crate) async fn postgres() -> Option<Self> {
        let server = std::env::var("FAKTOR_TEST_POSTGRES_URL").ok()?;
        let name = format!("bench_cluster_{}", faktor::clock::random_hex::<6>());
        let connected = PgConnection::connect(&server).await;
        let mut connection =
            connected.unwrap_or_else(|error| panic!("FAKTOR_TEST_POSTGRES_URL: {error}"));
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        connection.execute(create).await.unwrap();
        let (server, _) = server.rsplit_once('/').unwrap();
        let url = format!("{server}/{name}");
        let mut place = Self::sqlite();
        place.postgres = Some(url);
        Some(place)
    }

    /// A new one, of the same kind.
    pub(crate) async fn another(&self) -> Self {
        match &self.postgres {
            None => Self::sqlite(),
            Some(_) => Self::postgres().await.unwrap(),
        }
    }

    /// Every store there is, with its name.
    pub(crate) async fn all() -> Vec<(&'static str, Self)> {
        let mut all = vec![("SQLite", Self::sqlite())];
        match Self::postgres().await {
            Some(place) => all.push(("PostgreSQL", place)),
            None => println!("\nPostgreSQL is skipped: FAKTOR_TEST_POSTGRES_URL names none"),
        }
        all
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.log"))
    }

    /// Webhooks of the sandbox that the nodes have not taken yet.
    pub(crate) async fn undelivered_webhooks(&self) -> i64 {
        const COUNT: &str = "SELECT count(*) FROM sandbox_events WHERE state = 'pending'";
        if let Some(url) = &self.postgres {
            let mut connection = PgConnection::connect(url).await.unwrap();
            return sqlx::query_scalar(COUNT)
                .fetch_one(&mut connection)
                .await
                .unwrap();
        }
        let file = self.data_dir().join("sandbox.db");
        let options = SqliteConnectOptions::new().filename(file).read_only(true);
        let mut connection = options.connect().await.unwrap();
        sqlx::query_scalar(COUNT)
            .fetch_one(&mut connection)
            .await
            .unwrap()
    }

    /// Whether nobody holds the lock that all writers of a shared SQLite file need.
    pub(crate) async fn can_be_written(&self) -> bool {
        let data = self.data_dir();
        let is_free = self.postgres.is_some() || can_write(&data.join("faktor.db")).await;
        is_free && can_write(&data.join("sandbox.db")).await
    }
}

async fn can_write(file: &Path) -> bool {
    if !file.exists() {
        return true;
    }
    let options = SqliteConnectOptions::new()
        .filename(file)
        .busy_timeout(Duration::from_millis(200));
    let Ok(mut connection) = options.connect().await else {
        return false;
    };
    let locked = connection.execute("BEGIN IMMEDIATE; ROLLBACK").await;
    let _ = connection.close().await;
    locked.is_ok()
}
