//! What an open database is handed out as, and how it is closed.

use std::sync::Arc;

use super::lock::DirectoryLock;
use super::{Database, SqlStore};
use crate::store::{StoreError, Stores};

/// Watches over an open store, and closes it.
#[derive(Clone)]
pub struct StoreHandle {
    database: Database,
    /// The data directory is ours as long as the store is open.
    lock: Option<Arc<DirectoryLock>>,
}

/// Every store over one database.
pub(super) fn stores(
    database: Database,
    lock: Option<Arc<DirectoryLock>>,
) -> (Stores, StoreHandle) {
    let store = Arc::new(SqlStore {
        database: database.clone(),
    });
    let stores = Stores {
        invoices: Arc::clone(&store) as _,
        feed: Arc::clone(&store) as _,
        series: Arc::clone(&store) as _,
        inbox: Arc::clone(&store) as _,
        identity: Arc::clone(&store) as _,
        directory: Arc::clone(&store) as _,
        cluster: store,
    };
    (stores, StoreHandle { database, lock })
}

impl StoreHandle {
    /// Finishes what waits to be written, refuses what comes after, and closes the connections.
    pub async fn close(&self) -> Result<(), StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) => sqlite.close().await?,
            Database::Postgres(postgres) => postgres.close().await,
        }
        self.lock.as_ref().map_or(Ok(()), |lock| lock.release())
    }

    /// Keeps the data directory locked until the store is closed.
    #[must_use]
    pub fn holding(self, lock: DirectoryLock) -> Self {
        Self {
            lock: Some(Arc::new(lock)),
            ..self
        }
    }

    /// Writes that wait for their transaction.
    pub fn queue_len(&self) -> usize {
        match &self.database {
            Database::Sqlite(sqlite) => sqlite.queue_len(),
            Database::Postgres(postgres) => postgres.queue_len(),
        }
    }

    /// False after a write failed for the whole store (disk full, read-only), until one succeeds.
    pub fn takes_writes(&self) -> bool {
        match &self.database {
            Database::Sqlite(sqlite) => !sqlite.is_failing(),
            Database::Postgres(postgres) => !postgres.is_failing(),
        }
    }
}
