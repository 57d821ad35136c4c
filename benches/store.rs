//! How much group commit gives, and what activation costs over a plain SELECT.
//!
//! Only ratios of one run mean anything: absolute times are those of the machine's disk.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark: it ends or it prints"
)]

use std::path::Path;
use std::time::Duration;

use faktor::domain::ids::InvoiceId;
use faktor::store::sql::{SqliteOptions, SqliteStore};
use faktor::store::{Commit, Stores};
use futures_util::future::join_all;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions, Row};
use tokio::time::Instant;

#[path = "../tests/store_sample/mod.rs"]
#[expect(dead_code, reason = "shared with the tests, which use more of it")]
mod sample;

use sample::{change, creation, draft, new_organization};

/// How long each measurement runs.
const MEASURE: Duration = Duration::from_secs(2);
const INVOICES: usize = 512;

/// What one measurement came to.
struct Rate {
    per_second: f64,
    /// Processor time of the whole process for one operation.
    cpu_micros: f64,
}

fn main() {
    // `cargo test --benches` only wants to see that it starts: `cargo bench` says `--bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        writes().await;
        reads().await;
    });
}

async fn writes() {
    println!(
        "one command = snapshot of {} lines, one entry, one event",
        sample::LINES
    );
    println!(
        "| kind | callers | one transaction each /s | group commit /s | ratio | CPU µs each | CPU µs group |"
    );
    println!("|---|---|---|---|---|---|---|");
    for kind in ["create", "change"] {
        for callers in [1, 32, 256] {
            let single = write_rate(kind, callers, 1).await;
            let group = write_rate(kind, callers, SqliteOptions::default().max_batch).await;
            println!(
                "| {kind} | {callers} | {:.0} | {:.0} | {:.1} | {:.0} | {:.0} |",
                single.per_second,
                group.per_second,
                group.per_second / single.per_second,
                single.cpu_micros,
                group.cpu_micros,
            );
        }
    }
}

async fn write_rate(kind: &str, callers: usize, max_batch: usize) -> Rate {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        max_batch,
        ..SqliteOptions::default()
    };
    let (stores, handle) = SqliteStore::open(directory.path(), options).await.unwrap();
    let organization = new_organization();
    // Every caller is a task of its own, as an invoice's actor is.
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let (stores, kind) = (stores.clone(), kind.to_owned());
            let mut present = draft(organization);
            async move {
                stores.invoices.commit(creation(&present)).await.unwrap();
                move |until: Instant| async move {
                    let mut count = 0_u32;
                    while Instant::now() < until {
                        let commit: Commit = if kind == "create" {
                            creation(&draft(organization))
                        } else {
                            change(&present, |after| after.next_effect += 1)
                        };
                        if kind == "change" {
                            present = (*commit.invoice).clone();
                        }
                        stores.invoices.commit(commit).await.unwrap();
                        count += 1;
                    }
                    count
                }
            }
        })
        .collect();
    let callers = join_all(callers).await;
    let rate = measure(|until| {
        callers
            .into_iter()
            .map(|caller| tokio::spawn(caller(until)))
            .collect()
    })
    .await;
    handle.close().await.unwrap();
    rate
}

