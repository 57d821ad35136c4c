//! Several nodes with the same books: in one data directory, or in one PostgreSQL database.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use faktor::clock::Clock;
use faktor::config::Secret;
use faktor::outbound::payment::LinkEnd;
use faktor::outbound::payment::sandbox::{SandboxOptions, SandboxProvider};
use faktor::store::sql::{PostgresOptions, PostgresStore};
use futures_util::future::join_all;
use sqlx::Executor as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::fault_proxy::{Fault, FaultProxy, host_of};
use crate::postgres_database::TestDatabase;
use crate::setting::{charge, invoice, link, options, payment_id};

const NODES: usize = 3;

fn shared(data_dir: &Path) -> SandboxOptions {
    SandboxOptions {
        shared: true,
        ..options(data_dir)
    }
}

/// Takes webhooks, and says which; the first `refusing` ones are never answered.
struct Receiver {
    base_url: String,
    taken: mpsc::UnboundedReceiver<String>,
}

#[derive(Clone)]
struct Receiving {
    silent: Arc<AtomicUsize>,
    taken: mpsc::UnboundedSender<String>,
}

impl Receiver {
    async fn start(silent: usize) -> Self {
        let (sender, taken) = mpsc::unbounded_channel();
        let state = Receiving {
            silent: Arc::new(AtomicUsize::new(silent)),
            taken: sender,
        };
        let routes = Router::new()
            .route("/v1/webhooks/sandbox", post(take))
            .with_state(state);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { base_url, taken }
    }

    async fn next(&mut self) -> String {
        let next = tokio::time::timeout(Duration::from_secs(20), self.taken.recv());
        next.await.unwrap().unwrap()
    }
}

async fn take(State(state): State<Receiving>, body: String) -> StatusCode {
    state.taken.send(body).unwrap();
    let silent = state
        .silent
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
    if silent.is_ok() {
        std::future::pending::<()>().await;
    }
    StatusCode::OK
}

/// Every node is asked for the same charges and links at the same time.
async fn the_same_key_gives_one_charge(nodes: &[SandboxProvider]) {
    const KEYS: u32 = 25;
    let asking = (0..4 * KEYS).map(|call| {
        let node = nodes[call as usize % nodes.len()].clone();
        let key = call / 4;
        tokio::spawn(async move {
            let charged = node.charge(&charge("pm_ok", key)).await.unwrap();
            let linked = node.create_link(&link(KEYS + key)).await.unwrap();
            (key, payment_id(charged), linked.id)
        })
    });
    let mut answers = BTreeMap::new();
    for answer in join_all(asking).await {
        let (key, payment, link) = answer.unwrap();
        let first = answers
            .entry(key)
            .or_insert((payment.clone(), link.clone()));
        assert_eq!(*first, (payment, link), "key {key}");
    }
    assert_eq!(answers.len(), KEYS as usize);
    for node in nodes {
        assert_eq!(node.charges(invoice()).await.unwrap().len(), KEYS as usize);
    }
}

/// Each event is posted by one node.
async fn each_event_is_delivered_once(nodes: &[SandboxProvider]) {
    let mut receiver = Receiver::start(0).await;
    let cancel = CancellationToken::new();
    let tasks: Vec<_> = nodes
        .iter()
        .map(|node| {
            node.send_webhooks_to(&receiver.base_url);
            node.start_delivery(cancel.clone())
        })
        .collect();
    let charging = (1_000..1_100).map(|key| {
        let node = nodes[key as usize % nodes.len()].clone();
        async move { node.charge(&charge("pm_ok", key)).await.unwrap() }
    });
    let before = nodes[0].charges(invoice()).await.unwrap().len();
    join_all(charging).await;
    let mut taken = std::collections::BTreeSet::new();
    while taken.len() < before + 100 {
        assert!(taken.insert(receiver.next().await), "an event came twice");
    }
    cancel.cancel();
    join_all(tasks).await;
    assert!(receiver.taken.try_recv().is_err(), "an event came twice");
}

