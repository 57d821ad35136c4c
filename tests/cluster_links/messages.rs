//! What goes over a link.

use faktor::cluster::links::{Link, LinkError, Links};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

use crate::node::{COUNT, ECHO, FLOOD, HANG, PANIC, Process, config, linked, start, until};

const LONG: Duration = Duration::from_secs(20);

async fn pair() -> (Links, Process, Link) {
    let links = start(config("one")).await.unwrap();
    let other = Process::start(&config("two")).await;
    links.set_peers(vec![other.peer()]);
    let link = linked(&links, other.boot).await;
    (links, other, link)
}

fn payload(len: usize) -> Vec<u8> {
    let mut payload: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0]).collect();
    payload[0] = ECHO;
    payload
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_answered_and_a_cast_arrives() {
    let (links, _other, link) = pair().await;
    assert_eq!(link.call(payload(10), LONG).await, Ok(payload(10)));
    for _ in 0..100 {
        link.cast(payload(10)).unwrap();
    }
    // Sent after the casts, so handled after them.
    assert_eq!(link.call(vec![COUNT], LONG).await, Ok(b"100".to_vec()));
    until("a round trip", || links.status()[0].rtt.is_some()).await;
    assert_eq!(links.status()[0].in_flight, 0);
    links.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_may_be_nearly_a_frame_and_no_more() {
    let (_links, _other, link) = pair().await;
    for len in [1, 100_000, 16 * 1024 * 1024 - 1024] {
        assert!(
            link.call(payload(len), LONG).await == Ok(payload(len)),
            "{len}"
        );
    }
    let too_large = vec![ECHO; 16 * 1024 * 1024];
    assert_eq!(link.call(too_large, LONG).await, Err(LinkError::TooLarge));
    assert_eq!(link.call(vec![FLOOD], LONG).await, Err(LinkError::TooLarge));
    // The link is as it was.
    assert_eq!(link.call(payload(1), LONG).await, Ok(payload(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_at_once_each_get_their_own_answer() {
    let (_links, _other, link) = pair().await;
    let mut calls = JoinSet::new();
    for len in 1..=1000 {
        let link = link.clone();
        calls.spawn(async move { link.call(payload(len), LONG).await == Ok(payload(len)) });
    }
    assert_eq!(calls.join_all().await, vec![true; 1000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_an_answer_ends_with_its_time() {
    let (links, _other, link) = pair().await;
    let began = Instant::now();
    let short = Duration::from_millis(100);
    assert_eq!(link.call(vec![HANG], short).await, Err(LinkError::TimedOut));
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(links.status()[0].in_flight, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_panics_fails_at_once_and_harms_no_other() {
    let (_links, _other, link) = pair().await;
    assert_eq!(link.call(vec![PANIC], LONG).await, Err(LinkError::Failed));
    assert_eq!(link.call(payload(1), LONG).await, Ok(payload(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_than_may_be_in_flight_are_refused_at_once() {
    let mut few = config("one");
    few.max_in_flight = 10;
    let links = start(few).await.unwrap();
    let other = Process::start(&config("two")).await;
    links.set_peers(vec![other.peer()]);
    let link = linked(&links, other.boot).await;
    let mut hanging = JoinSet::new();
    for _ in 0..10 {
        let link = link.clone();
        hanging.spawn(async move { link.call(vec![HANG], LONG).await });
    }
    until("ten calls", || links.status()[0].in_flight == 10).await;
    assert_eq!(link.call(payload(1), LONG).await, Err(LinkError::Busy));
    hanging.shutdown().await;
    assert_eq!(link.call(payload(1), LONG).await, Ok(payload(1)));
}

/// Not a test: `cargo test --release --test cluster_links measure -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure() {
    let (_links, _other, link) = pair().await;
    for callers in [1, 8, 64, 512] {
        let calls = 20_000 / if callers == 1 { 10 } else { 1 };
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            let link = link.clone();
            tasks.spawn(async move {
                let mut took = Vec::new();
                for _ in 0..calls / callers {
                    let began = Instant::now();
                    link.call(payload(2048), LONG).await.unwrap();
                    took.push(began.elapsed());
                }
                took
            });
        }
        let mut took = tasks.join_all().await.concat();
        let seconds = began.elapsed().as_secs_f64();
        took.sort();
        println!(
            "{callers} callers: {:.0} calls/s, p50 {:?}, p99 {:?}",
            f64::from(calls) / seconds,
            took[took.len() / 2],
            took[took.len() * 99 / 100],
        );
    }
}
