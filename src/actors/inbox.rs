//! Webhooks: stored first, delivered to their invoices after.

use std::sync::Arc;

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::Semaphore;
use tokio::time::Duration;

use super::invoices::{ExecuteError, InvoicesHandle};
use super::ownership::Ownership;
use super::slot::Slot;
use crate::clock::Clock;
use crate::crash_point::crash_point;
use crate::domain::ids::InvoiceId;
use crate::domain::invoice::ProviderPayment;
use crate::domain::invoice::command::{Command, Initiator};
use crate::outbound::payment::{Payments, ProviderEvent, ProviderEventKind};
use crate::store::{InboxMessage as Stored, InboxStore, StoreError};

/// Webhooks delivered in one go, and at the same time.
const BATCH: u16 = 200;
const AT_ONCE: usize = 16;
const SINGLE_AT_ONCE: usize = 64;
/// How often the inbox looks for what a crash or a failure left behind.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// After this many failed deliveries a webhook is parked for the operator.
const MAX_ATTEMPTS: u32 = 12;

/// How long the node that received a webhook has to deliver it before the one that does the chores
/// does.
const GRACE: SignedDuration = SignedDuration::from_secs(2);

pub(super) enum InboxActorMessage {
    /// What is due.
    Deliver,
    /// What was received here just now.
    DeliverOne(Box<Stored>),
}

impl ractor::Message for InboxActorMessage {}

/// Takes webhooks. Cheap to clone.
#[derive(Clone)]
pub struct InboxHandle {
    store: Arc<dyn InboxStore>,
    clock: Clock,
    /// One node of a cluster looks for what is due; each delivers what it receives.
    ownership: Ownership,
    slot: Slot<InboxActorMessage>,
}

impl std::fmt::Debug for InboxHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InboxHandle")
    }
}

impl InboxHandle {
    pub(super) fn new(store: Arc<dyn InboxStore>, clock: Clock, ownership: Ownership) -> Self {
        Self {
            store,
            clock,
            ownership,
            slot: Slot::default(),
        }
    }

    /// Stores a verified webhook; durable when it returns. A repeat changes nothing: false.
    pub async fn receive(
        &self,
        provider: &str,
        event: &ProviderEvent,
        body: &[u8],
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let does_chores = self.ownership.does_chores();
        let due = if does_chores {
            now
        } else {
            now.saturating_add(GRACE).unwrap_or(now)
        };
        let message = Stored {
            provider: provider.to_owned(),
            event_id: event.id.clone(),
            body: body.to_vec(),
            received_at: now,
            attempts: 0,
            next_attempt_at: due,
            last_error: None,
            parked: false,
        };
        let order = if does_chores {
            InboxActorMessage::Deliver
        } else {
            InboxActorMessage::DeliverOne(Box::new(message.clone()))
        };
        let new = self.store.receive(message).await?;
        if new {
            crash_point("after_inbox", Some("receive"));
            // While it is being restarted it looks by itself.
            let _ = self.slot.send(order);
        }
        Ok(new)
    }
}

#[derive(Clone)]
pub(super) struct Inbox {
    pub(super) handle: InboxHandle,
    pub(super) invoices: InvoicesHandle,
    pub(super) payments: Arc<Payments>,
}

impl Actor for Inbox {
    type Msg = InboxActorMessage;
    /// Places for single deliveries.
    type State = Arc<Semaphore>;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<InboxActorMessage>,
        (): (),
    ) -> Result<Arc<Semaphore>, ActorProcessingErr> {
        self.handle.slot.set(myself.clone());
        myself.send_interval(LOOK_AGAIN, || InboxActorMessage::Deliver);
        myself.send_message(InboxActorMessage::Deliver)?;
        Ok(Arc::new(Semaphore::new(SINGLE_AT_ONCE)))
    }

    async fn handle(
        &self,
        _: ActorRef<InboxActorMessage>,
        message: InboxActorMessage,
        places: &mut Arc<Semaphore>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            InboxActorMessage::Deliver if self.handle.ownership.does_chores() => {
                self.deliver_all().await;
            }
            InboxActorMessage::Deliver => {}
            InboxActorMessage::DeliverOne(message) => {
                // Without a place it is found when its grace is over.
                if let Ok(place) = Arc::clone(places).try_acquire_owned() {
                    let inbox = self.clone();
                    tokio::spawn(async move {
                        inbox.deliver(*message).await;
                        drop(place);
                    });
                }
            }
        }
        Ok(())
    }
}

