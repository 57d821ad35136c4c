//! A PostgreSQL database of a test's own, made empty and dropped after it.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};

use crate::backends::backend;

/// Lives as long as the test.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    pub(crate) name: String,
    server: String,
}

impl TestDatabase {
    /// `None` when no server was named.
    pub(crate) async fn new() -> Option<Self> {
        let server = backend("POSTGRES")?;
        let name = format!("faktor_test_{}", faktor::clock::new_uuid().simple());
        let database = Self {
            url: with_database(&server, &name),
            server,
            name,
        };
        let create = format!("CREATE DATABASE {} TEMPLATE template0", database.name);
        connect(&database.server)
            .await
            .execute(AssertSqlSafe(create))
            .await
            .unwrap();
        Some(database)
    }

    /// A connection as an operator has it, beside those of the store.
    pub(crate) async fn raw(&self) -> PgConnection {
        connect(&self.url).await
    }

    /// Runs a statement as an operator does.
    pub(crate) async fn execute(&self, statement: &str) {
        let mut connection = self.raw().await;
        connection
            .execute(AssertSqlSafe(statement.to_owned()))
            .await
            .unwrap();
        connection.close().await.unwrap();
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A drop can't wait in the test's own runtime; and it also comes after a failed test.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                connect(&server).await.execute(AssertSqlSafe(drop)).await
            })
        });
        if !matches!(dropping.join(), Ok(Ok(_))) {
            eprintln!("the test's database {} could not be dropped", self.name);
        }
    }
}

/// The same server's address with another database.
fn with_database(server: &str, name: &str) -> String {
    let (address, parameters) = match server.split_once('?') {
        Some((address, parameters)) => (address, format!("?{parameters}")),
        None => (server, String::new()),
    };
    let host = address.rsplit_once('/').map_or(address, |(host, _)| host);
    format!("{host}/{name}{parameters}")
}

async fn connect(url: &str) -> PgConnection {
    let options = PgConnectOptions::from_str(url).unwrap();
    options.disable_statement_logging().connect().await.unwrap()
}
