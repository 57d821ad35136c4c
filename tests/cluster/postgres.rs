//! A cluster over PostgreSQL: its wires to the server, the server's death, and clocks that are wrong.

use std::time::Duration;

use faktor::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use crate::cluster::Setup;
use crate::faults::names;
use crate::node::Node;
use crate::own_server::OwnServer;
use crate::report::Latencies;
use crate::support::fault_proxy::{Fault, FaultProxy, host_of};
use crate::support::postgres_database::TestDatabase;
use crate::trial::Trial;
use crate::turn;

/// A server, and each node's wire to it.
pub(crate) struct Postgres {
    url: String,
    wires: Vec<FaultProxy>,
    /// Dropped with this.
    database: Option<TestDatabase>,
}

impl Postgres {
    /// A database of the test's own. None when no server was named.
    pub(crate) async fn new(nodes: usize) -> Option<Self> {
        let database = TestDatabase::new().await?;
        let mut postgres = Self::at(database.url.clone(), nodes).await;
        postgres.database = Some(database);
        Some(postgres)
    }

    async fn at(url: String, nodes: usize) -> Self {
        let mut wires = Vec::new();
        for _ in 0..nodes {
            wires.push(FaultProxy::before(host_of(&url)).await);
        }
        Self {
            url,
            wires,
            database: None,
        }
    }

    /// Past the wires, for the one who looks into the books.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn wire(&self, nodes: &mut [Node]) {
        for (node, wire) in nodes.iter_mut().zip(&self.wires) {
            node.set("FAKTOR__STORAGE__RELATIONAL", wire.url(&self.url));
        }
    }

    fn setup(&self, nodes: usize) -> Setup {
        Setup {
            postgres: Some(self.url()),
            // Shorter than a node remembers whose token it has checked: whoever is asked directly
            // answers, if only its lease does not keep it from it.
            lease_ttl_ms: Some(3_000),
            ..Setup::of(nodes)
        }
    }
}

impl Trial {
    /// The wire between a node and the store has a fault for a time.
    pub(crate) async fn cut_from_store(
        &mut self,
        store: &Postgres,
        node: usize,
        fault: Fault,
        time: Duration,
    ) -> Latencies {
        let drafts = self.drafts(36).await;
        self.note(&format!(
            "{fault:?} between {} and the store for {time:?}",
            names(&[node])
        ));
        let over = Instant::now() + time;
        store.wires[node].set(fault);
        let others: Vec<usize> = self
            .cluster
            .running()
            .into_iter()
            .filter(|other| *other != node)
            .collect();
        let mending = async {
            sleep_until(over).await;
            store.wires[node].set(Fault::Pass);
        };
        // What the node remembers it may tell as long as nobody else can have changed it.
        let (back, (), ()) = tokio::join!(
            self.back_after(&drafts, &others),
            self.read_directly(&drafts, node, over),
            mending
        );
        self.note(&format!("mended; back after {back}"));
        back
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_its_store_gives_way_to_the_others() {
    let _turn = turn().await;
    let Some(store) = Postgres::new(3).await else {
        return;
    };
    let setup = store.setup(3);
    let mut trial = Trial::begin_with("cut from the store", 6, setup, |nodes| {
        store.wire(nodes);
    })
    .await;
    trial.run_for(Duration::from_secs(1)).await;
    for (node, fault) in [(0, Fault::Stall), (1, Fault::Refuse)] {
        let time = Duration::from_secs(10);
        let back = trial.cut_from_store(&store, node, fault, time).await;
        assert!(
            back.per_mille(1_000) < Duration::from_secs(25),
            "{fault:?}: {back}"
        );
        trial.run_for(Duration::from_secs(2)).await;
    }
    trial.conclude().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_takes_its_time_and_some_seconds_even_without_the_store() {
    /// The drain, and what closing may take: the actors, the book and the store, 5 s each.
    const DRAIN_S: u64 = 3;
    const STOPPED_WITHIN: Duration = Duration::from_secs(DRAIN_S + 15);

    let _turn = turn().await;
    let Some(store) = Postgres::new(3).await else {
        return;
    };
    let setup = store.setup(3);
    let mut trial = Trial::begin_with("a stop without the store", 8, setup, |nodes| {
        store.wire(nodes);
        for node in nodes {
            node.set("FAKTOR__SERVER__DRAIN_TIMEOUT_S", DRAIN_S.to_string());
        }
    })
    .await;
    trial.run_for(Duration::from_secs(1)).await;
    trial.note("n1 is stopped while nothing passes between it and the store");
    store.wires[0].set(Fault::Stall);
    let begun = Instant::now();
    trial.cluster.stop(0).await;
    let took = begun.elapsed();
    assert!(took < STOPPED_WITHIN, "{took:?}");
    store.wires[0].set(Fault::Pass);
    trial.cluster.start_nodes(&[0]).await;
    trial.run_for(Duration::from_secs(2)).await;
    trial.conclude().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_killed_and_started_again_takes_nobody_along() {
    let _turn = turn().await;
    if crate::support::backends::backend("POSTGRES").is_none() {
        return;
    }
    let server = OwnServer::start("POSTGRES").await;
    let store = Postgres::at(server.address("POSTGRES"), 0).await;
    let mut trial = Trial::begin("database restart", 7, store.setup(3)).await;
    trial.run_for(Duration::from_secs(2)).await;
    trial.note("PostgreSQL is killed");
    server.kill().await;
    trial.run_for(Duration::from_secs(3)).await;
    server.start_again().await;
    trial.note("PostgreSQL is back");
    let drafts = trial.drafts(36).await;
    let nodes = trial.cluster.running();
    let back = trial.back_after(&drafts, &nodes).await;
    trial.note(&format!("back after {back}"));
    trial.run_for(Duration::from_secs(3)).await;
    trial.conclude().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_ten_minutes_ahead_harms_nobody() {
    let _turn = turn().await;
    let Some(store) = Postgres::new(3).await else {
        return;
    };
    let Some(library) = libfaketime() else {
        assert!(
            std::env::var("REQUIRE_BACKENDS").is_err(),
            "the package faketime is not installed, and REQUIRE_BACKENDS is set"
        );
        eprintln!("skipped: the package faketime is not installed");
        return;
    };
    let mut trial = Trial::begin_with("a wrong clock", 8, store.setup(3), |nodes| {
        nodes[0].set("LD_PRELOAD", library);
        nodes[0].set("FAKETIME", "+10m");
        nodes[0].set("DONT_FAKE_MONOTONIC", "1");
        nodes[0].set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    })
    .await;
    let said = trial.cluster.nodes[0].log_from(0);
    let line: Value = serde_json::from_str(said.lines().next().expect("a line")).expect("JSON");
    let at: Timestamp = line["timestamp"].as_str().unwrap().parse().unwrap();
    let ahead = at.duration_since(Clock::System.now());
    assert!(ahead > SignedDuration::from_mins(9), "the clock is right");
    trial.run_for(Duration::from_secs(4)).await;
    // What the others own comes to the one with the wrong clock, and goes back.
    trial.kill(&[1]).await;
    trial.run_for(Duration::from_secs(3)).await;
    trial.conclude().await;
}

fn libfaketime() -> Option<String> {
    let places = std::fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    places
        .map(|place| place.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists())
        .map(|library| library.display().to_string())
}
