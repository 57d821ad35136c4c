//! Asks the payment provider for events whose webhooks may have got lost, and puts them where
//! webhooks go. The inbox knows each event by its id, so one that came by webhook changes nothing.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Duration;

use super::inbox::InboxHandle;
use super::ownership::Ownership;
use crate::clock::Clock;
use crate::outbound::payment::{EventsPage, EventsQuery, Payments};

/// How far the first round after a start looks back: longer than Stripe repeats a webhook by itself
/// (three days), and within the thirty days that it keeps events.
const FIRST_LOOK_BACK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Each round begins this long before the one before it did: an event may be listed late, and clocks
/// differ.
const OVERLAP: SignedDuration = SignedDuration::from_mins(15);

/// Pages of one type asked for in one go; the next go continues.
const MAX_PAGES: usize = 10;

pub(super) enum ReconcileMessage {
    Ask,
}

impl ractor::Message for ReconcileMessage {}

pub(super) struct Reconcile {
    pub(super) payments: Arc<Payments>,
    pub(super) inbox: InboxHandle,
    pub(super) ownership: Ownership,
    pub(super) clock: Clock,
    pub(super) interval: Duration,
}

/// How far one type of events was read.
pub(super) struct Cursor {
    kind: &'static str,
    since: Timestamp,
    /// A round that is not at its end yet.
    under_way: Option<Round>,
}

struct Round {
    began_at: Timestamp,
    after: Option<String>,
}

impl Actor for Reconcile {
    type Msg = ReconcileMessage;
    type State = Vec<Cursor>;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<ReconcileMessage>,
        (): (),
    ) -> Result<Vec<Cursor>, ActorProcessingErr> {
        let kinds = self.payments.event_types();
        if !kinds.is_empty() {
            myself.send_after(self.interval, || ReconcileMessage::Ask);
        }
        let now = self.clock.now();
        let since = now.saturating_sub(FIRST_LOOK_BACK).unwrap_or(now);
        let cursor = |kind: &&'static str| Cursor {
            kind,
            since,
            under_way: None,
        };
        Ok(kinds.iter().map(cursor).collect())
    }

    async fn handle(
        &self,
        myself: ActorRef<ReconcileMessage>,
        message: ReconcileMessage,
        cursors: &mut Vec<Cursor>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ReconcileMessage::Ask => {
                if self.ownership.does_chores() {
                    for cursor in cursors {
                        self.ask(cursor).await;
                    }
                }
                myself.send_after(self.interval, || ReconcileMessage::Ask);
            }
        }
        Ok(())
    }
}

impl Reconcile {
    /// Reads on in this type's round. What failed is asked for again from the same place.
    async fn ask(&self, cursor: &mut Cursor) {
        let now = self.clock.now();
        let round = cursor.under_way.get_or_insert(Round {
            began_at: now,
            after: None,
        });
        for _ in 0..MAX_PAGES {
            let query = EventsQuery {
                kind: cursor.kind,
                since: cursor.since,
                after: round.after.clone(),
            };
            let page = match self.payments.events(&query).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(%error, "the payment provider's events could not be read; asked again later");
                    return;
                }
            };
            let next = page.next.clone();
            if !self.take(page).await {
                return;
            }
            if next.is_none() {
                let began_at = round.began_at;
                cursor.since = began_at.saturating_sub(OVERLAP).unwrap_or(began_at);
                cursor.under_way = None;
                return;
            }
            round.after = next;
        }
    }

    /// Whether all of the page is stored.
    async fn take(&self, page: EventsPage) -> bool {
        for listed in page.events {
            let (event, body) = (&listed.event, &listed.body);
            match self.inbox.receive(self.payments.name(), event, body).await {
                Ok(true) => {
                    metrics::counter!("faktor_payments_reconciled_total").increment(1);
                    tracing::info!(
                        webhook.id = event.id,
                        "a payment event came without its webhook, or before it"
                    );
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "the payment provider's events could not be stored; asked again later");
                    return false;
                }
            }
        }
        true
    }
}
