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

/// How far the first round looks back, after a start or when another node did this before: longer than
/// Stripe repeats a webhook by itself (three days), and within the thirty days that it keeps events.
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

impl Cursor {
    fn new(kind: &'static str, now: Timestamp) -> Self {
        Self {
            kind,
            since: first_look(now),
            under_way: None,
        }
    }

    /// Another node reads. If it no longer does, there is no need to begin where this one left off
    /// months ago.
    fn rest(&mut self, now: Timestamp) {
        self.since = self.since.max(first_look(now));
        self.under_way = None;
    }
}

fn first_look(now: Timestamp) -> Timestamp {
    now.saturating_sub(FIRST_LOOK_BACK).unwrap_or(now)
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
        let cursors = kinds.iter().map(|kind| Cursor::new(kind, now));
        Ok(cursors.collect())
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
                } else {
                    let now = self.clock.now();
                    for cursor in cursors {
                        cursor.rest(now);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_over_looks_back_a_week_and_not_to_its_own_start() {
        let start: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let mut cursor = Cursor::new("payment_intent.succeeded", start);
        cursor.under_way = Some(Round {
            began_at: start,
            after: Some("evt_1".to_owned()),
        });
        cursor.rest("2026-01-11T00:00:00Z".parse().unwrap());
        assert_eq!(cursor.since, "2026-01-04T00:00:00Z".parse().unwrap());
        assert!(cursor.under_way.is_none());
        cursor.rest("2026-05-11T00:00:00Z".parse().unwrap());
        assert_eq!(cursor.since, "2026-05-04T00:00:00Z".parse().unwrap());
    }

    #[test]
    fn what_this_node_has_read_itself_is_not_read_again() {
        let start: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let mut cursor = Cursor::new("payment_intent.succeeded", start);
        cursor.since = "2026-01-20T00:00:00Z".parse().unwrap();
        cursor.rest("2026-01-21T00:00:00Z".parse().unwrap());
        assert_eq!(cursor.since, "2026-01-20T00:00:00Z".parse().unwrap());
    }
}
