//! Event streams and waiting payers at one node, their invoice at another: who watches tells the owner
//! so, for some seconds at a time, and is told of each version. What is lost costs time only: the
//! events themselves are read from the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::time::{Duration, sleep, timeout};

use super::hearing;
use super::shared::Shared;
use super::wire::News;
use crate::actors::ownership::machine_ms;
use crate::domain::ids::InvoiceId;
use crate::store::ShardId;
use crate::store::cluster::BootId;

/// A new owner is asked soon, but not for each of the messages in which shards move.
const AFTER_A_MOVE: Duration = Duration::from_millis(100);
/// Invoices in one message.
const PART: usize = 500;
/// Invoices that other nodes may watch here at once.
const MAX_WATCHED: usize = 20_000;

/// Who at another node watches an invoice here, and until when by the machine's clock.
#[derive(Debug, Default)]
pub(super) struct Watching {
    until: DashMap<(BootId, InvoiceId), Arc<AtomicU64>>,
}

impl Shared {
    /// Asks the owners of these invoices to tell of their versions.
    pub(super) fn watch_elsewhere(&self, ids: &[InvoiceId]) {
        let mut by_owner: HashMap<BootId, Vec<InvoiceId>> = HashMap::new();
        for id in ids {
            let shard = ShardId::of(*id);
            if self.ownership.serves(shard).is_ok() {
                continue;
            }
            if let Some(owner) = self.owners.of(shard).boot {
                by_owner.entry(owner).or_default().push(*id);
            }
        }
        for (owner, ids) in by_owner {
            for ids in ids.chunks(PART) {
                let news = News::Watch {
                    from: self.me(),
                    ids: ids.to_vec(),
                    for_ms: hearing::FOR_MS,
                };
                self.tell(owner, &news);
            }
        }
    }
}

/// Asks again and again, as long as somebody watches here.
pub(super) async fn keep_watching(shared: Arc<Shared>) {
    let mut moved = shared.news();
    loop {
        if let Ok(Ok(())) = timeout(hearing::AGAIN, moved.changed()).await {
            sleep(AFTER_A_MOVE).await;
        }
        let Some(invoices) = shared.invoices() else {
            return;
        };
        shared.watch_elsewhere(&invoices.watched_ids());
    }
}

/// Another node watches these invoices from now on.
pub(super) fn watched_from(shared: &Arc<Shared>, from: BootId, ids: Vec<InvoiceId>, for_ms: u64) {
    let until = hearing::until(for_ms);
    for id in ids {
        let count = shared.watching.until.len();
        match shared.watching.until.entry((from, id)) {
            Entry::Occupied(known) => known.get().store(until, Ordering::Relaxed),
            Entry::Vacant(_) if count >= MAX_WATCHED => {}
            Entry::Vacant(place) => {
                let until = Arc::new(AtomicU64::new(until));
                place.insert(Arc::clone(&until));
                tokio::spawn(tell_versions(Arc::clone(shared), from, id, until));
            }
        }
    }
}

async fn tell_versions(shared: Arc<Shared>, to: BootId, id: InvoiceId, until: Arc<AtomicU64>) {
    if let Some(invoices) = shared.invoices() {
        let mut versions = invoices.watch_here(id);
        // What was written just before the other node began to watch.
        if let Some(version) = invoices.live_version(id) {
            shared.tell(to, &News::Version { id, version });
        }
        drop(invoices);
        loop {
            let left = until.load(Ordering::Relaxed).saturating_sub(machine_ms());
            if left == 0 {
                break;
            }
            match timeout(Duration::from_millis(left), versions.changed()).await {
                Ok(Ok(())) => {
                    let version = *versions.borrow_and_update();
                    shared.tell(to, &News::Version { id, version });
                }
                Ok(Err(_)) => break,
                // It may have been prolonged meanwhile.
                Err(_elapsed) => {}
            }
        }
    }
    shared.watching.until.remove(&(to, id));
}
