//! Nodes that work alone on a database which several could reach.

use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::Setup;
use crate::joining::{A_START, refused};
use crate::postgres_database::TestDatabase;
use crate::site::Site;
use crate::turn;

const LEASE_MS: &str = "3000";
const LISTEN: &str = "FAKTOR__CLUSTER__LISTEN";

/// One more node, as on another machine: they share nothing but the database.
fn elsewhere(site: &mut Site) -> usize {
    let node = site.cluster.add();
    let data_dir = site.cluster.directory().join(format!("data-{node}"));
    site.cluster.nodes[node].set("FAKTOR__STORAGE__DATA_DIR", data_dir.display().to_string());
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_that_work_alone_the_later_one_goes_on_and_none_mixes_with_a_cluster() {
    let _turn = turn().await;
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let setup = Setup {
        postgres: Some(database.url.clone()),
        ..Setup::of(1)
    };
    let shorten = |nodes: &mut [crate::node::Node]| {
        for node in nodes {
            node.set("FAKTOR__CLUSTER__LEASE_TTL_MS", LEASE_MS);
        }
    };
    let mut site = Site::start_with(setup, shorten).await;
    let id = site.draft(0).await;

    // The second one takes the first one's place.
    let second = elsewhere(&mut site);
    shorten(&mut site.cluster.nodes[second..]);
    let began = Instant::now();
    site.cluster.start_nodes(&[second]).await;
    assert!(began.elapsed() < A_START, "{:?}", began.elapsed());
    site.invoice(second, &id).await;
    let status = site.cluster.nodes[0].ended().await;
    let said = site.cluster.nodes[0].tail();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(
        said.contains("its database belongs to another node by now"),
        "{said}"
    );

    // A node of a cluster waits for its end, and gives up.
    let member = elsewhere(&mut site);
    shorten(&mut site.cluster.nodes[member..]);
    site.cluster.nodes[member].set(LISTEN, "127.0.0.1:0");
    let (said, took) = refused(&mut site.cluster, member).await;
    assert!(
        said.contains("a node that works alone is at work on this database"),
        "{said}"
    );
    assert!(took < Duration::from_secs(4) + A_START, "{took:?}");
    site.invoice(second, &id).await;

    // Killed and started again, it does not wait for its own lease.
    site.cluster.kill(second);
    let began = Instant::now();
    site.cluster.nodes[second].set("FAKTOR__CLUSTER__LEASE_TTL_MS", "120000");
    site.cluster.start_nodes(&[second]).await;
    site.cluster.kill(second);
    site.cluster.start_nodes(&[second]).await;
    assert!(began.elapsed() < 2 * A_START, "{:?}", began.elapsed());
    site.invoice(second, &id).await;

    // The other way round.
    site.cluster.stop(second).await;
    site.cluster.start_nodes(&[member]).await;
    site.invoice(member, &id).await;
    site.cluster.nodes[second].set("FAKTOR__CLUSTER__LEASE_TTL_MS", LEASE_MS);
    let (said, _) = refused(&mut site.cluster, second).await;
    assert!(
        said.contains("works on this database as a part of a cluster"),
        "{said}"
    );
    assert!(said.contains("cluster.listen"), "{said}");
    site.invoice(member, &id).await;
}
