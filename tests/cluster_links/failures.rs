//! Peers that die, fall silent, come back, or are no longer peers.

use faktor::cluster::links::{DownReason, LinkError, LinkEvent, Links, LinksConfig, is_refused};
use rustix::process::{Signal, kill_process};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, timeout};

use crate::node::{ECHO, HANG, Process, config, event, linked, memory_mib, peer, start, until};

const LONG: Duration = Duration::from_mins(1);

fn is_down(event: &LinkEvent) -> bool {
    matches!(event, LinkEvent::Down { .. })
}

fn reason(event: &LinkEvent) -> Option<DownReason> {
    match event {
        LinkEvent::Down { reason, .. } => Some(*reason),
        LinkEvent::Up(_) => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_peer_is_known_to_be_dead_at_once() {
    let links = start(config("one")).await.unwrap();
    let mut events = links.events();
    let mut other = Process::start(&config("two")).await;
    let address = other.peer().address;
    links.set_peers(vec![other.peer()]);
    let link = linked(&links, other.boot).await;
    assert!(!Links::is_refused(&address).await);
    let call = tokio::spawn(async move { link.call(vec![HANG], LONG).await });
    until("a call under way", || links.status()[0].in_flight == 1).await;
    let began = Instant::now();
    other.kill().await;
    let down = event(&mut events, is_down).await;
    let took = began.elapsed();
    assert!(took < Duration::from_millis(200), "{took:?}");
    let boot = other.boot;
    let reason = DownReason::Closed;
    let told = LinkEvent::Down {
        boot,
        address: address.clone(),
        reason,
    };
    assert_eq!(down, told);
    assert_eq!(call.await.unwrap(), Err(LinkError::Lost));
    assert!(began.elapsed() < Duration::from_millis(300));
    assert!(is_refused(&address).await);
    assert!(links.link(other.boot).is_none());
}

#[tokio::test]
async fn silence_is_no_proof_of_death() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    assert!(!is_refused(&address).await);
    drop(listener);
    assert!(is_refused(&address).await);
    assert!(!is_refused("no-such-host.invalid:1").await);
    // One whose queue of connections is full neither takes another one nor refuses it.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
    }
    assert!(!is_refused(&address.to_string()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_peer_is_cut_within_four_seconds_and_its_queue_stays_bounded() {
    let links = start(config("one")).await.unwrap();
    let mut events = links.events();
    let other = Process::start(&config("two")).await;
    links.set_peers(vec![other.peer()]);
    let link = linked(&links, other.boot).await;
    kill_process(other.pid(), Signal::STOP).unwrap();
    let began = Instant::now();
    // 1.2 GB of calls that their callers give up, and of casts.
    let before = memory_mib();
    let mut calls = JoinSet::new();
    let (mut busy, mut most) = (0, 0);
    for _ in 0..600 {
        let short = Duration::from_millis(1);
        let asking = link.clone();
        calls.spawn(async move { asking.call(vec![ECHO; 1024 * 1024], short).await });
        busy += usize::from(link.cast(vec![ECHO; 1024 * 1024]) == Err(LinkError::Busy));
        tokio::task::yield_now().await;
        most = most.max(memory_mib());
    }
    for outcome in calls.join_all().await {
        busy += usize::from(outcome == Err(LinkError::Busy));
    }
    assert!(busy > 1000, "{busy}");
    most = most.max(memory_mib());
    assert!(most < before + 400, "{before} MiB, then {most} MiB");
    let call = tokio::spawn(async move { link.call(vec![ECHO], LONG).await });
    let down = event(&mut events, is_down).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(reason(&down), Some(DownReason::Silent));
    assert!(call.await.unwrap().is_err());
    // It is alive, so nothing proves its death.
    assert!(!is_refused(&other.peer().address).await);
    kill_process(other.pid(), Signal::CONT).unwrap();
    linked(&links, other.boot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_was_restarted_under_its_address_is_linked_again() {
    let links = start(config("one")).await.unwrap();
    let mut first = Process::start(&config("two")).await;
    links.set_peers(vec![first.peer()]);
    linked(&links, first.boot).await;
    first.kill().await;
    let again = LinksConfig {
        listen: first.addr,
        ..config("two")
    };
    let second = Process::start(&again).await;
    // As long as the book names the first the second is not taken for it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(links.status().is_empty());
    links.set_peers(vec![second.peer()]);
    let link = linked(&links, second.boot).await;
    assert_eq!(link.call(vec![ECHO], LONG).await, Ok(vec![ECHO]));
    assert_eq!(links.status().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_no_longer_listed_is_let_go_and_not_let_in() {
    let links = start(config("one")).await.unwrap();
    let mut events = links.events();
    let mut other = Process::start(&config("two")).await;
    let own = peer(links.boot(), "one", links.local_addr());
    links.set_peers(vec![other.peer()]);
    other.set_peers(&[own]).await;
    linked(&links, other.boot).await;
    links.set_peers(Vec::new());
    let down = event(&mut events, is_down).await;
    assert_eq!(reason(&down), Some(DownReason::Removed));
    // The other one keeps dialling.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(links.status().is_empty());
    links.set_peers(vec![other.peer()]);
    linked(&links, other.boot).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_dial_each_other_at_once_settle_on_one_link() {
    for _ in 0..5 {
        let links = start(config("one")).await.unwrap();
        let mut events = links.events();
        let mut other = Process::start(&config("two")).await;
        let own = [peer(links.boot(), "one", links.local_addr())];
        let listed = vec![other.peer()];
        tokio::join!(other.set_peers(&own), async { links.set_peers(listed) });
        let link = linked(&links, other.boot).await;
        assert_eq!(link.call(vec![ECHO], LONG).await, Ok(vec![ECHO]));
        // Longer than any connection may be unproven.
        tokio::time::sleep(Duration::from_millis(3500)).await;
        assert_eq!((links.status().len(), other.links().await), (1, 1));
        let mut seen = Vec::new();
        while let Ok(event) = events.try_recv() {
            seen.push(event);
        }
        assert_eq!(seen, [LinkEvent::Up(other.boot)]);
        links.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_all_links_and_frees_the_port() {
    let links = start(config("one")).await.unwrap();
    let mut other = Process::start(&config("two")).await;
    links.set_peers(vec![other.peer()]);
    let link = linked(&links, other.boot).await;
    links.stop().await;
    assert!(is_refused(&links.local_addr().to_string()).await);
    assert_eq!(link.call(vec![ECHO], LONG).await, Err(LinkError::Lost));
    while other.links().await > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
