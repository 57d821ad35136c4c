//! How reads fare while everybody logs in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::Figure;
use super::client::{Connection, Load, Plan, Requests, load, request};
use super::measure::{create_body, median};
use super::server::{FIRST_USER, Server, login_request};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
const INVOICES: usize = 64;
const READERS: usize = 8;
/// Eight readers, each 250 times a second: a busy node, not one that drowns in reads.
const PACE: Duration = Duration::from_millis(4);
/// More than wait in the queue of logins at once.
const LOGINS: usize = 96;

/// Logs in from a thread of its own, so that readers do not wait for the other clients' work.
fn storm_of(address: SocketAddr, logins: Requests) -> JoinHandle<Load> {
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(load(address, Plan::full(LOGINS, ROUND), logins))
    })
}

pub(crate) async fn storm() -> Vec<Figure> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let server = Server::faktor(&directory.path().join("data"), FIRST_USER);
    server.ready().await;
    let token = server.login().await;
    let creation = request("POST", "/v1/invoices", Some(&token), &create_body());
    let mut connection = Connection::open(server.address).await.unwrap();
    let mut reads = Vec::new();
    for _ in 0..INVOICES {
        let (_, answer) = connection.ask(&creation).await.unwrap();
        let invoice: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        let path = format!("/v1/invoices/{}", invoice["id"].as_str().unwrap());
        reads.push(request("GET", &path, Some(&token), ""));
    }
    let reads: Requests =
        Arc::new(move |connection, sent| Arc::clone(&reads[(connection * 7 + sent) % reads.len()]));
    let login = login_request();
    let logins: Requests = Arc::new(move |_, _| Arc::clone(&login));
    let plan = Plan {
        pace: Some(PACE),
        ..Plan::full(READERS, ROUND)
    };
    let (mut quiet, mut stormy, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut answered, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let mut reading = load(server.address, plan, Arc::clone(&reads)).await;
        let quiet_p99 = reading.percentile_ms(99);
        let storm = storm_of(server.address, Arc::clone(&logins));
        let mut reading = load(server.address, plan, Arc::clone(&reads)).await;
        let storm = storm.join().unwrap();
        let stormy_p99 = reading.percentile_ms(99);
        answered += storm.answered;
        refused += storm.refused;
        quiet.push(quiet_p99);
        stormy.push(stormy_p99);
        ratios.push(stormy_p99 / quiet_p99);
    }
    vec![Figure::at_most(
        "login storm: p99 of reads / quiet",
        2.0,
        median(ratios),
        format!(
            "{:.2} ms / {:.2} ms at {:.0} reads/s; {LOGINS} clients log in: {answered} did, {refused} got 429",
            median(stormy),
            median(quiet),
            READERS as f64 / PACE.as_secs_f64()
        ),
    )]
}
