//! The task that posts the sandbox's events to the webhook route until they are taken.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::outbox::{Attempt, WaitingEvent};
use super::{Inner, LedgerError, SandboxProvider};

/// Events of one round.
const BATCH: u32 = 32;
/// Requests at the same time.
const CONCURRENCY: usize = 16;
/// After this many failed attempts an event is given up: with the delays below, after about an hour.
const MAX_ATTEMPTS: i64 = 24;
const MAX_RETRY_DELAY: Duration = Duration::from_mins(5);
/// No answer within this time is a failed attempt.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a node looks for events that others put into the books, and did not deliver.
const LOOK_FOR_OTHERS: Duration = Duration::from_secs(2);
/// The pause when the books themselves can't be read.
const LEDGER_RETRY_DELAY: Duration = Duration::from_secs(5);

pub(super) struct Delivery {
    sandbox: Arc<Inner>,
    client: Option<reqwest::Client>,
}

impl Delivery {
    pub(super) fn new(sandbox: Arc<Inner>) -> Self {
        Self {
            sandbox,
            client: None,
        }
    }

    pub(super) async fn run(mut self, cancel: CancellationToken) {
        // What is under way when the token is cancelled is posted again by the next run.
        let _ = cancel.run_until_cancelled(self.deliver_for_ever()).await;
    }

    async fn deliver_for_ever(&mut self) {
        let sandbox = Arc::clone(&self.sandbox);
        let mut is_first_round = true;
        loop {
            // No books, no events: reading would make an empty file.
            if let (true, Some(base)) = (sandbox.ledger.exists(), sandbox.webhook_base.get()) {
                let url = format!("{base}/v1/webhooks/{}", SandboxProvider::NAME);
                let pause = match self.round(&url, is_first_round).await {
                    Ok(pause) => {
                        is_first_round = false;
                        pause
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the sandbox's events can't be read; trying again");
                        Some(LEDGER_RETRY_DELAY)
                    }
                };
                if let Some(pause) = pause {
                    // Either way of waking up is the same: look again.
                    let _ = tokio::time::timeout(pause, sandbox.news.notified()).await;
                    continue;
                }
            } else if sandbox.options.shared {
                let _ = tokio::time::timeout(LOOK_FOR_OTHERS, sandbox.news.notified()).await;
                continue;
            }
            sandbox.news.notified().await;
        }
    }

    /// Posts what is due. Returns how long to wait for the next event; none: until there is news.
    async fn round(&mut self, url: &str, is_first: bool) -> Result<Option<Duration>, LedgerError> {
        let sandbox = Arc::clone(&self.sandbox);
        if is_first {
            sandbox
                .ledger
                .hasten_events(sandbox.options.clock.now(), sandbox.options.shared)
                .await?;
        }
        let due = sandbox
            .ledger
            .claim_events(
                sandbox.options.clock.now(),
                BATCH,
                sandbox.options.delivery_lease,
            )
            .await?;
        if !due.is_empty() {
            let client = self.client();
            let attempts: Vec<_> = futures_util::stream::iter(due)
                .map(|event| attempt(&sandbox, &client, url, event))
                .buffer_unordered(CONCURRENCY)
                .collect()
                .await;
            let now = sandbox.options.clock.now();
            sandbox.ledger.settle_events(&attempts, now).await?;
        }
        let next = sandbox.ledger.next_event().await?;
        let due_in = next.at.map(|at| {
            let wait = at.duration_since(sandbox.options.clock.now());
            Duration::try_from(wait).unwrap_or_default()
        });
        // Another node may die before it delivers what it put into the books.
        let look_in = sandbox.options.shared.then_some(LOOK_FOR_OTHERS);
        let pauses = [due_in, next.unclaimed_in, look_in];
        // At least a moment, so that a clock that stands still makes no busy loop.
        let pause = pauses.into_iter().flatten().min();
        Ok(pause.map(|pause| pause.max(Duration::from_millis(1))))
    }

    /// Made with the first event: an idle start pays nothing for it.
    fn client(&mut self) -> reqwest::Client {
        let client = self.client.get_or_insert_with(|| {
            reqwest::Client::builder()
                .timeout(REQUEST_TIMEOUT)
                .redirect(reqwest::redirect::Policy::none())
                // The receiver is this node: no proxy stands in between.
                .no_proxy()
                .build()
                .unwrap_or_default()
        });
        client.clone()
    }
}

async fn attempt(
    sandbox: &Inner,
    client: &reqwest::Client,
    url: &str,
    event: WaitingEvent,
) -> (WaitingEvent, Attempt) {
    let signature = sandbox.sign(event.body.as_bytes(), sandbox.options.clock.now());
    let answer = client
        .post(url)
        .header(SandboxProvider::SIGNATURE_HEADER, signature)
        .header("content-type", "application/json")
        .body(event.body.clone())
        .send()
        .await;
    let reason = match answer {
        Ok(response) if response.status().is_success() => return (event, Attempt::Delivered),
        Ok(response) => format!("the receiver answered {}", response.status()),
        Err(error) => format!("the receiver did not answer: {}", error.without_url()),
    };
    let failed = event.attempts + 1;
    if failed >= MAX_ATTEMPTS {
        tracing::warn!(event.id, reason, "a sandbox event was given up");
        return (event, Attempt::GivenUp { reason });
    }
    tracing::debug!(
        event.id,
        reason,
        "a sandbox event was not taken; it is posted again"
    );
    let delay = retry_delay(sandbox.options.first_retry_delay, failed);
    let next_attempt_at = sandbox.options.clock.now() + delay;
    (
        event,
        Attempt::Failed {
            reason,
            next_attempt_at,
        },
    )
}

/// Doubles with every failed attempt.
fn retry_delay(first: Duration, failed: i64) -> Duration {
    let doublings = u32::try_from(failed - 1).unwrap_or(0).min(20);
    first.saturating_mul(1 << doublings).min(MAX_RETRY_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_its_limit_and_an_event_is_tried_for_an_hour() {
        let first = Duration::from_millis(250);
        assert_eq!(retry_delay(first, 1), first);
        assert_eq!(retry_delay(first, 3), Duration::from_secs(1));
        assert_eq!(retry_delay(first, MAX_ATTEMPTS), MAX_RETRY_DELAY);
        let total: Duration = (1..MAX_ATTEMPTS)
            .map(|failed| retry_delay(first, failed))
            .sum();
        assert!(
            total > Duration::from_hours(1) && total < Duration::from_hours(2),
            "{total:?}"
        );
    }
}