impl Inbox {
    async fn deliver_all(&self) {
        let waiting = match self
            .handle
            .store
            .undelivered(self.handle.clock.now(), BATCH)
            .await
        {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::warn!(%error, "webhooks could not be read; tried again in 1 s");
                return;
            }
        };
        futures_util::stream::iter(waiting)
            .for_each_concurrent(AT_ONCE, |message| self.deliver(message))
            .await;
    }

    async fn deliver(&self, message: Stored) {
        let result = match self.payments.read_event(&message.body) {
            Ok(event) => self.tell_invoice(&message, event).await,
            Err(error) => Err(Undelivered {
                reason: error.to_string(),
                for_good: true,
            }),
        };
        let noted = match result {
            Ok(()) => {
                metrics::counter!("faktor_inbox_delivered_total").increment(1);
                self.handle
                    .store
                    .delivered(&message.provider, &message.event_id)
                    .await
            }
            Err(failure) => self.note_failure(&message, &failure).await,
        };
        if let Err(error) = noted {
            tracing::warn!(webhook.id = message.event_id, %error, "a delivery could not be noted; the webhook is delivered again");
        }
    }

    async fn tell_invoice(
        &self,
        message: &Stored,
        event: ProviderEvent,
    ) -> Result<(), Undelivered> {
        let Some((invoice, command)) = command_of(&message.provider, event.what) else {
            return Ok(());
        };
        let by = Initiator::Provider(message.provider.clone());
        self.invoices
            .execute_internal(invoice, command, by, &message.event_id)
            .await
            .map(|_| ())
            .map_err(|error| Undelivered {
                for_good: matches!(error, ExecuteError::Refused(_)) && message.attempts >= 3,
                reason: error.to_string(),
            })
    }

    async fn note_failure(
        &self,
        message: &Stored,
        failure: &Undelivered,
    ) -> Result<(), StoreError> {
        let parked = failure.for_good || message.attempts + 1 >= MAX_ATTEMPTS;
        if parked {
            metrics::counter!("faktor_inbox_parked_total").increment(1);
        }
        tracing::warn!(
            webhook.id = message.event_id,
            reason = failure.reason,
            parked,
            "a webhook could not be delivered to its invoice"
        );
        let retry_at = self.retry_at(message.attempts);
        let (provider, id) = (&message.provider, &message.event_id);
        self.handle
            .store
            .failed(provider, id, &failure.reason, retry_at, parked)
            .await
    }

    /// One second after the first failure, doubling up to about an hour.
    fn retry_at(&self, attempts: u32) -> Timestamp {
        let delay = SignedDuration::from_secs(1_i64 << attempts.min(12));
        self.handle
            .clock
            .now()
            .checked_add(delay)
            .unwrap_or(Timestamp::MAX)
    }
}

struct Undelivered {
    reason: String,
    /// Trying again can't help.
    for_good: bool,
}

/// What an event means to which invoice; `None` for events that mean nothing.
fn command_of(provider: &str, event: ProviderEventKind) -> Option<(InvoiceId, Command)> {
    match event {
        ProviderEventKind::PaymentSucceeded {
            invoice,
            effect,
            payment_id,
            amount,
            method,
        } => {
            let payment = ProviderPayment {
                provider: provider.to_owned(),
                id: payment_id,
            };
            Some((
                invoice,
                Command::ReceiveProviderPayment {
                    effect,
                    payment,
                    amount,
                    method,
                },
            ))
        }
        ProviderEventKind::PaymentFailed {
            invoice,
            effect: Some(effect),
            code,
            detail,
        } => Some((
            invoice,
            Command::FailCharge {
                effect,
                code,
                detail,
            },
        )),
        ProviderEventKind::PaymentFailed { effect: None, .. } | ProviderEventKind::Ignored => None,
    }
}
