//! Opening: connect, and make the indexes that are missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use bson::{Document, doc};
use mongodb::options::{
    Acknowledgment, ClientOptions, CollectionOptions, ReadConcern, ReadPreference,
    SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Database, IndexModel};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::MongoStore;
use super::error::{Failure, unavailable};
use super::query::{feed_indexes, invoice_indexes};
use crate::clock::Clock;
use crate::config::{Secret, Storage};
use crate::store::{StoreError, Stores};

/// How long making an index may take that is missing beside many invoices.
const INDEX_TIMEOUT: Duration = Duration::from_hours(1);

const INVOICES: &str = "invoices";
const FEED: &str = "feed";
const FEED_CURSORS: &str = "feed_cursors";

/// Where the database is, and how long to wait for it.
#[derive(Debug, Clone)]
pub struct MongoOptions {
    /// `mongodb://…/database`.
    pub url: Secret,
    /// Connections to each server, at most.
    pub max_connections: u32,
    /// How long finding and reaching the server that takes writes may take.
    pub connect_timeout: Duration,
    /// How long one operation may take.
    pub statement_timeout: Duration,
}

impl MongoOptions {
    pub fn of(storage: &Storage) -> Self {
        Self {
            url: storage.invoices.clone(),
            max_connections: storage.max_connections,
            connect_timeout: Duration::from_millis(storage.connect_timeout_ms),
            statement_timeout: Duration::from_millis(storage.statement_timeout_ms),
        }
    }
}

/// A database that was reached, with its indexes.
pub struct MongoDatabase {
    database: Database,
    statement_timeout: Duration,
}

impl MongoDatabase {
    /// Connects, and makes the indexes that are missing.
    ///
    /// `Unavailable` when the address is no good, nobody answers there, or the user may not write.
    pub async fn open(options: &MongoOptions) -> Result<Self, StoreError> {
        let client = client_options(options).await?;
        let name = client.default_database.clone().ok_or_else(|| {
            unavailable("the address names no database; expected mongodb://host:port/database")
        })?;
        let database = Client::with_options(client)
            .map_err(open_fault)?
            .database(&name);
        let patience = options.connect_timeout + options.statement_timeout;
        within(
            patience,
            database.run_command(doc! {"ping": 1}).into_future(),
        )
        .await?;
        make(&database, INVOICES, invoice_indexes()).await?;
        make(&database, FEED, feed_indexes()).await?;
        Ok(Self {
            database,
            statement_timeout: options.statement_timeout,
        })
    }

    /// The stores with their invoices and feed kept here, and everything else where it was.
    pub fn stores(self, relational: Stores, clock: Clock) -> Stores {
        let database = self.database;
        let store = Arc::new(MongoStore {
            invoices: database.collection(INVOICES),
            feed: database.collection(FEED),
            cursors: database.collection(FEED_CURSORS),
            database,
            series: Arc::clone(&relational.series),
            clock,
            statement_timeout: self.statement_timeout,
            failing: AtomicBool::new(false),
            unplaced: AtomicBool::new(false),
            untold: AtomicU64::new(0),
            placing: Mutex::new(None),
        });
        Stores {
            invoices: Arc::clone(&store) as _,
            feed: store,
            ..relational
        }
    }
}

async fn client_options(options: &MongoOptions) -> Result<ClientOptions, StoreError> {
    let mut client = ClientOptions::parse(options.url.expose())
        .await
        .map_err(open_fault)?;
    client.app_name = Some("faktor".to_owned());
    client.connect_timeout = Some(options.connect_timeout);
    client.server_selection_timeout = Some(options.connect_timeout);
    client.max_pool_size = Some(options.max_connections);
    // What an address says of these could break promises: an invoice is read where it is written,
    // and neither is anything acknowledged nor acted on that a failover could take back.
    client.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    client.read_concern = Some(ReadConcern::majority());
    client.write_concern = Some(
        WriteConcern::builder()
            .w(Acknowledgment::Majority)
            .journal(true)
            .w_timeout(options.statement_timeout)
            .build(),
    );
    Ok(client)
}

async fn make(
    database: &Database,
    collection: &str,
    indexes: Vec<IndexModel>,
) -> Result<(), StoreError> {
    // Without the time limit of writes: a large collection's index may take long.
    let patient = CollectionOptions::builder()
        .write_concern(WriteConcern::majority())
        .build();
    let collection = database.collection_with_options::<Document>(collection, patient);
    let making = collection.create_indexes(indexes).max_time(INDEX_TIMEOUT);
    within(INDEX_TIMEOUT, making.into_future())
        .await
        .map(|_| ())
}

async fn within<T>(
    patience: Duration,
    operation: impl Future<Output = mongodb::error::Result<T>>,
) -> Result<T, StoreError> {
    match timeout(patience, operation).await {
        Ok(answer) => answer.map_err(open_fault),
        Err(_) => Err(unavailable("MongoDB does not answer")),
    }
}

fn open_fault(error: mongodb::error::Error) -> StoreError {
    Failure::from(error).into_error()
}
