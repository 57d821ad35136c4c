//! Real processes under load, with faults, and a checker that afterwards compares what clients were
//! told with what is in the books.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test ends where it can't go on, and says what it saw"
)]

mod checker;
mod client;
mod cluster;
mod crashes;
#[path = "../domain_fixture/mod.rs"]
#[expect(dead_code, reason = "a fixture of which this suite needs a part")]
mod domain_fixture;
mod evidence;
mod faults;
mod link;
mod load;
mod node;
mod orders;
#[expect(dead_code, reason = "a fixture of which this suite needs a part")]
#[path = "../support/own_server.rs"]
mod own_server;
mod postgres;
mod reader;
mod recording;
mod report;
mod schedule;
mod single;
mod support;
mod trial;
mod visitors;

use support::backends;
use tokio::sync::{Mutex, MutexGuard};

/// One trial at a time: each wants the whole machine.
static TURN: Mutex<()> = Mutex::const_new(());

async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}
