//! The sandbox's books: charges and checkout sessions in an SQLite file of its own.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};
use tokio::sync::OnceCell;

use super::methods::{Behaviour, Method};
use super::outbox;
use crate::clock;
use crate::domain::ids::{EffectId, InvoiceId, OrganizationId};
use crate::domain::money::Money;
use crate::outbound::durable_file;
use crate::outbound::payment::{CARD, ChargeOutcome, ChargeRequest, LinkRequest};

mod row;

/// The layout of the tables below; a file with a higher one was written by a newer Faktor.
const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = "
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS charges (
        id TEXT PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        organization TEXT NOT NULL,
        invoice TEXT NOT NULL,
        effect TEXT NOT NULL,
        session TEXT,
        amount INTEGER NOT NULL,
        currency TEXT NOT NULL,
        payment_method TEXT NOT NULL,
        code TEXT,
        detail TEXT,
        created_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS charges_of_invoice ON charges (invoice);
    CREATE TABLE IF NOT EXISTS sessions (
        id TEXT PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        organization TEXT NOT NULL,
        invoice TEXT NOT NULL,
        effect TEXT NOT NULL,
        amount INTEGER NOT NULL,
        currency TEXT NOT NULL,
        description TEXT NOT NULL,
        return_url TEXT NOT NULL,
        state TEXT NOT NULL,
        created_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS events (
        id TEXT PRIMARY KEY,
        body TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        next_attempt_ms INTEGER NOT NULL,
        last_error TEXT,
        created_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS events_waiting ON events (next_attempt_ms) WHERE state = 'pending';
    PRAGMA user_version = 1;
    COMMIT;
";

/// The longest description kept, in characters.
const MAX_DESCRIPTION_CHARS: usize = 500;
/// How long a request waits for the one writing connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the books could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum LedgerError {
    /// Nothing was written.
    #[error("the sandbox's books are not available: {reason}")]
    Failed { reason: String },
    /// It may have been written or not.
    #[error("the sandbox's books failed while writing: {reason}")]
    CommitFailed { reason: String },
    #[error("this key was used before, for another amount, invoice or payment method")]
    OtherRequest,
}

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed {
            reason: error.to_string(),
        }
    }
}

/// How a charge ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChargeStatus {
    Succeeded,
    Failed { code: String, detail: String },
}

/// A charge in the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The payment's id: `pi_…`.
    pub id: String,
    pub organization: OrganizationId,
    pub invoice: InvoiceId,
    /// The effect that asked for the charge or for the checkout session.
    pub effect: EffectId,
    /// The checkout session it was made through.
    pub session: Option<String>,
    pub amount: Money,
    /// As requested: `pm_ok`.
    pub payment_method: String,
    pub status: ChargeStatus,
    pub created_at: Timestamp,
}

impl Charge {
    pub(super) fn outcome(self) -> ChargeOutcome {
        match self.status {
            ChargeStatus::Succeeded => ChargeOutcome::Succeeded {
                payment_id: self.id,
                method: CARD.to_owned(),
            },
            ChargeStatus::Failed { code, detail } => ChargeOutcome::Declined { code, detail },
        }
    }
}

/// What became of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    Open,
    Paid,
    Expired,
}

/// A checkout page for one amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// `cs_…`; can't be guessed.
    pub id: String,
    pub organization: OrganizationId,
    pub invoice: InvoiceId,
    /// The effect that asked for it.
    pub effect: EffectId,
    pub amount: Money,
    pub description: String,
    pub return_url: String,
    pub state: SessionState,
    pub created_at: Timestamp,
}

/// A charge to be put into the books.
#[derive(Debug, Clone)]
pub(super) struct NewCharge {
    pub(super) key: String,
    charge: Charge,
}

impl NewCharge {
    pub(super) fn by_api(request: &ChargeRequest, method: &Method, now: Timestamp) -> Self {
        Self {
            key: request.effect.to_string(),
            charge: Charge {
                id: format!("pi_{}", clock::random_hex::<12>()),
                organization: request.organization,
                invoice: request.invoice,
                effect: request.effect.clone(),
                session: None,
                amount: request.amount,
                payment_method: request.payment_method.clone(),
                status: status_of(method),
                created_at: now,
            },
        }
    }

