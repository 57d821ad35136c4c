//! Nodes that die or stop to move, and wires that are cut, under load.

use std::time::Duration;

use crate::cluster::Setup;
use crate::trial::Trial;
use crate::turn;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_nodes_lose_nothing_and_their_invoices_are_soon_back() {
    let _turn = turn().await;
    let mut trial = Trial::begin("kill -9 of one, two and all", 2, Setup::of(3)).await;
    trial.run_for(Duration::from_secs(2)).await;
    for victim in [1, 0] {
        let back = trial.kill(&[victim]).await;
        let longest = back.per_mille(1_000);
        assert!(longest < Duration::from_secs(8), "one killed: {back}");
        trial.cluster.ready().await;
        trial.run_for(Duration::from_secs(2)).await;
    }
    let back = trial.kill(&[0, 2]).await;
    assert!(
        back.per_mille(1_000) < Duration::from_secs(10),
        "two killed: {back}"
    );
    trial.cluster.ready().await;
    trial.run_for(Duration::from_secs(2)).await;
    trial.kill(&[0, 1, 2]).await;
    trial.run_for(Duration::from_secs(2)).await;
    trial.conclude().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_node_neither_writes_nor_answers_from_memory_when_it_goes_on() {
    let _turn = turn().await;
    let mut trial = Trial::begin("SIGSTOP", 3, Setup::of(3)).await;
    trial.run_for(Duration::from_secs(1)).await;
    for (node, seconds) in [(0, 5), (1, 30)] {
        let back = trial.pause(node, Duration::from_secs(seconds)).await;
        assert!(
            back.per_mille(1_000) < Duration::from_secs(25),
            "stopped for {seconds} s: {back}"
        );
        trial.run_for(Duration::from_secs(2)).await;
    }
    trial.conclude().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_do_not_hear_each_other_stay_safe() {
    let _turn = turn().await;
    let setup = Setup {
        has_wires: true,
        lease_ttl_ms: Some(6_000),
        ..Setup::of(3)
    };
    let mut trial = Trial::begin("cut wires", 4, setup).await;
    trial.run_for(Duration::from_secs(1)).await;
    for others in [&[1][..], &[1, 2]] {
        let back = trial.cut_off(0, others, Duration::from_secs(10)).await;
        assert!(
            back.per_mille(1_000) < Duration::from_secs(25),
            "{others:?}: {back}"
        );
        trial.run_for(Duration::from_secs(2)).await;
    }
    trial.conclude().await;
}
