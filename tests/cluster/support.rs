//! What is shared with other suites.

#[path = "../support/backends.rs"]
pub(crate) mod backends;
#[path = "../support/fault_proxy.rs"]
#[expect(dead_code, reason = "a fixture of which this suite needs a part")]
pub(crate) mod fault_proxy;
#[path = "../support/postgres_database.rs"]
#[expect(dead_code, reason = "a fixture of which this suite needs a part")]
pub(crate) mod postgres_database;
