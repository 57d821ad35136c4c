//! What the whole node costs beside a bare server, measured from outside over HTTP.
//!
//! `cargo bench --bench edge`, or one section of it: `-- create`, `read`, `memory`, `activation`,
//! `start`, `storm`, `real` (which needs the servers of `scripts/services`). Absolute times are those of the machine; the ratios are taken between servers
//! that run side by side and are asked in turns.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark: it ends or it prints"
)]

mod bare;
mod client;
mod measure;
mod memory;
mod real;
mod server;
mod start;
mod storm;
mod throughput;

/// One figure with its limit.
struct Figure {
    name: String,
    measured: f64,
    limit: Limit,
    note: String,
}

enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Figure {
    fn at_most(name: &str, limit: f64, measured: f64, note: String) -> Self {
        let (name, limit) = (name.to_owned(), Limit::AtMost(limit));
        Self {
            name,
            measured,
            limit,
            note,
        }
    }

    fn at_least(name: &str, limit: f64, measured: f64, note: String) -> Self {
        let (name, limit) = (name.to_owned(), Limit::AtLeast(limit));
        Self {
            name,
            measured,
            limit,
            note,
        }
    }

    fn print(&self) {
        let (sign, limit, holds) = match self.limit {
            Limit::AtMost(limit) => ("≤", limit, self.measured <= limit),
            Limit::AtLeast(limit) => ("≥", limit, self.measured >= limit),
        };
        let verdict = if holds { "holds" } else { "MISSED" };
        println!(
            "| {} | {sign} {limit} | {:.2} | {verdict} | {} |",
            self.name, self.measured, self.note
        );
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .first()
        .is_some_and(|first| first == bare::ARGUMENT)
    {
        return bare::run(&arguments[1..]);
    }
    // `cargo test --benches` only wants to see that it starts: `cargo bench` says `--bench`.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let wanted: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let runs = |section: &str| wanted.is_empty() || wanted.iter().any(|name| *name == section);
    // The load comes from one thread, so that one of two cores is the servers' own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    println!("| figure | limit | measured | | |");
    println!("|---|---|---|---|---|");
    if runs("start") {
        print(runtime.block_on(start::start()));
    }
    if runs("create") {
        print(runtime.block_on(throughput::create()));
    }
    if runs("read") {
        print(runtime.block_on(throughput::read()));
    }
    if runs("memory") {
        print(runtime.block_on(memory::memory()));
    }
    if runs("activation") {
        print(memory::activation());
    }
    if runs("storm") {
        print(runtime.block_on(storm::storm()));
    }
    if runs("real") {
        runtime.block_on(real::real());
    }
}

fn print(figures: Vec<Figure>) {
    for figure in figures {
        figure.print();
    }
}