    fn by_session(session: &Session, method: &Method, now: Timestamp) -> Self {
        let id = format!("pi_{}", clock::random_hex::<12>());
        Self {
            // A checkout page has no keys; its session's state keeps it from being paid twice.
            key: format!("{}/{id}", session.id),
            charge: Charge {
                id,
                organization: session.organization,
                invoice: session.invoice,
                effect: session.effect.clone(),
                session: Some(session.id.clone()),
                amount: session.amount,
                payment_method: method.id.to_owned(),
                status: status_of(method),
                created_at: now,
            },
        }
    }
}

fn status_of(method: &Method) -> ChargeStatus {
    match method.behaviour {
        Behaviour::Decline { code, detail } => ChargeStatus::Failed {
            code: code.to_owned(),
            detail: detail.to_owned(),
        },
        Behaviour::Succeed | Behaviour::Slow | Behaviour::LoseReply | Behaviour::Unavailable => {
            ChargeStatus::Succeeded
        }
    }
}

/// A charge in the books, and whether this call put it there.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) charge: Charge,
    pub(super) is_first: bool,
}

/// A session to be put into the books.
#[derive(Debug)]
pub(super) struct NewSession {
    key: String,
    session: Session,
}

impl NewSession {
    pub(super) fn new(request: &LinkRequest, now: Timestamp) -> Self {
        Self {
            key: request.effect.to_string(),
            session: Session {
                id: format!("cs_{}", clock::random_hex::<16>()),
                organization: request.organization,
                invoice: request.invoice,
                effect: request.effect.clone(),
                amount: request.amount,
                description: request
                    .description
                    .chars()
                    .take(MAX_DESCRIPTION_CHARS)
                    .collect(),
                return_url: request.return_url.clone(),
                state: SessionState::Open,
                created_at: now,
            },
        }
    }
}

/// What became of an attempt to pay a session.
#[derive(Debug)]
pub(super) enum PayOutcome {
    Paid {
        session: Session,
    },
    Declined {
        session: Session,
        detail: String,
    },
    /// Nothing happened: it is paid or expired.
    NotOpen {
        session: Session,
    },
    Missing,
}

/// The books. The file is made with the first request, so that an idle start costs nothing.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    pool: OnceCell<SqlitePool>,
}

