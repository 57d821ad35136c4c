//! The sandbox's events: written with what they tell, then delivered.

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::ledger::{self, Charge, ChargeStatus, Ledger, LedgerError, Session};
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
    connection: &mut SqliteConnection,
    event: &NewEvent,
    now: Timestamp,
) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO events (id, body, state, attempts, next_attempt_ms, created_ms)
         VALUES ($1, $2, 'pending', 0, $3, $3)",
    )
    .bind(&event.id)
    .bind(&event.body)
    .bind(now.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

/// An event to be delivered.
#[derive(Debug, sqlx::FromRow)]
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

impl Ledger {
    /// The events that are due, those due the longest first.
    pub(super) async fn due_events(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<WaitingEvent>, LedgerError> {
        let events = sqlx::query_as(
            "SELECT id, body, attempts FROM events
             WHERE state = 'pending' AND next_attempt_ms <= $1
             ORDER BY next_attempt_ms, rowid LIMIT $2",
        )
        .bind(now.as_millisecond())
        .bind(limit)
        .fetch_all(self.pool().await?)
        .await?;
        Ok(events)
    }

    /// When the next event is due, if one waits.
    pub(super) async fn next_event_at(&self) -> Result<Option<Timestamp>, LedgerError> {
        let (next,): (Option<i64>,) =
            sqlx::query_as("SELECT min(next_attempt_ms) FROM events WHERE state = 'pending'")
                .fetch_one(self.pool().await?)
                .await?;
        Ok(next.and_then(|next| Timestamp::from_millisecond(next).ok()))
    }

    /// Writes down how the attempts of one round ended, in one transaction; and forgets old events.
    pub(super) async fn settle_events(
        &self,
        attempts: &[(WaitingEvent, Attempt)],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        for (event, attempt) in attempts {
            let (state, next, reason) = match attempt {
                Attempt::Delivered => ("delivered", None, None),
                Attempt::Failed {
                    reason,
                    next_attempt_at,
                } => (
                    "pending",
                    Some(next_attempt_at.as_millisecond()),
                    Some(reason),
                ),
                Attempt::GivenUp { reason } => ("given_up", None, Some(reason)),
            };
            sqlx::query(
                "UPDATE events SET state = $2, attempts = attempts + 1, last_error = $3,
                     next_attempt_ms = coalesce($4, next_attempt_ms)
                 WHERE id = $1",
            )
            .bind(&event.id)
            .bind(state)
            .bind(reason)
            .bind(next)
            .execute(&mut *transaction)
            .await?;
        }
        // Of the oldest ones only, so that no table has to be read.
        sqlx::query(
            "DELETE FROM events WHERE state <> 'pending' AND created_ms < $1
                 AND id IN (SELECT id FROM events ORDER BY rowid LIMIT $2)",
        )
        .bind(now.as_millisecond().saturating_sub(KEEP_EVENTS_MS))
        .bind(FORGET_BATCH)
        .execute(&mut *transaction)
        .await?;
        ledger::commit(transaction).await
    }

    /// Makes every waiting event due: after a restart the receiver may well be there again.
    pub(super) async fn hasten_events(&self, now: Timestamp) -> Result<(), LedgerError> {
        sqlx::query("UPDATE events SET next_attempt_ms = $1 WHERE state = 'pending'")
            .bind(now.as_millisecond())
            .execute(self.pool().await?)
            .await?;
        Ok(())
    }
}
