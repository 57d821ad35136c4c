//! The outside world of the embedded node: mail spool, sandbox payments.
#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

#[path = "../support/backends.rs"]
mod backends;
mod charges;
mod checkout;
mod mail;
mod nodes;
#[path = "../support/postgres_database.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of PostgreSQL alone, which use more of it"
)]
mod postgres_database;
mod setting;
mod webhooks;
