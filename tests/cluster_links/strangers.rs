//! Who should not be here: the node is unharmed, and keeps talking to its peers.

use faktor::cluster::links::{Links, LinksConfig};
use faktor::config::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep, timeout};

use crate::node::{ECHO, Process, config, linked, peer, start};

const LONG: Duration = Duration::from_secs(10);

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut bytes = Vec::new();
    timeout(LONG, stream.read_to_end(&mut bytes)).await.is_ok()
}

/// A node under attack, in a process of its own, and its friend.
async fn besieged() -> (Process, Links) {
    let node = Process::start(&config("besieged")).await;
    let friend = start(config("friend")).await.unwrap();
    friend.set_peers(vec![node.peer()]);
    linked(&friend, node.boot).await;
    (node, friend)
}

async fn answers(friend: &Links, node: &Process) -> bool {
    let link = friend.link(node.boot).expect("the link went down");
    link.call(vec![ECHO], LONG).await == Ok(vec![ECHO])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_cookie_is_not_linked() {
    let cookie = Secret::new("another".to_owned());
    let links = start(LinksConfig {
        cookie,
        ..config("one")
    })
    .await
    .unwrap();
    let mut other = Process::start(&config("two")).await;
    let own = peer(links.boot(), "one", links.local_addr());
    links.set_peers(vec![other.peer()]);
    other.set_peers(&[own]).await;
    sleep(Duration::from_secs(1)).await;
    assert!(links.status().is_empty());
    assert_eq!(other.links().await, 0);
}

/// What a dialling node sends first.
fn greeting(node: &Process) -> Vec<u8> {
    let mut greeting = b"faktor/1".to_vec();
    greeting.extend(node.boot.0.as_bytes());
    greeting.extend(faktor::clock::new_uuid().as_bytes());
    greeting
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_greeting_or_no_frame_is_hung_up_on() {
    let (node, friend) = besieged().await;
    let garbage = vec![0xA5; 4096];
    let http = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n".to_vec();
    // A frame of 300 bytes that is none.
    let no_frame = [
        greeting(&node),
        300_u64.to_be_bytes().to_vec(),
        vec![0xFF; 300],
    ]
    .concat();
    let oversized = [greeting(&node), (1_u64 << 40).to_be_bytes().to_vec()].concat();
    let just_oversized = [
        greeting(&node),
        (16 * 1024 * 1024 + 1_u64).to_be_bytes().to_vec(),
    ]
    .concat();
    for bytes in [garbage, http, no_frame, oversized, just_oversized] {
        let mut stream = TcpStream::connect(node.addr).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let began = tokio::time::Instant::now();
        assert!(is_closed(&mut stream).await);
        assert!(began.elapsed() < Duration::from_secs(2));
        assert!(answers(&friend, &node).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greeting_for_another_node_is_hung_up_on() {
    let (node, friend) = besieged().await;
    let mut stream = TcpStream::connect(node.addr).await.unwrap();
    let mut bytes = greeting(&node);
    bytes[20] ^= 1;
    stream.write_all(&bytes).await.unwrap();
    assert!(is_closed(&mut stream).await);
    assert!(answers(&friend, &node).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_that_say_nothing_are_closed_and_their_files_come_back() {
    let (node, friend) = besieged().await;
    let files = node.open_files();
    let mut silent = Vec::new();
    for at in 0..1000 {
        let mut stream = TcpStream::connect(node.addr).await.unwrap();
        if at % 3 == 0 {
            // They get as far as the handshake, and stop there.
            stream.write_all(&greeting(&node)).await.unwrap();
        }
        silent.push(stream);
        if at % 100 == 0 {
            assert!(answers(&friend, &node).await);
        }
    }
    // 64 at most, and those that are just being closed.
    let most = node.open_files();
    assert!(most < files + 200, "{files}, then {most}");
    // A new peer gets through all the same.
    let late = start(config("late")).await.unwrap();
    late.set_peers(vec![node.peer()]);
    linked(&late, node.boot).await;
    for stream in &mut silent {
        assert!(is_closed(stream).await);
    }
    assert!(answers(&friend, &node).await);
    late.stop().await;
    drop(silent);
    let back = async {
        while node.open_files() > files {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, back).await.unwrap();
}
