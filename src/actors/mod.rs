//! The supervised actors: invoices and their shards, the worker pools, outbox, inbox, sweeper.

pub mod auth_cache;
pub mod documents;
pub mod inbox;
pub mod invoices;
pub mod outbox;
pub mod pool;
pub mod root;
pub mod slot;
