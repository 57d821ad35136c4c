//! Somebody who reads the feed by a cursor, now at one node and now at another, while they come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use faktor::domain::ids::EventId;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::client::Clients;

/// Longer than a node may take to tell of what another one committed.
const WAIT_S: u64 = 3;
/// A node that does not answer is left for the next one.
const PATIENCE: Duration = Duration::from_secs(2 * WAIT_S);
const PAUSE: Duration = Duration::from_millis(50);

/// A reader at work.
pub(crate) struct Reader {
    reading: JoinHandle<Vec<EventId>>,
    stopping: Arc<AtomicBool>,
}

impl Reader {
    pub(crate) fn start(clients: Arc<Clients>) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        Self {
            reading: tokio::spawn(read(clients, Arc::clone(&stopping))),
            stopping,
        }
    }

    /// Everything that was read, once there is no more.
    pub(crate) async fn finish(self) -> Vec<EventId> {
        self.stopping.store(true, Ordering::Relaxed);
        self.reading.await.expect("a reader that comes to its end")
    }
}

async fn read(clients: Arc<Clients>, stopping: Arc<AtomicBool>) -> Vec<EventId> {
    let mut read: Vec<EventId> = Vec::new();
    for turn in 0.. {
        let is_last = stopping.load(Ordering::Relaxed);
        let after = read.last().map(|id| format!("&after={id}"));
        let path = format!(
            "/v1/events?limit=100&wait={WAIT_S}{}",
            after.unwrap_or_default()
        );
        let Some(page) = clients.look(turn, &path, PATIENCE).await else {
            sleep(PAUSE).await;
            continue;
        };
        let events = page["data"].as_array().expect("a list of events");
        let ids = events.iter().map(id_of);
        read.extend(ids);
        if events.is_empty() && is_last {
            break;
        }
    }
    read
}

fn id_of(event: &Value) -> EventId {
    let id = event["id"].as_str().expect("an event's id");
    id.parse().expect("an event's id")
}
