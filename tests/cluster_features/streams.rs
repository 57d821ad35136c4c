//! Event streams of one invoice at nodes that do not own it.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::cluster::Setup;
use crate::site::{LOOK, PATIENCE, Site};
use crate::stream::Reader;
use crate::turn;

/// As long as an event takes from its commit at the owner to a reader elsewhere.
const SOON: Duration = Duration::from_secs(1);
/// With a new owner in between.
const AFTER_A_MOVE: Duration = Duration::from_secs(5);

/// Changes a draft at a node until it is done, and waits until it is told; how long that took.
async fn edit(site: &Site, node: usize, id: &str, count: u32, reader: &Reader) -> Duration {
    let path = format!("/v1/invoices/{id}");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let body = json!({"reference": format!("edit {count}")});
        let done = site.patch(node, &path, body).await;
        if done.status == 200 {
            let committed = Instant::now();
            let version = done.body["version"].as_u64().expect("a version");
            let told = reader.until(version, PATIENCE).await;
            return told.saturating_duration_since(committed);
        }
        assert!(Instant::now() < deadline, "{}", done.body);
        sleep(LOOK).await;
    }
}

/// A draft has an event with each of its versions.
fn assert_whole(reader: &Reader, versions: u64) {
    let told: Vec<u64> = reader.told().iter().map(|told| told.version).collect();
    assert_eq!(told, (1..=versions).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_at_another_node_tells_of_each_commit_within_a_second_whoever_owns_the_invoice() {
    let _turn = turn().await;
    let mut site = Site::start(Setup::of(3)).await;
    let id = site.draft(0).await;
    let owner = site.owner(&id).await;
    let reading = (owner + 1) % 3;
    let reader = Reader::open(&site, reading, &id);
    reader.until(1, PATIENCE).await;
    let mut versions = 1;
    let mut longest = Duration::ZERO;
    for count in 0..12 {
        longest = longest.max(edit(&site, owner, &id, count, &reader).await);
        versions += 1;
    }
    assert!(longest < SOON, "the longest way took {longest:?}");
    assert_whole(&reader, versions);

    // The owner gives everything away.
    let name = site.cluster.nodes[owner].name.clone();
    site.cluster.nodes[owner]
        .command(&["cluster", "drain", &name])
        .await;
    let began = Instant::now();
    let mut longest = Duration::ZERO;
    let mut after = 0;
    let mut count = 0;
    while after < 10 {
        longest = longest.max(edit(&site, owner, &id, 100 + count, &reader).await);
        count += 1;
        versions += 1;
        if site.owner(&id).await != owner {
            after += 1;
        }
        assert!(began.elapsed() < PATIENCE, "the invoice stays at {name}");
    }
    assert!(longest < AFTER_A_MOVE, "in a hand-over: {longest:?}");
    assert_whole(&reader, versions);
    assert_ne!(site.owner(&id).await, owner);

    // Back, so that there are two others; then the owner dies.
    site.cluster.nodes[owner]
        .command(&["cluster", "drain", &name, "--back"])
        .await;
    site.settled().await;
    let owner = site.owner(&id).await;
    assert_ne!(owner, reading);
    site.cluster.kill(owner);
    let asked = 3 - owner - reading;
    let first = edit(&site, asked, &id, 1_000, &reader).await;
    assert!(first < AFTER_A_MOVE, "after a death: {first:?}");
    let mut longest = Duration::ZERO;
    for count in 0..5 {
        longest = longest.max(edit(&site, asked, &id, 1_001 + count, &reader).await);
    }
    assert!(longest < AFTER_A_MOVE, "after a death: {longest:?}");
    assert_whole(&reader, versions + 6);
    // None of that was a reader's doing, who would read what it missed by coming again.
    assert_eq!(reader.times_opened(), 1);
    assert!(
        reader
            .told()
            .iter()
            .skip(1)
            .all(|told| told.kind == "invoice.updated")
    );
}
