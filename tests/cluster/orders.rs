//! What operators do under load: nothing fails, and nobody waits for long.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cluster::Setup;
use crate::report::latencies_between;
use crate::trial::Trial;
use crate::turn;

/// The goal is 500 ms in an optimized build on a machine of its own; here is neither.
const P99: Duration = Duration::from_secs(3);
/// A node reads the operator's wish with its next renewal.
const DRAINED: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_come_and_go_and_no_request_fails() {
    let _turn = turn().await;
    let mut trial = Trial::begin("join, drain, rolling restart", 5, Setup::of(3)).await;
    trial.run_for(Duration::from_secs(2)).await;

    let spans = [
        trial.span("before").await,
        trial.joining().await,
        trial.draining().await,
        trial.rolling().await,
    ];

    let report = trial.conclude().await;
    for (name, span, latencies) in &spans {
        println!("{name}: {latencies}");
        assert!(
            latencies.per_mille(990) <= P99,
            "{name} ({span:?}): {latencies}"
        );
    }
    let failed: Vec<_> = report
        .failures
        .iter()
        .filter(|(why, _)| !why.starts_with("not taken"))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}

type Span = (&'static str, (Duration, Duration), crate::report::Latencies);

impl Trial {
    async fn span(&mut self, name: &'static str) -> Span {
        let began = self.load.clients.now();
        self.run_for(Duration::from_secs(4)).await;
        self.measured(name, began)
    }

    fn measured(&self, name: &'static str, began: Duration) -> Span {
        let ended = self.load.clients.now();
        let recording = self.load.clients.recording();
        (
            name,
            (began, ended),
            latencies_between(&recording, began, ended),
        )
    }

    async fn joining(&mut self) -> Span {
        let began = self.load.clients.now();
        self.join().await;
        self.run_for(Duration::from_secs(3)).await;
        self.measured("join", began)
    }

    /// An operator drains the newest node, and then stops it.
    async fn draining(&mut self) -> Span {
        let began = self.load.clients.now();
        let node = self.cluster.nodes.len() - 1;
        self.drain(node).await;
        self.run_for(Duration::from_secs(2)).await;
        self.note("SIGTERM");
        self.cluster.stop(node).await;
        self.run_for(Duration::from_secs(1)).await;
        self.measured("drain", began)
    }

    /// As an operator does, and until the node owns nothing.
    async fn drain(&mut self, node: usize) {
        let name = self.cluster.nodes[node].name.clone();
        self.note(&format!("drain {name}"));
        let began = Instant::now();
        let said = self.cluster.nodes[0]
            .command(&["cluster", "drain", &name])
            .await;
        println!("{}", said.trim_end());
        while self.cluster.shards_of(node).await > 0 {
            assert!(began.elapsed() < DRAINED, "{name} still owns something");
            sleep(Duration::from_millis(20)).await;
        }
        self.note(&format!("{name} owns nothing after {:?}", began.elapsed()));
    }

    async fn rolling(&mut self) -> Span {
        let began = self.load.clients.now();
        for node in 0..3 {
            self.restart(node).await;
            self.run_for(Duration::from_secs(1)).await;
        }
        self.measured("rolling restart", began)
    }
}
