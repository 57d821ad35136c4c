//! Proofs that a node's process is no more, so that its shards need not wait for the end of its lease.
//! A wrong one costs a live node its place, which it takes anew, and nothing else: its writes are fenced.

use std::sync::Arc;

use tokio::time::{Duration, Instant, sleep};

use super::links::Links;
use super::shared::Shared;
use super::wire::News;
use crate::store::cluster::{BootId, Gone};

/// How often, and when, a lost node's address is asked whether anybody is left.
const PROOF_PAUSES_MS: [u64; 6] = [0, 50, 100, 200, 400, 800];
/// How often the address of a node that was never linked is asked.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A process whose connection ended and whose port refuses another one is no more.
pub(super) async fn bury_if_dead(shared: Arc<Shared>, boot: BootId, address: String) {
    // A process that was killed closes its connections one after the other.
    for pause in PROOF_PAUSES_MS {
        sleep(Duration::from_millis(pause)).await;
        if shared.link(boot).is_some() {
            return;
        }
        if Links::is_refused(&address).await {
            break;
        }
        if pause == PROOF_PAUSES_MS[PROOF_PAUSES_MS.len() - 1] {
            return;
        }
    }
    bury(&shared, boot, &address).await;
}

/// One that is in the book, refuses each connection for so long, and makes none, is no more either.
pub(super) async fn bury_if_never_met(
    shared: Arc<Shared>,
    boot: BootId,
    address: String,
    patience: Duration,
) {
    let deadline = Instant::now() + patience;
    loop {
        if shared.link(boot).is_some() || !Links::is_refused(&address).await {
            return;
        }
        if Instant::now() >= deadline {
            return bury(&shared, boot, &address).await;
        }
        sleep(ASK_AGAIN).await;
    }
}

async fn bury(shared: &Shared, boot: BootId, address: &str) {
    match shared.store.bury(boot, Gone::Refused).await {
        Ok(is_gone) => {
            if is_gone {
                tracing::warn!(node.boot = %boot, address, "a node's process is gone");
                shared.owners.forget(boot);
                shared.look_soon();
                shared.broadcast(&News::Look);
            }
        }
        Err(error) => {
            tracing::warn!(%error, node.boot = %boot, "a node's death could not be noted; its lease will run out");
        }
    }
}
