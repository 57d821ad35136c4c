//! Clients that each keep a connection to every node, and what came of what they asked.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::client::{Connection, request};
use super::measure::create_body;
use super::nodes::Nodes;

/// A node, and what to ask it; by client and by how many this client has sent.
pub(crate) type Next = Rc<dyn Fn(usize, usize) -> (usize, Arc<[u8]>)>;

#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) clients: usize,
    pub(crate) until: Instant,
    /// Between the beginnings of two turns of one client; none: the next as soon as the last is over.
    pub(crate) pace: Option<Duration>,
    /// Whether requests may fail, as those to a dead node do.
    pub(crate) may_fail: bool,
}

impl Plan {
    /// Paced clients begin one after the other, not all at once.
    pub(crate) fn turns(self, number: usize, begun: Instant) -> Turns {
        let share = number as f64 / self.clients as f64;
        Turns {
            until: self.until,
            pace: self.pace,
            due: begun + self.pace.unwrap_or_default().mul_f64(share),
        }
    }
}

/// When a client begins with what it does next.
pub(crate) struct Turns {
    until: Instant,
    pace: Option<Duration>,
    due: Instant,
}

impl Turns {
    /// None when there is none before the end: nobody waits for a turn that is not taken, while nodes
    /// that have nothing to do are measured.
    pub(crate) async fn next(&mut self) -> Option<Instant> {
        if let Some(pace) = self.pace {
            if self.due >= self.until {
                return None;
            }
            sleep_until(self.due).await;
            self.due += pace;
        }
        Some(Instant::now()).filter(|now| *now < self.until)
    }
}

/// What came of a load.
#[derive(Default)]
pub(crate) struct Load {
    /// When each was asked, and how long it took.
    pub(crate) answered: Vec<(Instant, Duration)>,
    pub(crate) failed: usize,
    /// Asked only to see whether something is done by now; not among those above.
    pub(crate) looks: usize,
}

impl Load {
    pub(crate) fn add(&mut self, other: Self) {
        self.answered.extend(other.answered);
        self.failed += other.failed;
        self.looks += other.looks;
    }

    pub(crate) fn latencies(&self) -> Latencies {
        Latencies::of(self.answered.iter().map(|(_, took)| *took).collect())
    }

    /// Of what was under way in this time.
    pub(crate) fn latencies_within(&self, from: Instant, to: Instant) -> Latencies {
        let within = self
            .answered
            .iter()
            .filter(|(asked, took)| *asked + *took >= from && *asked <= to);
        Latencies::of(within.map(|(_, took)| *took).collect())
    }
}

/// In order.
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    pub(crate) fn into_all(self) -> Vec<Duration> {
        self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let at = self.0.len() * percent / 100;
        self.0[at.min(self.0.len() - 1)]
    }

    pub(crate) fn ms(&self, percent: usize) -> f64 {
        self.percentile(percent).as_secs_f64() * 1e3
    }
}

pub(crate) async fn load(addresses: &[SocketAddr], plan: Plan, next: &Next) -> Load {
    let begun = Instant::now();
    let clients = (0..plan.clients).map(|number| one_client(addresses, number, begun, plan, next));
    let mut all = Load::default();
    for load in join_all(clients).await {
        all.add(load);
    }
    all
}

async fn one_client(
    addresses: &[SocketAddr],
    number: usize,
    begun: Instant,
    plan: Plan,
    next: &Next,
) -> Load {
    let mut client = Client::new(addresses);
    let mut load = Load::default();
    let mut turns = plan.turns(number, begun);
    for sent in 0.. {
        let Some(asked) = turns.next().await else {
            break;
        };
        let (node, request) = next(number, sent);
        match client.ask(node, &request).await {
            Ok((200..300, _)) => load.answered.push((asked, asked.elapsed())),
            Ok((status, answer)) => {
                let answer = String::from_utf8_lossy(&answer);
                assert!(plan.may_fail, "{status}: {answer}");
                load.failed += 1;
            }
            Err(error) => {
                let after = begun.elapsed();
                assert!(
                    plan.may_fail,
                    "node {node}, {after:?} after the beginning: {error}"
                );
                load.failed += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    load
}

/// A client's connections, one to each node that it has asked.
pub(crate) struct Client<'a> {
    addresses: &'a [SocketAddr],
    connections: Vec<Option<Connection>>,
}

impl<'a> Client<'a> {
    pub(crate) fn new(addresses: &'a [SocketAddr]) -> Self {
        Self {
            addresses,
            connections: addresses.iter().map(|_| None).collect(),
        }
    }

    /// The status and the body of a node's answer; after an error the next one goes over a new
    /// connection.
    pub(crate) async fn ask(
        &mut self,
        node: usize,
        request: &[u8],
    ) -> std::io::Result<(u16, Vec<u8>)> {
        let mut connection = match self.connections[node].take() {
            Some(connection) => connection,
            None => Connection::open(self.addresses[node]).await?,
        };
        let answer = connection.ask(request).await?;
        self.connections[node] = Some(connection);
        Ok(answer)
    }
}

/// Makes drafts, by way of these nodes in turn; their ids.
pub(crate) async fn drafts(nodes: &Nodes, by: &[usize], count: usize) -> Vec<String> {
    const CLIENTS: usize = 32;
    let creation = creation(&nodes.token);
    let clients = (0..CLIENTS.min(count)).map(|client| {
        let creation = Arc::clone(&creation);
        async move {
            let mut ids = Vec::new();
            let node = by[client % by.len()];
            let mut connection = Connection::open(nodes.nodes[node].address).await.unwrap();
            for _ in (client..count).step_by(CLIENTS) {
                let (status, answer) = connection.ask(&creation).await.unwrap();
                assert_eq!(status, 201, "{}", String::from_utf8_lossy(&answer));
                let invoice: Value = serde_json::from_slice(&answer).unwrap();
                ids.push(invoice["id"].as_str().unwrap().to_owned());
            }
            ids
        }
    });
    join_all(clients).await.into_iter().flatten().collect()
}

pub(crate) fn creation(token: &str) -> Arc<[u8]> {
    request("POST", "/v1/invoices", Some(token), &create_body())
}

pub(crate) fn reading(token: &str, id: &str) -> Arc<[u8]> {
    request("GET", &format!("/v1/invoices/{id}"), Some(token), "")
}

/// A change of a draft, which is one commit; `number` makes it another one each time.
pub(crate) fn edit(token: &str, id: &str, number: usize) -> Arc<[u8]> {
    let body = json!({"memo": format!("As agreed, version {number}.")}).to_string();
    request("PATCH", &format!("/v1/invoices/{id}"), Some(token), &body)
}

/// Spreads numbers, the same in every run.
pub(crate) fn scatter(number: usize, below: usize) -> usize {
    let mut mixed = (number as u64)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((mixed >> 32) % below as u64).unwrap()
}
