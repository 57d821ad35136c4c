//! Charges and sessions as rows.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{Charge, ChargeStatus, LedgerError, Session, SessionState};
use crate::domain::ids::InvoiceId;
use crate::domain::money::Money;

#[derive(sqlx::FromRow)]
struct ChargeRow {
    id: String,
    organization: String,
    invoice: String,
    effect: String,
    session: Option<String>,
    amount: i64,
    currency: String,
    payment_method: String,
    code: Option<String>,
    detail: Option<String>,
    created_ms: i64,
}

#[derive(sqlx::FromRow)]
struct SessionRow {
    id: String,
    organization: String,
    invoice: String,
    effect: String,
    amount: i64,
    currency: String,
    description: String,
    return_url: String,
    state: String,
    created_ms: i64,
}

pub(super) async fn insert_charge(
    connection: &mut SqliteConnection,
    key: &str,
    charge: &Charge,
) -> Result<(), LedgerError> {
    let (code, detail) = match &charge.status {
        ChargeStatus::Succeeded => (None, None),
        ChargeStatus::Failed { code, detail } => (Some(code), Some(detail)),
    };
    sqlx::query(
        "INSERT INTO charges (id, key, organization, invoice, effect, session, amount, currency,
             payment_method, code, detail, created_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(&charge.id)
    .bind(key)
    .bind(charge.organization.to_string())
    .bind(charge.invoice.to_string())
    .bind(charge.effect.to_string())
    .bind(&charge.session)
    .bind(charge.amount.minor)
    .bind(charge.amount.currency.code())
    .bind(&charge.payment_method)
    .bind(code)
    .bind(detail)
    .bind(charge.created_at.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn charge_by_key(
    connection: &mut SqliteConnection,
    key: &str,
) -> Result<Option<Charge>, LedgerError> {
    let row: Option<ChargeRow> = sqlx::query_as("SELECT * FROM charges WHERE key = $1")
        .bind(key)
        .fetch_optional(connection)
        .await?;
    row.map(Charge::try_from).transpose()
}

pub(super) async fn charges_of(
    connection: &mut SqliteConnection,
    invoice: InvoiceId,
) -> Result<Vec<Charge>, LedgerError> {
    let rows: Vec<ChargeRow> =
        sqlx::query_as("SELECT * FROM charges WHERE invoice = $1 ORDER BY rowid LIMIT 1000")
            .bind(invoice.to_string())
            .fetch_all(connection)
            .await?;
    rows.into_iter().map(Charge::try_from).collect()
}

pub(super) async fn insert_session(
    connection: &mut SqliteConnection,
    key: &str,
    session: &Session,
) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO sessions (id, key, organization, invoice, effect, amount, currency,
             description, return_url, state, created_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(&session.id)
    .bind(key)
    .bind(session.organization.to_string())
    .bind(session.invoice.to_string())
    .bind(session.effect.to_string())
    .bind(session.amount.minor)
    .bind(session.amount.currency.code())
    .bind(&session.description)
    .bind(&session.return_url)
    .bind(session.state.name())
    .bind(session.created_at.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn session_by_key(
    connection: &mut SqliteConnection,
    key: &str,
) -> Result<Option<Session>, LedgerError> {
    let row: Option<SessionRow> = sqlx::query_as("SELECT * FROM sessions WHERE key = $1")
        .bind(key)
        .fetch_optional(connection)
        .await?;
    row.map(Session::try_from).transpose()
}

pub(super) async fn session_by_id(
    connection: &mut SqliteConnection,
    id: &str,
) -> Result<Option<Session>, LedgerError> {
    let row: Option<SessionRow> = sqlx::query_as("SELECT * FROM sessions WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await?;
    row.map(Session::try_from).transpose()
}

/// Only an open session changes: paid and expired are final.
pub(super) async fn set_session_state(
    connection: &mut SqliteConnection,
    id: &str,
    state: SessionState,
) -> Result<(), LedgerError> {
    sqlx::query("UPDATE sessions SET state = $1 WHERE id = $2 AND state = 'open'")
        .bind(state.name())
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}

impl SessionState {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Expired => "expired",
        }
    }
}

impl TryFrom<ChargeRow> for Charge {
    type Error = LedgerError;

    fn try_from(row: ChargeRow) -> Result<Self, LedgerError> {
        Ok(Self {
            organization: parsed(&row.organization)?,
            invoice: parsed(&row.invoice)?,
            effect: parsed(&row.effect)?,
            session: row.session,
            amount: Money::new(row.amount, parsed(&row.currency)?),
            payment_method: row.payment_method,
            status: match row.code {
                None => ChargeStatus::Succeeded,
                Some(code) => ChargeStatus::Failed {
                    code,
                    detail: row.detail.unwrap_or_default(),
                },
            },
            created_at: timestamp(row.created_ms)?,
            id: row.id,
        })
    }
}

impl TryFrom<SessionRow> for Session {
    type Error = LedgerError;

    fn try_from(row: SessionRow) -> Result<Self, LedgerError> {
        let states = [
            SessionState::Open,
            SessionState::Paid,
            SessionState::Expired,
        ];
        Ok(Self {
            organization: parsed(&row.organization)?,
            invoice: parsed(&row.invoice)?,
            effect: parsed(&row.effect)?,
            amount: Money::new(row.amount, parsed(&row.currency)?),
            description: row.description,
            return_url: row.return_url,
            state: states
                .into_iter()
                .find(|state| state.name() == row.state)
                .ok_or_else(|| unreadable(&row.state))?,
            created_at: timestamp(row.created_ms)?,
            id: row.id,
        })
    }
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, LedgerError> {
    text.parse().map_err(|_| unreadable(&text))
}

fn timestamp(milliseconds: i64) -> Result<Timestamp, LedgerError> {
    Timestamp::from_millisecond(milliseconds).map_err(|_| unreadable(&milliseconds))
}

fn unreadable(value: &dyn std::fmt::Display) -> LedgerError {
    LedgerError::Failed {
        reason: format!("they hold {value:.40}, which can't be read"),
    }
}
