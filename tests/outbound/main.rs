//! The outside world of the embedded node: mail spool, sandbox payments.
#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

#[cfg(test)]
#[path = "../support/backends.rs"]
mod backends;
mod charges;
mod checkout;
#[cfg(test)]
#[path = "../support/fault_proxy.rs"]
#[expect(dead_code, reason = "a fixture of which this suite needs a part")]
mod fault_proxy;
mod mail;
#[cfg(test)]
mod nodes;
#[cfg(test)]
#[path = "../support/postgres_database.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of PostgreSQL alone, which use more of it"
)]
mod postgres_database;
mod setting;
mod webhooks;
