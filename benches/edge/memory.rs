//! What a live invoice holds, and how fast invoices come to life from disk.

use std::path::Path;
use std::sync::Arc;

use faktor::app::App;
use faktor::clock::Clock;
use faktor::domain::ids::InvoiceId;
use futures_util::future::join_all;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions, Row};
use tokio::time::Instant;

use super::Figure;
use super::client::{Connection, request};
use super::measure::{create_body, median};
use super::server::{FIRST_USER, Server};

const INVOICES: usize = 5_000;
/// So many that the store's page caches, which fill up meanwhile, hardly count.
const LIVE_INVOICES: usize = 20_000;
/// Clients that fill the store, read and activate.
const CLIENTS: usize = 8;
const ROUNDS: usize = 3;

/// Makes invoices in a new data directory; their ids.
async fn fill(data: &Path, count: usize) -> Arc<Vec<String>> {
    let server = Server::faktor(data, FIRST_USER);
    server.ready().await;
    let creation = request(
        "POST",
        "/v1/invoices",
        Some(&server.login().await),
        &create_body(),
    );
    let address = server.address;
    let clients = (0..CLIENTS).map(|_| {
        let creation = Arc::clone(&creation);
        tokio::spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            let mut ids = Vec::new();
            for _ in 0..count / CLIENTS {
                let (status, answer) = connection.ask(&creation).await.unwrap();
                assert_eq!(status, 201);
                let invoice: serde_json::Value = serde_json::from_slice(&answer).unwrap();
                ids.push(invoice["id"].as_str().unwrap().to_owned());
            }
            ids
        })
    });
    let ids = join_all(clients).await;
    let ids = ids.into_iter().flat_map(Result::unwrap).collect();
    server.stop();
    Arc::new(ids)
}

pub(crate) async fn memory() -> Vec<Figure> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = directory.path().join("data");
    let ids = fill(&data, LIVE_INVOICES).await;
    let server = Server::faktor(&data, &[("FAKTOR__ACTORS__MAX_LIVE_INVOICES", "50000")]);
    server.ready().await;
    let token = server.login().await;
    // Lists go through the same connections of the store and the same code, but activate nothing.
    let list = request("GET", "/v1/invoices?limit=100", Some(&token), "");
    join_all((0..CLIENTS).map(|_| async {
        let mut connection = Connection::open(server.address).await.unwrap();
        for _ in 0..25 {
            assert_eq!(connection.ask(&list).await.unwrap().0, 200);
        }
    }))
    .await;
    let before = server.resident_kib();
    let mut bytes = 0;
    let clients = (0..CLIENTS).map(|client| {
        let (ids, token, address) = (Arc::clone(&ids), token.clone(), server.address);
        tokio::spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            let mut bytes = 0;
            for id in ids.iter().skip(client).step_by(CLIENTS) {
                let read = request("GET", &format!("/v1/invoices/{id}"), Some(&token), "");
                let (status, answer) = connection.ask(&read).await.unwrap();
                assert_eq!(status, 200);
                bytes += answer.len();
            }
            bytes
        })
    });
    for client in join_all(clients).await {
        bytes += client.unwrap();
    }
    let after = server.resident_kib();
    server.stop();
    vec![Figure::at_most(
        "KiB of memory for each live invoice of 10 lines",
        12.0,
        (after - before) / ids.len() as f64,
        format!(
            "{} invoices, all read once; {:.1} MiB → {:.1} MiB; the answer has {:.1} KiB",
            ids.len(),
            before / 1024.0,
            after / 1024.0,
            bytes as f64 / ids.len() as f64 / 1024.0
        ),
    )]
}

/// Coming to life, in this process: the handle's `get` of invoices that are not in memory, in turns
/// with a plain SELECT of the same rows.
pub(crate) fn activation() -> Vec<Figure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = directory.path().join("data");
    runtime.block_on(async {
        let ids = fill(&data, INVOICES).await;
        let ids: Arc<Vec<InvoiceId>> = Arc::new(ids.iter().map(|id| id.parse().unwrap()).collect());
        let (mut ratios, mut activations, mut selects) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let select = selecting(&data, &ids).await;
            let activation = activating(&data, &ids).await;
            ratios.push(activation / select);
            activations.push(activation);
            selects.push(select);
        }
        vec![Figure::at_least(
            "activation from disk: rate / plain SELECT",
            0.5,
            median(ratios),
            format!(
                "{:.0}/s / {:.0}/s with {CLIENTS} readers",
                median(activations),
                median(selects)
            ),
        )]
    })
}

async fn selecting(data: &Path, ids: &Arc<Vec<InvoiceId>>) -> f64 {
    let options = SqliteConnectOptions::new()
        .filename(data.join("faktor.db"))
        .read_only(true)
        .disable_statement_logging();
    let pool = SqlitePoolOptions::new()
        .max_connections(faktor::store::sql::SqliteOptions::default().readers)
        .test_before_acquire(false)
        .connect_lazy_with(options);
    let of_all = pool.clone();
    let rate = rate_of(ids, move |id| {
        let pool = of_all.clone();
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
    pool.close().await;
    rate
}

async fn activating(data: &Path, ids: &Arc<Vec<InvoiceId>>) -> f64 {
    let mut config = faktor::config::Config::defaults().unwrap();
    config.storage.data_dir = data.to_owned();
    config.server.listen = ([127, 0, 0, 1], 0).into();
    let app = App::start(config, Clock::System).await.unwrap();
    let invoices = app.services.invoices.clone();
    let rate = rate_of(ids, move |id| {
        let invoices = invoices.clone();
        async move {
            assert_eq!(invoices.get_for_page(id).await.unwrap().invoice.id, id);
        }
    })
    .await;
    assert_eq!(app.services.invoices.live_count(), ids.len() as u64);
    app.stop().await;
    rate
}

/// How many a second, when every id is taken once.
async fn rate_of<F>(
    ids: &Arc<Vec<InvoiceId>>,
    take: impl Fn(InvoiceId) -> F + Clone + Send + 'static,
) -> f64
where
    F: Future<Output = ()> + Send,
{
    let started = Instant::now();
    let clients = (0..CLIENTS).map(|client| {
        let (ids, take) = (Arc::clone(ids), take.clone());
        tokio::spawn(async move {
            for id in ids.iter().skip(client).step_by(CLIENTS) {
                take(*id).await;
            }
        })
    });
    for client in join_all(clients).await {
        client.unwrap();
    }
    ids.len() as f64 / started.elapsed().as_secs_f64()
}