/// The first node has claimed an event and ends; the second one delivers it.
async fn another_node_delivers_what_a_dead_one_had_claimed(
    dying: &SandboxProvider,
    other: &SandboxProvider,
) {
    let mut receiver = Receiver::start(1).await;
    dying.send_webhooks_to(&receiver.base_url);
    other.send_webhooks_to(&receiver.base_url);
    let cancel = CancellationToken::new();
    let task = dying.start_delivery(cancel.clone());
    dying.charge(&charge("pm_ok", 2_000)).await.unwrap();
    let claimed = receiver.next().await;
    cancel.cancel();
    task.await.unwrap();
    let running = CancellationToken::new();
    let task = other.start_delivery(running.clone());
    assert_eq!(receiver.next().await, claimed);
    running.cancel();
    task.await.unwrap();
}

fn impatient(options: SandboxOptions) -> SandboxOptions {
    SandboxOptions {
        delivery_lease: Duration::from_millis(300),
        ..options
    }
}

fn in_one_directory(data_dir: &Path) -> Vec<SandboxProvider> {
    (0..NODES)
        .map(|_| SandboxProvider::open(shared(data_dir)).unwrap())
        .collect()
}

/// Each node has a data directory of its own.
async fn in_one_database(
    database: &TestDatabase,
    directories: &Path,
    change: impl Fn(SandboxOptions) -> SandboxOptions,
) -> Vec<SandboxProvider> {
    // As the node does: it is the store that makes the tables.
    let store = PostgresOptions {
        max_connections: 2,
        ..PostgresOptions::default()
    };
    let (_, handle) = PostgresStore::open(&database.url, store).await.unwrap();
    handle.close().await.unwrap();
    let open = |node: usize| {
        SandboxProvider::connect(change(SandboxOptions {
            database: Some(Secret::new(database.url.clone())),
            ..shared(&directories.join(node.to_string()))
        }))
    };
    let nodes = join_all((0..NODES).map(open)).await;
    nodes.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_with_one_directory_make_one_charge_of_one_key() {
    let directory = tempfile::tempdir().unwrap();
    the_same_key_gives_one_charge(&in_one_directory(directory.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_with_one_database_make_one_charge_of_one_key() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let nodes = in_one_database(&database, directory.path(), |options| options).await;
    the_same_key_gives_one_charge(&nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_nodes_with_one_directory_one_delivers_an_event() {
    let directory = tempfile::tempdir().unwrap();
    each_event_is_delivered_once(&in_one_directory(directory.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_nodes_with_one_database_one_delivers_an_event() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let nodes = in_one_database(&database, directory.path(), |options| options).await;
    each_event_is_delivered_once(&nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_nodes_events_are_delivered_by_another_one_of_its_directory() {
    let directory = tempfile::tempdir().unwrap();
    let node = || SandboxProvider::open(impatient(shared(directory.path()))).unwrap();
    another_node_delivers_what_a_dead_one_had_claimed(&node(), &node()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_nodes_events_are_delivered_by_another_one_of_its_database() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let nodes = in_one_database(&database, directory.path(), impatient).await;
    another_node_delivers_what_a_dead_one_had_claimed(&nodes[0], &nodes[1]).await;
}

async fn until_a_sandbox_waits(database: &TestDatabase) {
    const WAITING: &str = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = \
         current_database() AND application_name = 'faktor-sandbox' AND wait_event_type = 'Lock'";
    let mut looking = database.raw().await;
    let seen = async {
        while sqlx::query_scalar::<_, i64>(WAITING)
            .fetch_one(&mut looking)
            .await
            .unwrap()
            == 0
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(20), seen);
    seen.await.unwrap();
}

/// A node that stops to do anything has a page's row in its hands; another one takes the page down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hangs_in_the_middle_keeps_no_page_from_the_others() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let nodes = in_one_database(&database, directory.path(), |options| options).await;
    let wire = FaultProxy::before(host_of(&database.url)).await;
    let hanging = SandboxProvider::connect(SandboxOptions {
        database: Some(Secret::new(wire.url(&database.url))),
        ..shared(&directory.path().join("hanging"))
    });
    let hanging = hanging.await.unwrap();
    let page = nodes[0].create_link(&link(1)).await.unwrap().id;

    // It is let through to the row, and hears nothing of it.
    let mut operator = database.raw().await;
    let keep = "BEGIN; SELECT id FROM sandbox_sessions FOR UPDATE";
    operator.execute(keep).await.unwrap();
    let its_page = page.clone();
    let hung = tokio::spawn(async move { hanging.expire_link(&its_page).await });
    until_a_sandbox_waits(&database).await;
    wire.set(Fault::Stall);
    operator.execute("ROLLBACK").await.unwrap();

    let end = nodes[0].expire_link(&page).await.unwrap();
    assert_eq!(end, LinkEnd::Closed);
    hung.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_start_at_once_sign_with_one_secret() {
    let directory = tempfile::tempdir().unwrap();
    let body = b"{}";
    let now = Clock::System.now();
    let opening = (0..8).map(|_| {
        let options = shared(directory.path());
        tokio::task::spawn_blocking(|| SandboxProvider::open(options).unwrap())
    });
    let mut signatures: Vec<_> = join_all(opening)
        .await
        .into_iter()
        .map(|node| node.unwrap().sign(body, now))
        .collect();
    signatures.dedup();
    assert_eq!(signatures.len(), 1);

    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let nodes = in_one_database(&database, directory.path(), |options| options).await;
    let mut signatures: Vec<_> = nodes.iter().map(|node| node.sign(body, now)).collect();
    signatures.dedup();
    assert_eq!(signatures.len(), 1);
}

/// A file of the first layout is brought to the present one with all that it holds.
#[tokio::test]
async fn the_books_of_an_older_version_are_read_on() {
    use sqlx::{Connection, Executor};

    const LAYOUT_1: &str = "
        CREATE TABLE charges (id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE,
            organization TEXT NOT NULL, invoice TEXT NOT NULL, effect TEXT NOT NULL, session TEXT,
            amount INTEGER NOT NULL, currency TEXT NOT NULL, payment_method TEXT NOT NULL,
            code TEXT, detail TEXT, created_ms INTEGER NOT NULL) STRICT;
        CREATE TABLE sessions (id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE,
            organization TEXT NOT NULL, invoice TEXT NOT NULL, effect TEXT NOT NULL,
            amount INTEGER NOT NULL, currency TEXT NOT NULL, description TEXT NOT NULL,
            return_url TEXT NOT NULL, state TEXT NOT NULL, created_ms INTEGER NOT NULL) STRICT;
        CREATE TABLE events (id TEXT PRIMARY KEY, body TEXT NOT NULL, state TEXT NOT NULL,
            attempts INTEGER NOT NULL, next_attempt_ms INTEGER NOT NULL, last_error TEXT,
            created_ms INTEGER NOT NULL) STRICT;
        INSERT INTO events VALUES ('evt_1', 'as it was', 'pending', 0, 1, NULL, 1);
        PRAGMA user_version = 1;";
    let directory = tempfile::tempdir().unwrap();
    let file = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(directory.path().join("sandbox.db"))
        .create_if_missing(true);
    let mut raw = sqlx::SqliteConnection::connect_with(&file).await.unwrap();
    raw.execute(LAYOUT_1).await.unwrap();
    let first = charge("pm_ok", 1);
    let insert = "INSERT INTO charges VALUES \
         ('pi_1', $1, $2, $3, $1, NULL, 11888, 'EUR', 'pm_ok', NULL, NULL, 5)";
    let insert = sqlx::query(insert)
        .bind(first.effect.to_string())
        .bind(first.organization.to_string())
        .bind(first.invoice.to_string());
    insert.execute(&mut raw).await.unwrap();
    raw.close().await.unwrap();

    let mut receiver = Receiver::start(0).await;
    let node = SandboxProvider::open(options(directory.path())).unwrap();
    assert_eq!(payment_id(node.charge(&first).await.unwrap()), "pi_1");
    node.send_webhooks_to(&receiver.base_url);
    let cancel = CancellationToken::new();
    let task = node.start_delivery(cancel.clone());
    assert_eq!(receiver.next().await, "as it was");
    cancel.cancel();
    task.await.unwrap();
}
