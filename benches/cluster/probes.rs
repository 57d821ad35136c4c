//! Invoices that are written again and again until their owner is back.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::client::Connection;
use super::load::{Latencies, edit};
use super::nodes::Nodes;

/// Before a refused write is tried again.
const PAUSE: Duration = Duration::from_millis(10);
/// When all must be back, at the latest.
const LATEST: Duration = Duration::from_mins(1);

/// Connections that are open before anything happens.
pub(crate) struct Probes {
    all: Vec<(String, Connection)>,
    token: String,
}

impl Probes {
    /// For each of these invoices one, at one of these nodes.
    pub(crate) async fn new(nodes: &Nodes, invoices: Vec<String>, by: &[usize]) -> Self {
        let mut all = Vec::new();
        for (number, id) in invoices.into_iter().enumerate() {
            let address = nodes.nodes[by[number % by.len()]].address;
            all.push((id, Connection::open(address).await.unwrap()));
        }
        Self {
            all,
            token: nodes.token.clone(),
        }
    }

    /// How long after `begun` each invoice was written for the first time.
    pub(crate) async fn first_writes(self, begun: Instant) -> Latencies {
        let token = &self.token;
        let writes = self.all.into_iter().map(|(id, mut connection)| async move {
            for attempt in 0.. {
                let (status, answer) = connection.ask(&edit(token, &id, attempt)).await.unwrap();
                if (200..300).contains(&status) {
                    break;
                }
                let answer = String::from_utf8_lossy(&answer);
                assert!(begun.elapsed() < LATEST, "{id}: {status} {answer}");
                sleep(PAUSE).await;
            }
            begun.elapsed()
        });
        Latencies::of(join_all(writes).await)
    }
}