impl Ledger {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            pool: OnceCell::new(),
        }
    }

    /// Whether there is anything to read, without making it.
    pub(super) fn exists(&self) -> bool {
        self.pool.initialized() || self.path.exists()
    }

    /// One connection, as SQLite has one writer: requests queue for it in order.
    pub(super) async fn pool(&self) -> Result<&SqlitePool, LedgerError> {
        self.pool.get_or_try_init(|| open(self.path.clone())).await
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'_, Sqlite>, LedgerError> {
        Ok(self.pool().await?.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Puts a charge and its event into the books, unless its key is there: then that charge comes
    /// back.
    pub(super) async fn record_charge(&self, new: NewCharge) -> Result<Recorded, LedgerError> {
        let mut transaction = self.begin().await?;
        if let Some(charge) = row::charge_by_key(&mut transaction, &new.key).await? {
            let wanted = &new.charge;
            let is_same = charge.amount == wanted.amount
                && charge.invoice == wanted.invoice
                && charge.payment_method == wanted.payment_method;
            let first = Recorded {
                charge,
                is_first: false,
            };
            return if is_same {
                Ok(first)
            } else {
                Err(LedgerError::OtherRequest)
            };
        }
        insert_charge(&mut transaction, &new).await?;
        commit(transaction).await?;
        Ok(Recorded {
            charge: new.charge,
            is_first: true,
        })
    }

    pub(super) async fn charge(&self, key: &str) -> Result<Option<Charge>, LedgerError> {
        let mut connection = self.pool().await?.acquire().await?;
        row::charge_by_key(&mut connection, key).await
    }

    pub(super) async fn charges(&self, invoice: InvoiceId) -> Result<Vec<Charge>, LedgerError> {
        if !self.exists() {
            return Ok(Vec::new());
        }
        let mut connection = self.pool().await?.acquire().await?;
        row::charges_of(&mut connection, invoice).await
    }

    /// Puts a session into the books, unless its key is there: then that session comes back.
    pub(super) async fn create_session(&self, new: NewSession) -> Result<Session, LedgerError> {
        let mut transaction = self.begin().await?;
        if let Some(session) = row::session_by_key(&mut transaction, &new.key).await? {
            let wanted = &new.session;
            let is_same = session.amount == wanted.amount && session.invoice == wanted.invoice;
            return if is_same {
                Ok(session)
            } else {
                Err(LedgerError::OtherRequest)
            };
        }
        row::insert_session(&mut transaction, &new.key, &new.session).await?;
        commit(transaction).await?;
        Ok(new.session)
    }

    pub(super) async fn session(&self, id: &str) -> Result<Option<Session>, LedgerError> {
        if !self.exists() {
            return Ok(None);
        }
        let mut connection = self.pool().await?.acquire().await?;
        row::session_by_id(&mut connection, id).await
    }

    /// Closes an open session; one that is paid, expired or unknown stays as it is.
    pub(super) async fn expire_session(&self, id: &str) -> Result<(), LedgerError> {
        if !self.exists() {
            return Ok(());
        }
        let mut transaction = self.begin().await?;
        row::set_session_state(&mut transaction, id, SessionState::Expired).await?;
        commit(transaction).await
    }

    /// Charges the method for an open session. Charge, state and events are one transaction, so
    /// that a session is paid once however often it is tried at the same time.
    pub(super) async fn pay_session(
        &self,
        id: &str,
        method: &Method,
        now: Timestamp,
    ) -> Result<PayOutcome, LedgerError> {
        if !self.exists() {
            return Ok(PayOutcome::Missing);
        }
        let mut transaction = self.begin().await?;
        let Some(mut session) = row::session_by_id(&mut transaction, id).await? else {
            return Ok(PayOutcome::Missing);
        };
        if session.state != SessionState::Open {
            return Ok(PayOutcome::NotOpen { session });
        }
        let new = NewCharge::by_session(&session, method, now);
        insert_charge(&mut transaction, &new).await?;
        if let ChargeStatus::Failed { detail, .. } = new.charge.status {
            commit(transaction).await?;
            return Ok(PayOutcome::Declined { session, detail });
        }
        row::set_session_state(&mut transaction, id, SessionState::Paid).await?;
        session.state = SessionState::Paid;
        outbox::insert(
            &mut transaction,
            &outbox::session_event(&session, &new.charge),
            now,
        )
        .await?;
        commit(transaction).await?;
        Ok(PayOutcome::Paid { session })
    }
}

async fn insert_charge(
    transaction: &mut Transaction<'_, Sqlite>,
    new: &NewCharge,
) -> Result<(), LedgerError> {
    row::insert_charge(transaction, &new.key, &new.charge).await?;
    let event = outbox::payment_event(&new.charge);
    outbox::insert(transaction, &event, new.charge.created_at).await
}

pub(super) async fn commit(transaction: Transaction<'_, Sqlite>) -> Result<(), LedgerError> {
    let reason = |error: sqlx::Error| LedgerError::CommitFailed {
        reason: error.to_string(),
    };
    transaction.commit().await.map_err(reason)
}

async fn open(path: PathBuf) -> Result<SqlitePool, LedgerError> {
    let directory = path.parent().map(ToOwned::to_owned).unwrap_or_default();
    durable_file::blocking(move || durable_file::make_directory(&directory))
        .await
        .map_err(|error| LedgerError::Failed {
            reason: error.to_string(),
        })?;
    let connection = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(ACQUIRE_TIMEOUT);
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(connection)
        .await?;
    let (version,): (i64,) = sqlx::query_as("PRAGMA user_version")
        .fetch_one(&pool)
        .await?;
    if version > SCHEMA_VERSION {
        let reason = format!(
            "{} was written by a newer version of Faktor",
            path.display()
        );
        return Err(LedgerError::Failed { reason });
    }
    sqlx::raw_sql(SCHEMA).execute(&pool).await?;
    Ok(pool)
}
