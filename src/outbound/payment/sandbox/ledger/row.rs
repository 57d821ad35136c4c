//! Charges and sessions as rows.

use jiff::Timestamp;

use super::books::{Query, Row, Writing};
use super::{Charge, ChargeStatus, LedgerError, Session, SessionState};
use crate::domain::ids::InvoiceId;
use crate::domain::money::Money;

/// False when the key is there already.
pub(super) async fn insert_charge(
    writing: &mut Writing,
    key: &str,
    charge: &Charge,
) -> Result<bool, LedgerError> {
    let (code, detail) = match &charge.status {
        ChargeStatus::Succeeded => (None, None),
        ChargeStatus::Failed { code, detail } => (Some(code.as_str()), Some(detail.as_str())),
    };
    let insert = Query::new(
        "INSERT INTO sandbox_charges (id, key, organization, invoice, effect, session, amount,
             currency, payment_method, code, detail, created_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (key) DO NOTHING",
    )
    .text(&charge.id)
    .text(key)
    .text(charge.organization.to_string())
    .text(charge.invoice.to_string())
    .text(charge.effect.to_string())
    .optional_text(charge.session.as_deref())
    .integer(charge.amount.minor)
    .text(charge.amount.currency.code())
    .text(&charge.payment_method)
    .optional_text(code)
    .optional_text(detail)
    .integer(charge.created_at.as_millisecond());
    Ok(writing.execute(insert).await? > 0)
}

pub(super) fn charge_by_key(key: &str) -> Query {
    Query::new("SELECT * FROM sandbox_charges WHERE key = $1").text(key)
}

pub(super) fn charges_of(invoice: InvoiceId) -> Query {
    Query::new("SELECT * FROM sandbox_charges WHERE invoice = $1 ORDER BY sequence LIMIT 1000")
        .text(invoice.to_string())
}

/// What was paid in this session.
pub(super) fn payment_of(session: &Session) -> Query {
    let by_index =
        "SELECT * FROM sandbox_charges WHERE invoice = $1 AND session = $2 AND code IS NULL";
    Query::new(by_index)
        .text(session.invoice.to_string())
        .text(&session.id)
}

/// False when the key is there already.
pub(super) async fn insert_session(
    writing: &mut Writing,
    key: &str,
    session: &Session,
) -> Result<bool, LedgerError> {
    let insert = Query::new(
        "INSERT INTO sandbox_sessions (id, key, organization, invoice, effect, amount, currency,
             description, return_url, state, created_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (key) DO NOTHING",
    )
    .text(&session.id)
    .text(key)
    .text(session.organization.to_string())
    .text(session.invoice.to_string())
    .text(session.effect.to_string())
    .integer(session.amount.minor)
    .text(session.amount.currency.code())
    .text(&session.description)
    .text(&session.return_url)
    .text(session.state.name())
    .integer(session.created_at.as_millisecond());
    Ok(writing.execute(insert).await? > 0)
}

pub(super) fn session_by_key(key: &str) -> Query {
    Query::new("SELECT * FROM sandbox_sessions WHERE key = $1").text(key)
}

pub(super) fn session_by_id(id: &str) -> Query {
    Query::new("SELECT * FROM sandbox_sessions WHERE id = $1").text(id)
}

/// Others that want to change it wait.
pub(super) fn locked_session(id: &str) -> Query {
    Query::new("SELECT * FROM sandbox_sessions WHERE id = $1 LOCKED").text(id)
}

/// Only an open session changes: paid and expired are final.
pub(super) async fn set_session_state(
    writing: &mut Writing,
    id: &str,
    state: SessionState,
) -> Result<(), LedgerError> {
    let set = "UPDATE sandbox_sessions SET state = $1 WHERE id = $2 AND state = 'open'";
    let set = Query::new(set).text(state.name()).text(id);
    writing.execute(set).await.map(|_| ())
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

#[expect(clippy::needless_pass_by_value, reason = "so that it fits map")]
pub(super) fn charge(row: Row) -> Result<Charge, LedgerError> {
    Ok(Charge {
        id: row.text("id")?,
        organization: parsed(&row.text("organization")?)?,
        invoice: parsed(&row.text("invoice")?)?,
        effect: parsed(&row.text("effect")?)?,
        session: row.optional_text("session")?,
        amount: amount(&row)?,
        payment_method: row.text("payment_method")?,
        status: match row.optional_text("code")? {
            None => ChargeStatus::Succeeded,
            Some(code) => ChargeStatus::Failed {
                code,
                detail: row.optional_text("detail")?.unwrap_or_default(),
            },
        },
        created_at: timestamp(row.integer("created_ms")?)?,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "so that it fits map")]
pub(super) fn session(row: Row) -> Result<Session, LedgerError> {
    let states = [
        SessionState::Open,
        SessionState::Paid,
        SessionState::Expired,
    ];
    let state = row.text("state")?;
    Ok(Session {
        id: row.text("id")?,
        organization: parsed(&row.text("organization")?)?,
        invoice: parsed(&row.text("invoice")?)?,
        effect: parsed(&row.text("effect")?)?,
        amount: amount(&row)?,
        description: row.text("description")?,
        return_url: row.text("return_url")?,
        state: states
            .into_iter()
            .find(|known| known.name() == state)
            .ok_or_else(|| unreadable(&state))?,
        created_at: timestamp(row.integer("created_ms")?)?,
    })
}

fn amount(row: &Row) -> Result<Money, LedgerError> {
    Ok(Money::new(
        row.integer("amount")?,
        parsed(&row.text("currency")?)?,
    ))
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, LedgerError> {
    text.parse().map_err(|_| unreadable(&text))
}

fn timestamp(milliseconds: i64) -> Result<Timestamp, LedgerError> {
    Timestamp::from_millisecond(milliseconds).map_err(|_| unreadable(&milliseconds))
}

pub(super) fn unreadable(value: &dyn std::fmt::Display) -> LedgerError {
    LedgerError::Failed {
        reason: format!("they hold {value:.40}, which can't be read"),
    }
}
