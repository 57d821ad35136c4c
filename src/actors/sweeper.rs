//! Looks for invoices whose time has come, lets idle ones leave memory, and forgets old webhooks.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Duration;

use super::invoices::{ExecuteError, InvoicesHandle};
use crate::clock::Clock;
use crate::store::{InboxStore, InvoiceStore};

/// Invoices woken in one go; more come with the next look, at once.
const BATCH: u16 = 500;

/// How long a delivered webhook is remembered, so that a repeat is known. Providers repeat by
/// themselves for days (Stripe: three), and by hand for as long as they keep an event: Stripe for 30
/// days (<https://docs.stripe.com/cli/events/resend>). One that comes later still does no harm: its
/// invoice knows the payment.
const REMEMBER_WEBHOOKS_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Webhooks forgotten with one write; more go with the next look.
const FORGET_BATCH: u16 = 200;
/// How often to look for webhooks to forget, once there are no more.
const FORGET_EVERY: SignedDuration = SignedDuration::from_hours(1);

pub(super) enum SweeperMessage {
    Sweep,
}

impl ractor::Message for SweeperMessage {}

pub(super) struct Sweeper {
    pub(super) store: Arc<dyn InvoiceStore>,
    pub(super) inbox: Arc<dyn InboxStore>,
    pub(super) invoices: InvoicesHandle,
    pub(super) clock: Clock,
    pub(super) interval: Duration,
}

pub(super) struct SweeperState {
    forget_at: Timestamp,
}

impl Actor for Sweeper {
    type Msg = SweeperMessage;
    type State = SweeperState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<SweeperMessage>,
        (): (),
    ) -> Result<SweeperState, ActorProcessingErr> {
        myself.send_interval(self.interval, || SweeperMessage::Sweep);
        myself.send_message(SweeperMessage::Sweep)?;
        Ok(SweeperState {
            forget_at: self.clock.now(),
        })
    }

    async fn handle(
        &self,
        _: ActorRef<SweeperMessage>,
        message: SweeperMessage,
        state: &mut SweeperState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SweeperMessage::Sweep => {
                self.sweep().await;
                self.forget_webhooks(state).await;
            }
        }
        Ok(())
    }
}

impl Sweeper {
    async fn sweep(&self) {
        self.invoices.retire_idle();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        metrics::gauge!("faktor_invoices_live").set(self.invoices.live_count() as f64);
        let shards = self.invoices.ownership().serving();
        let due = self.store.due(Some(&shards), self.clock.now(), BATCH);
        let due = match due.await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "due invoices could not be looked up; tried again soon");
                return;
            }
        };
        for invoice in due {
            match self.invoices.wake(invoice.id).await {
                // Its new owner wakes it.
                Ok(()) | Err(ExecuteError::NotOwner) => {}
                Err(error) => {
                    tracing::warn!(invoice.id = %invoice.id, %error, "a due invoice could not be woken; tried again soon");
                }
            }
        }
    }
    async fn forget_webhooks(&self, state: &mut SweeperState) {
        let now = self.clock.now();
        if now < state.forget_at || !self.invoices.ownership().does_chores() {
            return;
        }
        let before = now.saturating_sub(REMEMBER_WEBHOOKS_FOR).unwrap_or(now);
        match self.inbox.forget_delivered(before, FORGET_BATCH).await {
            Ok(count) if count == u64::from(FORGET_BATCH) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "old webhooks could not be forgotten; tried again in an hour");
            }
        }
        state.forget_at = now.saturating_add(FORGET_EVERY).unwrap_or(now);
    }
}