async fn reads() {
    let directory = tempfile::tempdir().unwrap();
    let (stores, handle) = SqliteStore::open(directory.path(), SqliteOptions::default())
        .await
        .unwrap();
    let organization = new_organization();
    let drafts: Vec<_> = (0..INVOICES).map(|_| draft(organization)).collect();
    for answer in join_all(drafts.iter().map(|it| stores.invoices.commit(creation(it)))).await {
        answer.unwrap();
    }
    let ids: Vec<InvoiceId> = drafts.iter().map(|draft| draft.id).collect();
    let snapshot = serde_json::to_string(&drafts[0]).unwrap();
    println!(
        "\na snapshot of {} lines: {} bytes",
        sample::LINES,
        snapshot.len()
    );
    println!("| readers | plain SELECT /s | load /s | ratio | CPU µs SELECT | CPU µs load |");
    println!("|---|---|---|---|---|---|");
    let pool = plain_pool(directory.path());
    for readers in [1, 8] {
        let (plain_pool, loading) = (pool.clone(), stores.clone());
        let plain = read_rate(readers, &ids, move |id| {
            let pool = plain_pool.clone();
            async move {
                let row = sqlx::query("SELECT snapshot FROM invoices WHERE id = $1")
                    .bind(id.uuid().as_bytes().to_vec())
                    .fetch_one(&pool)
                    .await
                    .unwrap();
                assert!(!row.get::<&str, _>(0).is_empty());
            }
        })
        .await;
        let load = read_rate(readers, &ids, move |id| {
            let stores: Stores = loading.clone();
            async move { assert!(stores.invoices.load(id).await.unwrap().is_some()) }
        })
        .await;
        println!(
            "| {readers} | {:.0} | {:.0} | {:.2} | {:.0} | {:.0} |",
            plain.per_second,
            load.per_second,
            load.per_second / plain.per_second,
            plain.cpu_micros,
            load.cpu_micros,
        );
    }
    let started = Instant::now();
    for _ in 0..1_000 {
        let invoice: faktor::domain::invoice::Invoice = serde_json::from_str(&snapshot).unwrap();
        assert_eq!(invoice.version, 1);
    }
    println!(
        "reading a snapshot's JSON: {:.1} µs",
        started.elapsed().as_secs_f64() * 1e3
    );
    let started = Instant::now();
    for _ in 0..1_000 {
        assert!(!serde_json::to_string(&drafts[0]).unwrap().is_empty());
    }
    println!(
        "writing a snapshot's JSON: {:.1} µs",
        started.elapsed().as_secs_f64() * 1e3
    );
    pool.close().await;
    handle.close().await.unwrap();
    open_time(directory.path()).await;
}

/// The same connections as the store's.
fn plain_pool(directory: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(directory.join("faktor.db"))
        .read_only(true)
        .disable_statement_logging();
    SqlitePoolOptions::new()
        .max_connections(SqliteOptions::default().readers)
        .test_before_acquire(false)
        .connect_lazy_with(options)
}

async fn read_rate<F>(
    readers: usize,
    ids: &[InvoiceId],
    read: impl Fn(InvoiceId) -> F + Clone + Send + 'static,
) -> Rate
where
    F: Future<Output = ()> + Send,
{
    measure(|until| {
        (0..readers)
            .map(|reader| {
                let (read, ids) = (read.clone(), ids.to_vec());
                tokio::spawn(async move {
                    let mut count = 0_u32;
                    for id in ids.into_iter().cycle().skip(reader * 37) {
                        if Instant::now() >= until {
                            break;
                        }
                        read(id).await;
                        count += 1;
                    }
                    count
                })
            })
            .collect()
    })
    .await
}

async fn measure(start: impl FnOnce(Instant) -> Vec<tokio::task::JoinHandle<u32>>) -> Rate {
    let (started, cpu_before) = (Instant::now(), cpu_seconds());
    let tasks = start(started + MEASURE);
    let mut count = 0;
    for task in tasks {
        count += task.await.unwrap();
    }
    let (elapsed, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu_before);
    let count = f64::from(count.max(1));
    Rate {
        per_second: count / elapsed,
        cpu_micros: cpu / count * 1e6,
    }
}

async fn open_time(directory: &Path) {
    let mut times = Vec::new();
    for _ in 0..20 {
        let started = Instant::now();
        let (stores, handle) = SqliteStore::open(directory, SqliteOptions::default())
            .await
            .unwrap();
        times.push(started.elapsed());
        drop(stores);
        handle.close().await.unwrap();
    }
    times.sort();
    println!(
        "opening an existing store: {:.1} ms (median)",
        times[10].as_secs_f64() * 1e3
    );
}

/// Processor time of this process, user and system.
fn cpu_seconds() -> f64 {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(usage).unwrap().as_secs_f64()
}
