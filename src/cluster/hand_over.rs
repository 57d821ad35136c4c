//! How shards change hands: what waits is answered, then the book is written, then everybody is told.

use std::sync::Arc;

use tokio::time::{Duration, Instant, sleep};

use super::plan::Move;
use super::router::ask;
use super::shared::Shared;
use super::steward::{Next, Steward};
use super::wire::{Held, News, Question};
use crate::store::cluster::BootId;
use crate::store::{Epoch, ShardId, StoreError};

/// Shards handed over at once: their invoices wait until all of them are.
const BATCH: usize = 32;
/// How long effects under way may take to end before their shards are handed over; those that take
/// longer bring their results to the new owner.
const EFFECTS_WITHIN: Duration = Duration::from_millis(250);
/// How long the commands that wait may take to be answered; else the shards stay for now.
const COMMANDS_WITHIN: Duration = Duration::from_secs(2);
/// How often to look whether they are done.
const LOOK_AT_QUEUE: Duration = Duration::from_millis(2);
/// How long the new owner may take to hear that shards are its own; it reads so in the book, too.
const TAKE_WITHIN: Duration = Duration::from_millis(500);

impl Steward {
    /// Hands over a batch to one of those who should have something: no more, for the lease has to be
    /// renewed in between.
    pub(super) async fn hand_over_some(&mut self, moves: &[Move]) -> Result<Next, StoreError> {
        let Some(first) = moves.first() else {
            return Ok(Next::Wait);
        };
        let batch: Vec<_> = moves
            .iter()
            .filter(|moved| moved.to == first.to)
            .map(|moved| (moved.shard, moved.epoch))
            .take(BATCH)
            .collect();
        if self.hand_over(first.to, &batch).await? {
            return Ok(Next::GoOn);
        }
        // Not at once: what kept it from going will still be there.
        self.renew_at = self.renew_at.min(Instant::now() + Duration::from_secs(1));
        Ok(Next::Wait)
    }

    /// Answers what waits, gives the shards to `to`, and tells everybody. False: it was too much to
    /// answer in time, the shards stay.
    async fn hand_over(&self, to: BootId, batch: &[(ShardId, Epoch)]) -> Result<bool, StoreError> {
        let Some(invoices) = self.shared.invoices() else {
            return Ok(false);
        };
        let started = Instant::now();
        let me = self.session.boot;
        let shards: Vec<ShardId> = batch.iter().map(|(shard, _)| *shard).collect();
        if to != me {
            let deadline = started + EFFECTS_WITHIN;
            while invoices.under_way(&shards).effects > 0 && Instant::now() < deadline {
                sleep(LOOK_AT_QUEUE).await;
            }
        }
        {
            let mut tenure = self.session.tenure();
            for shard in &shards {
                tenure.begin_leaving(*shard);
            }
        }
        let deadline = Instant::now() + COMMANDS_WITHIN;
        while invoices.under_way(&shards).commands > 0 {
            if Instant::now() >= deadline {
                tracing::warn!(
                    shards = shards.len(),
                    "shards can't be handed over: their invoices are too busy"
                );
                let mut tenure = self.session.tenure();
                for shard in &shards {
                    tenure.stay(*shard);
                }
                self.shared.tell_moved();
                return Ok(false);
            }
            sleep(LOOK_AT_QUEUE).await;
        }
        {
            let mut tenure = self.session.tenure();
            for (shard, epoch) in batch {
                tenure.let_go(*shard, *epoch);
            }
        }
        invoices.dismiss(&shards);
        let moved = self.shared.store.hand_over(me, to, batch).await?;
        {
            let mut tenure = self.session.tenure();
            for (shard, epoch) in &moved {
                if to == me {
                    tenure.grant(*shard, *epoch);
                } else {
                    tenure.handed_over(*shard, *epoch);
                }
            }
        }
        self.shared.note_owner(to, &moved);
        if to == me {
            self.granted(&moved, "it was let go in vain");
            self.shared.broadcast_moved(me, &moved);
            return Ok(true);
        }
        self.announce(to, &moved);
        metrics::counter!("faktor_cluster_shards_total", "change" => "handed_over")
            .increment(moved.len() as u64);
        tracing::info!(
            shards = moved.len(),
            to.boot = %to,
            took_ms = started.elapsed().as_millis(),
            "shards were handed over"
        );
        Ok(moved.len() == batch.len())
    }

    /// Tells the new owner first: until it has heard, it sends everybody away.
    fn announce(&self, to: BootId, moved: &[(ShardId, Epoch)]) {
        let (shared, moved) = (Arc::clone(&self.shared), moved.to_vec());
        tokio::spawn(async move {
            if let Some(link) = shared.link(to) {
                let shards = moved.iter().copied().map(Held::of).collect();
                let what = Question::Take { shards };
                if let Err(error) = ask(&shared, &link, what, TAKE_WITHIN).await {
                    tracing::debug!(%error, "the new owner reads in the book what is its own");
                }
            }
            shared.broadcast_moved(to, &moved);
        });
    }
}

/// The node gives away what it owns, as far as somebody takes it within `patience`.
pub(super) async fn hand_over_all(shared: &Shared, patience: Duration) {
    let Some(session) = shared.session() else {
        return;
    };
    shared.set_draining(true);
    if let Err(error) = shared.store.set_draining(session.boot, true).await {
        tracing::warn!(%error, "the node leaves without handing over; its shards are taken when its lease is over");
    }
    let deadline = Instant::now() + patience;
    loop {
        shared.look_soon();
        let view = shared.view();
        let has_heirs = view
            .nodes
            .iter()
            .any(|record| record.is_live() && !record.draining && record.node.boot != session.boot);
        if shared.ownership.owned().is_empty() || !has_heirs || Instant::now() >= deadline {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Ends the membership: nobody owns what is left.
pub(super) async fn depart(shared: &Shared) {
    let Some(session) = shared.end_session() else {
        return;
    };
    session.tenure().end();
    match shared.store.leave(session.boot).await {
        Ok(()) => {
            if let Ok(payload) = super::wire::write(&News::Look) {
                for link in session.links.all() {
                    // Who does not hear of it reads it.
                    let _ = link.cast(payload.clone());
                }
            }
            // For what was just said to be on its way.
            sleep(Duration::from_millis(50)).await;
            tracing::info!(node.name = session.name, "this node left the cluster");
        }
        Err(error) => {
            tracing::warn!(%error, "the node could not say that it leaves; its lease will run out");
        }
    }
    session.links.stop().await;
}
