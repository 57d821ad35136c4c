//! What only PostgreSQL can show: many nodes on one database, and a database that goes away.

#[cfg(test)]
#[path = "../support/backends.rs"]
mod backends;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod link;
#[cfg(test)]
mod nodes;
#[cfg(test)]
#[path = "../support/own_server.rs"]
#[expect(dead_code, reason = "a fixture of which this suite needs a part")]
mod own_server;
#[cfg(test)]
#[path = "../support/postgres_database.rs"]
mod postgres_database;
#[cfg(test)]
#[path = "../store_sample/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with the contract suite, which uses more of it"
)]
mod sample;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod series;
#[cfg(test)]
mod tls;

#[cfg(test)]
use std::time::Duration;

#[cfg(test)]
use faktor::store::sql::{PostgresOptions, PostgresStore, StoreHandle};
#[cfg(test)]
use faktor::store::{StoreError, Stores};

/// Few connections: tests run side by side.
#[cfg(test)]
fn options() -> PostgresOptions {
    PostgresOptions {
        max_connections: 5,
        ..PostgresOptions::default()
    }
}

/// A node that does not wait long.
#[cfg(test)]
fn impatient() -> PostgresOptions {
    PostgresOptions {
        connect_timeout: Duration::from_millis(1_500),
        statement_timeout: Duration::from_millis(600),
        ..options()
    }
}

/// One node's stores.
#[cfg(test)]
async fn open(url: &str) -> (Stores, StoreHandle) {
    PostgresStore::open(url, options()).await.unwrap()
}

#[cfg(test)]
fn reason(error: &StoreError) -> &str {
    match error {
        StoreError::Unavailable { reason } | StoreError::Corrupt { reason } => reason,
        other => panic!("not a fault: {other:?}"),
    }
}
