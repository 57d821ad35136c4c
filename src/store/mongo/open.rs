//! Opening: connect, and make the indexes that are missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use mongodb::options::{
    Acknowledgment, ClientOptions, CollectionOptions, ReadConcern, ReadPreference,
    SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection, IndexModel};
use tokio::sync::Mutex;

use super::MongoStore;
use super::error::{Failure, unavailable};
use super::query::{feed_indexes, invoice_indexes};
use crate::clock::Clock;
use crate::config::{Secret, Storage};
use crate::store::{SeriesStore, StoreError};

/// How long making an index may take that is missing beside many invoices.
const INDEX_TIMEOUT: Duration = Duration::from_hours(1);

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

impl MongoStore {
    /// Connects, and makes the indexes that are missing. Numbers that uploaded invoices bring along
    /// are reserved in `series`.
    ///
    /// `Unavailable` when the address is no good, nobody answers there, or the user may not write.
    pub async fn open(
        options: MongoOptions,
        series: Arc<dyn SeriesStore>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let client_options = client_options(&options).await?;
        let name = client_options.default_database.clone().ok_or_else(|| {
            unavailable("storage.invoices names no database; expected mongodb://host:port/database")
        })?;
        let client = Client::with_options(client_options).map_err(open_fault)?;
        let database = client.database(&name);
        let store = Self {
            invoices: database.collection("invoices"),
            feed: database.collection("feed"),
            cursors: database.collection("feed_cursors"),
            database,
            series,
            clock,
            statement_timeout: options.statement_timeout,
            failing: AtomicBool::new(false),
            unplaced: AtomicBool::new(false),
            untold: AtomicU64::new(0),
            placing: Mutex::new(None),
        };
        store.answers().await?;
        make(&store.invoices, invoice_indexes()).await?;
        make(&store.feed, feed_indexes()).await?;
        Ok(store)
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
    collection: &Collection<bson::Document>,
    indexes: Vec<IndexModel>,
) -> Result<(), StoreError> {
    // Without the time limit of writes: a large collection's index may take long.
    let patient = CollectionOptions::builder()
        .write_concern(WriteConcern::majority())
        .build();
    let collection = collection
        .client()
        .database(&collection.namespace().db)
        .collection_with_options::<bson::Document>(&collection.namespace().coll, patient);
    let making = collection.create_indexes(indexes);
    making
        .max_time(INDEX_TIMEOUT)
        .await
        .map(|_| ())
        .map_err(open_fault)
}

fn open_fault(error: mongodb::error::Error) -> StoreError {
    Failure::from(error).into_error()
}
