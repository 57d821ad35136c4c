//! TLS between nodes. The certificates: `node` is for `localhost`, `elsewhere` for another host,
//! both signed by `ca`; `stranger` is for `localhost`, signed by somebody else. All end in 2120.

use std::path::Path;

use faktor::cluster::links::{LinkTls, LinksConfig, LinksError};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep, timeout};

use crate::node::{ECHO, Process, config, linked, start, until};

/// Long enough for several tries.
const NEVER: Duration = Duration::from_millis(700);
const LONG: Duration = Duration::from_secs(10);

fn with_certificate(name: &str, certificate: &str) -> LinksConfig {
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/cluster_links/certificates"
    ));
    let mut config = config(name);
    config.tls = Some(LinkTls {
        cert: folder.join(format!("{certificate}.pem")),
        key: folder.join(format!("{certificate}.key")),
        ca: folder.join("ca.pem"),
    });
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_certificates_of_one_authority_link() {
    let links = start(with_certificate("one", "node")).await.unwrap();
    let other = Process::start(&with_certificate("two", "node")).await;
    links.set_peers(vec![other.peer()]);
    let link = linked(&links, other.boot).await;
    let large = vec![ECHO; 3_000_000];
    assert!(link.call(large.clone(), LONG).await == Ok(large));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_tls_or_with_a_strangers_certificate_is_not_linked() {
    let links = start(with_certificate("one", "node")).await.unwrap();
    let open = Process::start(&config("open")).await;
    let mut stranger = Process::start(&with_certificate("stranger", "stranger")).await;
    links.set_peers(vec![open.peer(), stranger.peer()]);
    sleep(NEVER).await;
    assert!(links.status().is_empty(), "dialled by the node");
    links.set_peers(Vec::new());
    let own = crate::node::peer(links.boot(), "one", links.local_addr());
    stranger.set_peers(&[own]).await;
    sleep(NEVER).await;
    assert!(links.status().is_empty(), "dialled by the stranger");
    assert_eq!(stranger.links().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_must_be_found_at_the_host_of_its_certificate() {
    let links = start(with_certificate("one", "node")).await.unwrap();
    let mut elsewhere = Process::start(&with_certificate("two", "elsewhere")).await;
    links.set_peers(vec![elsewhere.peer()]);
    sleep(NEVER).await;
    assert!(links.link(elsewhere.boot).is_none());
    // It may dial: the host is the dialled node's.
    let own = crate::node::peer(links.boot(), "one", links.local_addr());
    elsewhere.set_peers(&[own]).await;
    linked(&links, elsewhere.boot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_stops_half_way_is_closed_in_time_and_holds_nobody_up() {
    let mut config = with_certificate("one", "node");
    config.prove_within = Duration::from_millis(500);
    let links = start(config).await.unwrap();
    let mut half_open = Vec::new();
    for _ in 0..20 {
        let stream = TcpStream::connect(links.local_addr()).await.unwrap();
        // The first bytes of a handshake's record.
        stream.try_write(&[0x16, 0x03, 0x01, 0x02, 0x00]).unwrap();
        half_open.push(stream);
    }
    let other = Process::start(&with_certificate("two", "node")).await;
    links.set_peers(vec![other.peer()]);
    linked(&links, other.boot).await;
    for stream in &mut half_open {
        let mut bytes = Vec::new();
        let _ = timeout(LONG, stream.read_to_end(&mut bytes)).await.unwrap();
    }
    until("one link", || links.status().len() == 1).await;
}

#[tokio::test]
async fn files_that_can_not_be_used_are_named() {
    let mut config = with_certificate("one", "missing");
    let LinksError::Tls { path, .. } = start(config.clone()).await.err().unwrap() else {
        panic!("another error");
    };
    assert!(path.ends_with("missing.pem"), "{path}");
    let tls = config.tls.as_mut().unwrap();
    tls.cert = tls.ca.with_file_name("node.pem");
    tls.key = tls.ca.with_file_name("elsewhere.key");
    let error = start(config).await.err().unwrap();
    assert!(error.to_string().contains("node.pem"), "{error}");
}
