//! What Faktor keeps, as traits: each has a contract suite that every backend passes.

use std::sync::Arc;

pub mod cache;
pub mod cluster;
mod directory;
mod feed;
mod identity;
mod inbox;
mod invoices;
pub mod mongo;
pub mod redis;
mod search;
mod series;
mod shard;
pub mod sql;

pub use directory::{Asset, DirectoryStore, KeptAnswer};
pub use feed::{FeedStore, PlacedEvent};
pub use identity::{
    ADMINISTRATOR, ApiKey, IdentityStore, Refreshed, Role, Session, SigningKey, User,
};
pub use inbox::{InboxMessage, InboxStore};
pub use invoices::{Commit, DueInvoice, InvoiceFilter, InvoiceStore};
pub use series::SeriesStore;
pub use shard::{Epoch, SHARDS, ShardId};

/// Why the store could not do it. The first five are answers, the rest are faults.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The condition on the old version (or on uniqueness) did not hold.
    #[error("another write came first")]
    Conflict,
    /// The condition on the owner's epoch did not hold.
    #[error("this node no longer owns the invoice")]
    NotOwner,
    /// The value of a unique field is taken.
    #[error("{field} is already in use")]
    Taken { field: &'static str },
    /// The change would leave the organization without an administrator.
    #[error("an organization needs at least one administrator")]
    LastAdministrator,
    /// The invoice with its history would not fit into what the store keeps of one, in bytes.
    #[error("the invoice and its history would have {bytes} bytes, {allowed} are allowed")]
    TooLarge { bytes: u64, allowed: u64 },
    /// Disk full, read-only, or gone for the moment. Nothing was acknowledged: whoever goes on
    /// reads first.
    #[error("the store is not available: {reason}")]
    Unavailable { reason: String },
    /// What is stored, or was given to be stored, makes no sense.
    #[error("stored data is damaged: {reason}")]
    Corrupt { reason: String },
    /// The data were written by a newer Faktor.
    #[error(
        "the database has schema {found}, this binary knows up to {known}; use the newer binary"
    )]
    SchemaTooNew { found: i64, known: i64 },
    /// Another process works on the data directory.
    #[error(
        "the data directory {directory} is in use by {holder}; stop it or choose another one; nodes \
         of one cluster share it when every one of them has [cluster] listen"
    )]
    InUse { directory: String, holder: String },
}

/// Which part of a list: newest first, after the item with the given id.
#[derive(Debug, Clone)]
pub struct PageRequest<Id> {
    pub limit: u16,
    pub starting_after: Option<Id>,
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    pub data: Vec<T>,
    pub has_more: bool,
}

/// All stores of a node.
#[derive(Clone)]
pub struct Stores {
    pub invoices: Arc<dyn InvoiceStore>,
    pub feed: Arc<dyn FeedStore>,
    pub series: Arc<dyn SeriesStore>,
    pub inbox: Arc<dyn InboxStore>,
    pub identity: Arc<dyn IdentityStore>,
    pub directory: Arc<dyn DirectoryStore>,
    pub cluster: Arc<dyn cluster::ClusterStore>,
}
