//! A MongoDB database of its own for one test, with everything else in SQLite; dropped at its end.

use std::time::Duration;

use faktor::clock::{self, Clock};
use faktor::config::Secret;
use faktor::store::Stores;
use faktor::store::mongo::{MongoDatabase, MongoOptions};
use faktor::store::sql::{SqliteOptions, SqliteStore};
use mongodb::{Client, Database};

/// Lives as long as the test, which must run on several threads.
pub(crate) struct TestDatabase {
    /// `mongodb://host:port/database`.
    pub(crate) url: String,
    /// What an operator sees.
    pub(crate) database: Database,
    directory: tempfile::TempDir,
}

impl TestDatabase {
    /// `None` when there is no server to be used.
    pub(crate) async fn new() -> Option<Self> {
        let address = crate::backends::backend("MONGO")?;
        let (server, _) = address.rsplit_once('/').expect("a database in the URL");
        let name = format!("faktor_test_{}", clock::random_hex::<8>());
        let url = format!("{server}/{name}");
        let database = Client::with_uri_str(&url).await.unwrap().database(&name);
        let directory = tempfile::tempdir().unwrap();
        Some(Self {
            url,
            database,
            directory,
        })
    }

    /// Everything but invoices and feed.
    pub(crate) async fn relational(&self) -> Stores {
        let options = SqliteOptions::default();
        let opened = SqliteStore::open(self.directory.path(), options).await;
        opened.unwrap().0
    }

    /// As a node has them.
    pub(crate) async fn stores(&self) -> Stores {
        stores(&self.url, self.relational().await, PATIENCE).await
    }
}

/// Long enough for thousands of operations that wait for each other.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Another node's view of the invoices at `url`.
pub(crate) async fn stores(url: &str, relational: Stores, patience: Duration) -> Stores {
    let options = MongoOptions {
        url: Secret::new(url.to_owned()),
        max_connections: 16,
        connect_timeout: Duration::from_secs(5),
        statement_timeout: patience,
    };
    let database = MongoDatabase::open(&options).await.unwrap();
    database.stores(relational, Clock::System)
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let drop = async { self.database.drop().await };
        let dropped =
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(drop));
        if let Err(error) = dropped {
            eprintln!("the test's database stays behind: {error}");
        }
    }
}
