//! One node alone: what it acknowledged survives whatever becomes of its process.

use std::time::Duration;

use crate::cluster::Setup;
use crate::trial::Trial;
use crate::turn;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_alone_keeps_what_it_acknowledged_when_it_is_killed_under_load() {
    let _turn = turn().await;
    let mut trial = Trial::begin("one node, killed", 1, Setup::of(1)).await;
    for _ in 0..3 {
        trial.run_for(Duration::from_secs(3)).await;
        trial.note("kill -9 n1");
        trial.cluster.kill(0);
        trial.run_for(Duration::from_millis(300)).await;
        trial.cluster.start_nodes(&[0]).await;
    }
    trial.run_for(Duration::from_secs(2)).await;
    let report = trial.conclude().await;
    assert!(report.acknowledged > 100, "there was hardly any load");
}
