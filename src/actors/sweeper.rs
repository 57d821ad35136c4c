//! Looks for invoices whose time has come, and lets idle ones leave memory.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Duration;

use super::invoices::InvoicesHandle;
use crate::clock::Clock;
use crate::store::InvoiceStore;

/// Invoices woken in one go; more come with the next look, at once.
const BATCH: u16 = 500;

pub(super) enum SweeperMessage {
    Sweep,
}

pub(super) struct Sweeper {
    pub(super) store: Arc<dyn InvoiceStore>,
    pub(super) invoices: InvoicesHandle,
    pub(super) clock: Clock,
    pub(super) interval: Duration,
}

impl Actor for Sweeper {
    type Msg = SweeperMessage;
    type State = ();
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<SweeperMessage>,
        (): (),
    ) -> Result<(), ActorProcessingErr> {
        myself.send_interval(self.interval, || SweeperMessage::Sweep);
        myself.send_message(SweeperMessage::Sweep)?;
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<SweeperMessage>,
        message: SweeperMessage,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SweeperMessage::Sweep => self.sweep().await,
        }
        Ok(())
    }
}

impl Sweeper {
    async fn sweep(&self) {
        self.invoices.retire_idle();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        metrics::gauge!("faktor_invoices_live").set(self.invoices.live_count() as f64);
        let due = match self.store.due(None, self.clock.now(), BATCH).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "due invoices could not be looked up; tried again soon");
                return;
            }
        };
        for invoice in due {
            if let Err(error) = self.invoices.wake(invoice.id).await {
                tracing::warn!(invoice.id = %invoice.id, %error, "a due invoice could not be woken; tried again soon");
            }
        }
    }
}
