//! What a cluster does for its users and operators: several real processes over one store.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends where it can't go on, and says what it saw"
)]

mod alarms;
mod alone;
#[path = "../support/backends.rs"]
mod backends;
#[path = "../cluster/cluster.rs"]
#[expect(dead_code, reason = "a fixture of which this suite needs a part")]
mod cluster;
mod joining;
#[path = "../cluster/link.rs"]
mod link;
#[path = "../cluster/node.rs"]
mod node;
mod operators;
#[path = "../support/postgres_database.rs"]
#[expect(dead_code, reason = "a fixture of which this suite needs a part")]
mod postgres_database;
mod revocations;
mod site;
mod story;
mod stream;
mod streams;
mod waiting;
mod webhooks;

use tokio::sync::{Semaphore, SemaphorePermit};

/// So many tests at a time: each has several processes, and looks at the time.
static TURNS: Semaphore = Semaphore::const_new(2);

async fn turn() -> SemaphorePermit<'static> {
    TURNS.acquire().await.expect("it is never closed")
}
