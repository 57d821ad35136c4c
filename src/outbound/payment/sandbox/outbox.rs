//! The sandbox's events: written with what they tell, then delivered.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::ledger::{Charge, ChargeStatus, Ledger, LedgerError, Query, Session, Writing};
use crate::clock;

/// How long an event that was delivered or given up stays in the books: 30 days, as at Stripe.
const KEEP_EVENTS_MS: i64 = 30 * 24 * 60 * 60 * 1_000;
/// Events forgotten with one round; more than a round delivers, so that they get fewer.
const FORGET_BATCH: i64 = 256;

/// An event to be put into the books.
pub(super) struct NewEvent {
    id: String,
    body: String,
}

/// `payment_intent.succeeded` or `.payment_failed`, in Stripe's shape.
pub(super) fn payment_event(charge: &Charge) -> NewEvent {
    let (kind, status, error) = match &charge.status {
        ChargeStatus::Succeeded => ("payment_intent.succeeded", "succeeded", Value::Null),
        ChargeStatus::Failed { code, detail } => (
            "payment_intent.payment_failed",
            "requires_payment_method",
            json!({"code": code, "message": detail}),
        ),
    };
    let object = json!({
        "id": charge.id,
        "object": "payment_intent",
        "amount": charge.amount.minor,
        "currency": charge.amount.currency.code().to_ascii_lowercase(),
        "status": status,
        "last_payment_error": error,
        "metadata": metadata(charge),
    });
    event(kind, &object, charge.created_at)
}

/// `checkout.session.completed`: names the same payment as its `payment_intent.succeeded`.
pub(super) fn session_event(session: &Session, charge: &Charge) -> NewEvent {
    let object = json!({
        "id": session.id,
        "object": "checkout.session",
        "payment_intent": charge.id,
        "amount_total": charge.amount.minor,
        "currency": charge.amount.currency.code().to_ascii_lowercase(),
        "payment_status": "paid",
        "metadata": metadata(charge),
    });
    event("checkout.session.completed", &object, charge.created_at)
}

fn metadata(charge: &Charge) -> Value {
    json!({
        "organization": charge.organization,
        "invoice": charge.invoice,
        "effect": charge.effect.to_string(),
    })
}

fn event(kind: &str, object: &Value, created_at: Timestamp) -> NewEvent {
    let id = format!("evt_sbx_{}", clock::random_hex::<12>());
    let body = json!({
        "id": id,
        "object": "event",
        "type": kind,
        "created": created_at.as_second(),
        "data": {"object": object},
    });
    NewEvent {
        id,
        body: body.to_string(),
    }
}

pub(super) async fn insert(
    writing: &mut Writing,
    event: &NewEvent,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let insert = Query::new(
        "INSERT INTO sandbox_events (id, body, state, attempts, next_attempt_ms, claimed_until_ms,
             created_ms)
         VALUES ($1, $2, 'pending', 0, $3, 0, $3)",
    )
    .text(&event.id)
    .text(&event.body)
    .integer(now.as_millisecond());
    writing.execute(insert).await.map(|_| ())
}

/// An event to be delivered.
#[derive(Debug)]
pub(super) struct WaitingEvent {
    pub(super) id: String,
    pub(super) body: String,
    /// Attempts that have failed.
    pub(super) attempts: i64,
}

/// How an attempt to deliver an event ended.
pub(super) enum Attempt {
    Delivered,
    Failed {
        reason: String,
        next_attempt_at: Timestamp,
    },
    /// The last attempt failed too.
    GivenUp {
        reason: String,
    },
}

/// When there will be something to deliver.
#[derive(Debug, Default)]
pub(super) struct Next {
    /// An event that nobody is delivering.
    pub(super) at: Option<Timestamp>,
    /// An event that another node has claimed, if it does not come to an end with it.
    pub(super) unclaimed_in: Option<Duration>,
}

