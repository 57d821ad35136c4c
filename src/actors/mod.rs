//! The supervised actors: invoices and their shards, the worker pools, outbox, exporter, inbox, sweeper,
//! reconcile.

pub mod auth_cache;
pub mod documents;
mod effects;
mod exporter;
pub mod inbox;
mod invoice;
pub mod invoices;
mod live;
pub mod mail;
pub mod media;
pub mod outbox;
mod outcome;
pub mod ownership;
mod parts;
pub mod payment;
pub mod pdf;
pub mod pool;
mod probe;
mod reconcile;
pub mod root;
mod shard;
mod slot;
mod sweeper;
mod throttle;
