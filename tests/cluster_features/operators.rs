//! What operators see of a cluster, and do to it.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::cluster::Setup;
use crate::site::{LOOK, PATIENCE, Site, text};
use crate::turn;

/// A part of the lease, after which a node reads what an operator wants of it, and some time to do it.
const HEARD: Duration = Duration::from_secs(10);

/// Runs `faktor` as an operator does, with the nodes' data directory and nothing else.
async fn operator(site: &Site, words: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faktor"));
    command
        .args(words)
        .current_dir(site.cluster.directory())
        .env("FAKTOR__STORAGE__DATA_DIR", site.cluster.data_dir());
    let ended = tokio::task::spawn_blocking(move || command.output()).await;
    let Output {
        status,
        stdout,
        stderr,
    } = ended.expect("a run").expect("the binary starts");
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code().expect("an end of its own"), said)
}

async fn readiness(site: &Site, node: usize) -> (u16, String) {
    let answer = site.get(node, "/health/readiness").await;
    let status = text(&answer.body, "/status");
    (answer.status, status)
}

async fn until_ready(site: &Site, node: usize, expected: (u16, &str)) {
    let deadline = Instant::now() + HEARD;
    loop {
        let (code, status) = readiness(site, node).await;
        if (code, status.as_str()) == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{code} {status}");
        sleep(LOOK).await;
    }
}

fn line<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
    let found = table.lines().find(|line| line.starts_with(name));
    let line = found.unwrap_or_else(|| panic!("no {name} in {table}"));
    line.split_whitespace().collect()
}

async fn member(site: &Site, asked: usize, name: &str) -> Value {
    let book = site.get(asked, "/v1/cluster").await.expect(200);
    assert_eq!(book["mode"], "cluster");
    assert_eq!(book["shards"]["total"], 256);
    let nodes = book["nodes"].as_array().expect("nodes");
    let found = nodes.iter().find(|node| node["name"] == name);
    found.expect("the node").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_all_nodes_and_takes_one_out_and_back() {
    let _turn = turn().await;
    let site = Site::start(Setup::of(3)).await;
    let (code, table) = operator(&site, &["cluster", "status"]).await;
    assert_eq!(code, 0, "{table}");
    let mut shards = 0;
    for (node, name) in ["n1", "n2", "n3"].into_iter().enumerate() {
        let line = line(&table, name);
        assert_eq!(line[1], "up", "{table}");
        shards += line[2].parse::<u32>().expect("a count");
        assert!(table.contains(&site.base(node)), "{table}");
        for asked in 0..3 {
            let member = member(&site, asked, name).await;
            assert_eq!(member["state"], "up");
            assert_eq!(member["this"], asked == node);
            assert_eq!(member["link"].is_null(), asked == node, "{member}");
            assert_eq!(member["http"], site.base(node));
            assert!(member["about"]["live_invoices"].is_u64(), "{member}");
        }
        let own = site.get(node, "/v1/node").await.expect(200);
        assert_eq!(
            (text(&own, "/name").as_str(), &own["draining"]),
            (name, &false.into())
        );
    }
    assert_eq!(shards, 256, "{table}");

    let (code, said) = operator(&site, &["cluster", "drain", "n9"]).await;
    assert_ne!(code, 0);
    assert!(
        said.contains("there is no node named n9; there are: n1, n2, n3"),
        "{said}"
    );

    let id = site.draft(1).await;
    assert_eq!(readiness(&site, 1).await, (200, "ok".to_owned()));
    let (code, said) = operator(&site, &["cluster", "drain", "n2"]).await;
    assert_eq!(code, 0, "{said}");
    until_ready(&site, 1, (503, "draining")).await;
    site.shared_by(&["n1", "n3"]).await;
    let (_, table) = operator(&site, &["cluster", "status"]).await;
    let drained = line(&table, "n2");
    assert_eq!((drained[1], drained[2]), ("draining", "0"), "{table}");
    assert_eq!(member(&site, 0, "n2").await["state"], "draining");
    assert_eq!(site.get(1, "/v1/node").await.expect(200)["draining"], true);
    // It still finds the way for whoever asks it.
    site.invoice(1, &id).await;
    let another = site.draft(1).await;
    assert_ne!(site.owner(&another).await, 1);

    let (code, said) = operator(&site, &["cluster", "drain", "n2", "--back"]).await;
    assert_eq!(code, 0, "{said}");
    until_ready(&site, 1, (200, "ok")).await;
    site.settled().await;
    assert_eq!(member(&site, 2, "n2").await["state"], "up");
    assert_eq!(site.get(1, "/v1/node").await.expect(200)["draining"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_and_one_that_left_are_shown_as_such() {
    let _turn = turn().await;
    let mut site = Site::start(Setup::of(3)).await;
    site.cluster.stop(2).await;
    site.shared_by(&["n1", "n2"]).await;
    let (_, table) = operator(&site, &["cluster", "status"]).await;
    assert!(
        !table.contains("n3"),
        "who left and owns nothing is no news: {table}"
    );
    site.cluster.kill(0);
    site.cluster.kill(1);
    let (code, table) = operator(&site, &["cluster", "status"]).await;
    assert_eq!(code, 0, "{table}");
    // Nobody is left who could have noticed.
    assert_eq!(line(&table, "n1")[1], "up", "{table}");
    let (code, said) = operator(&site, &["cluster", "drain", "n3"]).await;
    assert_ne!(code, 0);
    assert!(
        said.contains("there is no node named n3; there are: n1, n2"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_cluster_there_is_nothing_to_look_after() {
    let _turn = turn().await;
    let mut site = Site::start(Setup::of(1)).await;
    let book = site.get(0, "/v1/cluster").await.expect(200);
    assert_eq!(book["mode"], "embedded");
    assert_eq!(book["nodes"][0]["name"], "local");
    assert_eq!(book["shards"]["owned"], 256);
    assert_eq!(site.get(0, "/v1/node").await.expect(200)["name"], "local");
    let deadline = Instant::now() + PATIENCE;
    site.cluster.stop(0).await;
    assert!(Instant::now() < deadline);
    let (code, said) = operator(&site, &["cluster", "status"]).await;
    assert_eq!((code, said.trim()), (0, "No node is part of a cluster."));
    let (code, said) = operator(&site, &["cluster", "drain", "n1"]).await;
    assert_ne!(code, 0);
    assert!(
        said.contains("there is no node named n1; there are: none"),
        "{said}"
    );
}
