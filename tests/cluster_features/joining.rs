//! Who may join, and how soon.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::{Cluster, Setup};
use crate::site::Site;
use crate::turn;

/// A start on a busy machine, without any waiting.
pub(crate) const A_START: Duration = Duration::from_secs(8);
const SHORT_LEASE_MS: u64 = 3_000;
/// Longer than these tests wait.
const LONG_LEASE_MS: u64 = 24_000;

/// Starts a node that can't join: what it says at its end, and how long that took.
pub(crate) async fn refused(cluster: &mut Cluster, node: usize) -> (String, Duration) {
    let began = Instant::now();
    let line = cluster.nodes[node].launch();
    let status = cluster.nodes[node].ended().await;
    let said = cluster.nodes[node].log_from(line);
    assert_eq!(status.code(), Some(1), "{said}");
    (said, began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_of_a_name_is_refused_and_a_dead_ones_name_is_free_at_once() {
    let _turn = turn().await;
    let setup = Setup {
        lease_ttl_ms: Some(SHORT_LEASE_MS),
        ..Setup::of(2)
    };
    let mut site = Site::start(setup).await;
    let twin = site.cluster.add();
    site.cluster.nodes[twin].set("FAKTOR__CLUSTER__NODE_NAME", "n1");
    let (said, took) = refused(&mut site.cluster, twin).await;
    assert!(
        said.contains("a node named n1 is at work at 127.0.0.1:"),
        "{said}"
    );
    assert!(said.contains("cluster.node_name"), "{said}");
    let longest = Duration::from_millis(SHORT_LEASE_MS) + Duration::from_secs(1) + A_START;
    assert!(took < longest, "refused after {took:?}");
    // The one that was there first has kept everything.
    site.shared_by(&["n1", "n2"]).await;
    let id = site.draft(0).await;
    site.invoice(1, &id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_joins_at_once_under_its_name_also_when_all_were_killed() {
    let _turn = turn().await;
    let setup = Setup {
        lease_ttl_ms: Some(LONG_LEASE_MS),
        ..Setup::of(3)
    };
    let mut site = Site::start(setup).await;
    let id = site.draft(0).await;
    site.cluster.kill(0);
    let began = Instant::now();
    site.cluster.start_nodes(&[0]).await;
    site.settled().await;
    assert!(began.elapsed() < A_START, "{:?}", began.elapsed());
    site.invoice(0, &id).await;

    for node in 0..3 {
        site.cluster.kill(node);
    }
    let began = Instant::now();
    site.cluster.start_nodes(&[1]).await;
    assert!(began.elapsed() < A_START, "{:?}", began.elapsed());
    // The others, whose ports refuse, have as long to show that they live as they take to read the
    // book; after that nobody waits for their leases.
    site.shared_by(&["n2"]).await;
    let longest = Duration::from_millis(LONG_LEASE_MS * 2 / 3);
    assert!(began.elapsed() < longest, "{:?}", began.elapsed());
    site.invoice(1, &id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_cookie_or_without_tls_owns_nothing() {
    let _turn = turn().await;
    let setup = Setup {
        lease_ttl_ms: Some(SHORT_LEASE_MS),
        ..Setup::of(2)
    };
    let mut site = Site::start(setup).await;
    let stranger = site.cluster.add();
    let cookie = "FAKTOR__CLUSTER__COOKIE";
    site.cluster.nodes[stranger].set(cookie, "another-cookie-of-a-test");
    let (said, _) = refused(&mut site.cluster, stranger).await;
    assert!(said.contains("another cluster.cookie"), "{said}");
    assert!(said.contains("the node n"), "{said}");
    assert!(!said.contains("another-cookie-of-a-test"), "{said}");
    site.shared_by(&["n1", "n2"]).await;

    // With the others' cookie, but with TLS.
    site.cluster.nodes[stranger].set(cookie, "chaos-cookie-of-a-test");
    tls(&mut site.cluster, stranger, "node", "node");
    let (said, _) = refused(&mut site.cluster, stranger).await;
    assert!(said.contains("TLS"), "{said}");
    site.shared_by(&["n1", "n2"]).await;

    // Once nobody is left, the cookie can be another one, and at once.
    site.cluster.kill(0);
    site.cluster.kill(1);
    site.cluster.nodes[0].set(cookie, "a-new-cookie-for-all");
    let began = Instant::now();
    site.cluster.start_nodes(&[0]).await;
    site.shared_by(&["n1"]).await;
    assert!(began.elapsed() < A_START, "{:?}", began.elapsed());
}

fn tls(cluster: &mut Cluster, node: usize, certificate: &str, key: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster_links/certificates");
    let file = |name: String| folder.join(name).display().to_string();
    let node = &mut cluster.nodes[node];
    node.set(
        "FAKTOR__CLUSTER__TLS_CERT",
        file(format!("{certificate}.pem")),
    );
    node.set("FAKTOR__CLUSTER__TLS_KEY", file(format!("{key}.key")));
    node.set("FAKTOR__CLUSTER__TLS_CA", file("ca.pem".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_do_not_work_are_named_at_the_start() {
    let _turn = turn().await;
    let mut site = Site::start(Setup::of(2)).await;
    let wrong = site.cluster.add();
    for (certificate, key, named) in [
        ("missing", "node", "missing.pem can't be used for TLS"),
        ("node", "stranger", "node.pem can't be used for TLS"),
        ("node", "missing", "missing.key can't be used for TLS"),
    ] {
        tls(&mut site.cluster, wrong, certificate, key);
        let (said, _) = refused(&mut site.cluster, wrong).await;
        assert!(said.contains(named), "{said}");
    }
    site.shared_by(&["n1", "n2"]).await;
}
