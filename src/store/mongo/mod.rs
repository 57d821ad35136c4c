//! The MongoDB backend of invoices and their feed: one document per invoice, one conditional update
//! per command, no transaction.
//!
//! It uses only what MongoDB 4.4 and later have everywhere, standalone, replica set or sharded:
//! conditional updates of one document, plain indexes, majority read and write concern. Everything
//! is read with majority read concern, so that nothing is seen, acted on or published that a
//! failover could take back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

mod document;
mod error;
mod feed;
mod invoices;
mod open;
mod query;
mod values;

use error::{Failure, TIMED_OUT};
pub use open::{MongoDatabase, MongoOptions};

use super::{SeriesStore, StoreError};
use crate::clock::Clock;

/// Invoices and their feed, in one MongoDB database.
struct MongoStore {
    database: Database,
    invoices: Collection<Document>,
    feed: Collection<Document>,
    cursors: Collection<Document>,
    /// Where the numbers are reserved that uploaded invoices bring along.
    series: Arc<dyn SeriesStore>,
    clock: Clock,
    statement_timeout: Duration,
    /// Whether the last commit failed underneath us.
    failing: AtomicBool,
    /// Events were committed since the last look for those without a place in the feed.
    unplaced: AtomicBool,
    /// Events that have their places, and that `publish` has not told of yet.
    untold: AtomicU64,
    /// When this process last looked for events without a place; held while it gives places.
    placing: Mutex<Option<Instant>>,
}

/// The part of a collection that is wanted, in its order.
#[derive(Default)]
struct Find {
    filter: Document,
    projection: Document,
    sort: Document,
    limit: u16,
}

impl MongoStore {
    /// Waits for the server's answer no longer than `storage.statement_timeout_ms`.
    async fn timed<T>(
        &self,
        operation: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T, Failure> {
        match timeout(self.statement_timeout, operation).await {
            Ok(answer) => answer.map_err(Failure::from),
            Err(_) => Err(Failure::OutcomeUnknown(TIMED_OUT.to_owned())),
        }
    }

    /// At most one document.
    async fn find_one<T: DeserializeOwned + Send + Sync>(
        &self,
        collection: &Collection<Document>,
        filter: Document,
        projection: Document,
    ) -> Result<Option<T>, StoreError> {
        let typed = collection.clone_with_type::<T>();
        let found = self.timed(async {
            let find = typed.find_one(filter).projection(projection);
            find.max_time(self.statement_timeout).await
        });
        found.await.map_err(Failure::into_error)
    }

    /// At most `limit` documents, with one round trip unless they are large.
    async fn find<T: DeserializeOwned + Send + Sync>(
        &self,
        collection: &Collection<Document>,
        wanted: Find,
    ) -> Result<Vec<T>, StoreError> {
        if wanted.limit == 0 {
            // For the server that would be: without a limit.
            return Ok(Vec::new());
        }
        let typed = collection.clone_with_type::<T>();
        let found = self.timed(async {
            let find = typed
                .find(wanted.filter)
                .projection(wanted.projection)
                .limit(i64::from(wanted.limit))
                // One more than there are: the server then leaves no cursor open.
                .batch_size(u32::from(wanted.limit) + 1)
                .max_time(self.statement_timeout);
            let find = if wanted.sort.is_empty() {
                find
            } else {
                find.sort(wanted.sort)
            };
            find.await?.try_collect().await
        });
        found.await.map_err(Failure::into_error)
    }

    /// Whether the server that takes writes answers.
    async fn answers(&self) -> Result<(), StoreError> {
        let ping = self.timed(async { self.database.run_command(doc! {"ping": 1}).await });
        ping.await.map(|_| ()).map_err(Failure::into_error)
    }
}