impl Ledger {
    /// Claims events that are due, those due the longest first: until the lease has run out, no
    /// other node delivers them.
    pub(super) async fn claim_events(
        &self,
        now: Timestamp,
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<WaitingEvent>, LedgerError> {
        let claim = Query::new(
            "UPDATE sandbox_events SET claimed_until_ms = NOW_MS + $3 WHERE sequence IN (
                 SELECT sequence FROM sandbox_events
                 WHERE state = 'pending' AND next_attempt_ms <= $1 AND claimed_until_ms <= NOW_MS
                 ORDER BY next_attempt_ms, sequence LIMIT $2 SKIPPING)
             RETURNING id, body, attempts",
        )
        .integer(now.as_millisecond())
        .integer(i64::from(limit))
        .integer(millis(lease));
        let rows = self.books().await?.fetch(claim).await?;
        rows.iter()
            .map(|row| {
                Ok(WaitingEvent {
                    id: row.text("id")?,
                    body: row.text("body")?,
                    attempts: row.integer("attempts")?,
                })
            })
            .collect()
    }

    pub(super) async fn next_event(&self) -> Result<Next, LedgerError> {
        let next = Query::new(
            "SELECT min(CASE WHEN claimed_until_ms <= NOW_MS THEN next_attempt_ms END) AS at,
                 min(CASE WHEN claimed_until_ms > NOW_MS THEN claimed_until_ms - NOW_MS END)
                     AS unclaimed_in
             FROM sandbox_events WHERE state = 'pending'",
        );
        let rows = self.books().await?.fetch(next).await?;
        let Some(row) = rows.first() else {
            return Ok(Next::default());
        };
        let at = row.optional_integer("at")?;
        let unclaimed_in = row.optional_integer("unclaimed_in")?;
        Ok(Next {
            at: at.and_then(|at| Timestamp::from_millisecond(at).ok()),
            unclaimed_in: unclaimed_in
                .map(|wait| Duration::from_millis(u64::try_from(wait).unwrap_or_default())),
        })
    }

    /// Writes down how the attempts of one round ended, in one transaction; and forgets old events.
    pub(super) async fn settle_events(
        &self,
        attempts: &[(WaitingEvent, Attempt)],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut writing = self.begin().await?;
        for (event, attempt) in attempts {
            let (state, next, reason) = match attempt {
                Attempt::Delivered => ("delivered", None, None),
                Attempt::Failed {
                    reason,
                    next_attempt_at,
                } => (
                    "pending",
                    Some(next_attempt_at.as_millisecond()),
                    Some(reason.as_str()),
                ),
                Attempt::GivenUp { reason } => ("given_up", None, Some(reason.as_str())),
            };
            // Another node may have delivered it meanwhile, if this one was slow.
            let settle = Query::new(
                "UPDATE sandbox_events SET state = $2, attempts = attempts + 1, last_error = $3,
                     next_attempt_ms = coalesce($4, next_attempt_ms), claimed_until_ms = 0
                 WHERE id = $1 AND state = 'pending'",
            );
            let settle = settle.text(&event.id).text(state).optional_text(reason);
            writing.execute(settle.integer(next)).await?;
        }
        // Of the oldest ones only, so that no table has to be read.
        let forget = Query::new(
            "DELETE FROM sandbox_events WHERE state <> 'pending' AND created_ms < $1
                 AND sequence IN (
                     SELECT sequence FROM sandbox_events ORDER BY sequence LIMIT $2 SKIPPING)",
        );
        let before = now.as_millisecond().saturating_sub(KEEP_EVENTS_MS);
        let forget = forget.integer(before).integer(FORGET_BATCH);
        writing.execute(forget).await?;
        writing.commit().await
    }

    /// Makes every waiting event due: after a restart the receiver may well be there again. Alone,
    /// what is claimed was so by this node's last run.
    pub(super) async fn hasten_events(
        &self,
        now: Timestamp,
        shared: bool,
    ) -> Result<(), LedgerError> {
        let hasten = Query::new(
            "UPDATE sandbox_events SET next_attempt_ms = $1, claimed_until_ms = 0
             WHERE state = 'pending' AND (claimed_until_ms <= NOW_MS OR $2 = 0)",
        );
        let hasten = hasten
            .integer(now.as_millisecond())
            .integer(i64::from(shared));
        self.books().await?.fetch(hasten).await.map(|_| ())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
