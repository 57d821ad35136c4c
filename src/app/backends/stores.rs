//! Where things are kept: the relational store, the invoices' store, and what nodes share in passing.

use tokio::time::Duration;

use super::error::{BackendError, patiently, shown};
use crate::config::Config;
use crate::store::cache::{Peers, SharedCache};
use crate::store::mongo::{MongoDatabase, MongoOptions};
use crate::store::redis::{Redis, RedisOptions};
use crate::store::sql::{
    DirectoryLock, PostgresOptions, PostgresStore, SqliteOptions, SqliteStore, StoreHandle,
};
use crate::store::{StoreError, Stores};

/// Opens the relational store that the configuration names.
pub async fn open_stores(config: &Config) -> Result<(Stores, StoreHandle), BackendError> {
    if config.storage.relational.is_empty() {
        open_sqlite(config, config.cluster.listen_address().is_some()).await
    } else {
        open_postgres(config).await
    }
}

/// Opens the relational store beside nodes that are at work on it.
pub async fn open_book(config: &Config) -> Result<(Stores, StoreHandle), BackendError> {
    if config.storage.relational.is_empty() {
        open_sqlite(config, true).await
    } else {
        open_postgres(config).await
    }
}

async fn open_sqlite(config: &Config, shared: bool) -> Result<(Stores, StoreHandle), BackendError> {
    let data_dir = &config.storage.data_dir;
    let options = SqliteOptions {
        shared,
        ..SqliteOptions::default()
    };
    let opened = SqliteStore::open(data_dir, options).await;
    opened.map_err(|error| BackendError {
        backend: "store (SQLite)",
        address: data_dir.display().to_string(),
        reason: error.to_string(),
    })
}

async fn open_postgres(config: &Config) -> Result<(Stores, StoreHandle), BackendError> {
    const BACKEND: &str = "store (PostgreSQL)";
    let storage = &config.storage;
    let url = storage.relational.expose();
    let options = PostgresOptions {
        max_connections: storage.max_connections,
        connect_timeout: Duration::from_millis(storage.connect_timeout_ms),
        statement_timeout: Duration::from_millis(storage.statement_timeout_ms),
        ..PostgresOptions::default()
    };
    let address = shown(url);
    let unusable = |reason| BackendError {
        backend: BACKEND,
        address: address.clone(),
        reason,
    };
    // Waiting does not change an address.
    PostgresStore::check_address(url).map_err(unusable)?;
    let opened = patiently(config, BACKEND, &address, || async {
        match PostgresStore::open(url, options.clone()).await {
            Err(StoreError::Unavailable { reason }) => Err(reason),
            // Waiting does not change anything else.
            settled => Ok(settled),
        }
    })
    .await?;
    opened.map_err(|error| unusable(error.to_string()))
}

/// Locks the data directory if this node keeps anything there besides the database, which SQLite
/// locks by itself. Nodes of one cluster on one machine share it.
pub(super) fn lock_data_dir(
    config: &Config,
    store: StoreHandle,
) -> Result<StoreHandle, BackendError> {
    let storage = &config.storage;
    let kept_there = storage.documents.is_empty() || config.mail.url.is_empty();
    if storage.relational.is_empty() || !kept_there {
        return Ok(store);
    }
    let locked = if config.cluster.listen.is_empty() {
        DirectoryLock::take(&storage.data_dir)
    } else {
        DirectoryLock::share(&storage.data_dir)
    };
    match locked {
        Ok(lock) => Ok(store.holding(lock)),
        Err(error) => Err(BackendError {
            backend: "data directory",
            address: storage.data_dir.display().to_string(),
            reason: error.to_string(),
        }),
    }
}

pub(super) async fn open_invoices(config: &Config) -> Result<Option<MongoDatabase>, BackendError> {
    let url = &config.storage.invoices;
    if url.is_empty() {
        return Ok(None);
    }
    let options = MongoOptions::of(&config.storage);
    let attempt = || MongoDatabase::open(&options);
    patiently(config, "invoices (MongoDB)", &shown(url.expose()), attempt)
        .await
        .map(Some)
}

pub(super) async fn open_cache(config: &Config) -> Result<SharedCache, BackendError> {
    let cache = &config.cache;
    if cache.url.is_empty() {
        return Ok(match config.cluster.listen_address() {
            Some(_) => SharedCache::Peers(Peers::default()),
            None => SharedCache::None,
        });
    }
    let url = cache.url.expose();
    let options = RedisOptions {
        url: url.to_owned(),
        key_prefix: cache.key_prefix.clone(),
        timeout: Duration::from_millis(cache.timeout_ms),
    };
    let open = || Redis::open(&options);
    let redis = patiently(config, "cache (Redis)", &shown(url), open).await?;
    Ok(SharedCache::Redis(redis))
}
