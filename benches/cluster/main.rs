//! What a cluster of real processes costs beside one process, and how it behaves when nodes come, go
//! and die. All of it on this machine: over one SQLite file, and over PostgreSQL where
//! `scripts/services` has it running.
//!
//! `cargo bench --bench cluster`, or one section of it: `-- routing`, `kill`, `stop`, `moving`,
//! `memory`; and of `routing` one kind of request, and one store: `-- routing create PostgreSQL`, or
//! `-- routing "whole life" SQLite`. Absolute times are those of the machine; the ratios are taken
//! within one run.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark: it ends or it prints"
)]

#[path = "../edge/client.rs"]
#[expect(dead_code, reason = "of the client, its connections are needed")]
mod client;
mod failures;
mod life;
mod load;
#[path = "../edge/measure.rs"]
mod measure;
mod memory;
mod moving;
mod nodes;
mod probes;
mod routing;
mod store;
mod ways;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` only wants to see that it starts: `cargo bench` says `--bench`.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let wanted: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let runs = |section: &str| wanted.is_empty() || wanted.iter().any(|name| *name == section);
    // The load comes from one thread, so that one of two cores is the nodes' own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        if runs("routing") {
            routing::routing(&wanted).await;
        }
        if runs("kill") {
            failures::kill().await;
        }
        if runs("stop") {
            failures::stop().await;
        }
        if runs("moving") {
            moving::moving().await;
        }
        if runs("memory") {
            memory::memory().await;
        }
    });
}

/// Whether a limit holds.
fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "MISSED" }
}
