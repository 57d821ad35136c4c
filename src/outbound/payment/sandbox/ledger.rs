//! The sandbox's books: charges and checkout sessions.

use std::path::PathBuf;

use jiff::Timestamp;
use tokio::sync::OnceCell;

use super::methods::{Behaviour, Method};
use super::outbox;
use crate::clock;
use crate::config::Secret;
use crate::domain::ids::{EffectId, InvoiceId, OrganizationId};
use crate::domain::money::Money;
use crate::outbound::payment::{CARD, ChargeOutcome, ChargeRequest, LinkRequest};

mod books;
mod file;
mod row;

pub(super) use books::{Books, Query, Writing};

/// The longest description kept, in characters.
const MAX_DESCRIPTION_CHARS: usize = 500;
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

/// Where the books are.
#[derive(Debug)]
pub(super) enum Place {
    /// Made with the first request, so that an idle start costs nothing.
    File(PathBuf),
    /// The PostgreSQL database of all nodes, which has the tables already.
    Database(Secret),
}

/// The books.
#[derive(Debug)]
pub(super) struct Ledger {
    place: Place,
    books: OnceCell<Books>,
}

impl Ledger {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            books: OnceCell::new(),
        }
    }

    /// Whether there is anything to read, without making it.
    pub(super) fn exists(&self) -> bool {
        match &self.place {
            Place::File(path) => self.books.initialized() || path.exists(),
            Place::Database(_) => true,
        }
    }

    pub(super) async fn books(&self) -> Result<&Books, LedgerError> {
        let open = || async {
            match &self.place {
                Place::File(path) => file::open(path).await,
                Place::Database(url) => Books::database(url.expose()),
            }
        };
        self.books.get_or_try_init(open).await
    }

    pub(super) async fn begin(&self) -> Result<Writing, LedgerError> {
        self.books().await?.begin().await
    }

    /// The secret that all nodes sign with; the first one that asks makes it.
    pub(super) async fn secret(&self) -> Result<Secret, LedgerError> {
        let new = format!("whsec_{}", clock::random_hex::<32>());
        let mut writing = self.begin().await?;
        let insert = "INSERT INTO sandbox_secrets (name, secret) VALUES ('webhook', $1) \
             ON CONFLICT DO NOTHING";
        writing.execute(Query::new(insert).text(new)).await?;
        let read = Query::new("SELECT secret FROM sandbox_secrets WHERE name = 'webhook'");
        let row = writing.fetch_optional(read).await?;
        let secret = row.map(|row| row.text("secret")).transpose()?;
        writing.commit().await?;
        secret.map(Secret::new).ok_or_else(|| LedgerError::Failed {
            reason: "the webhook secret is gone".to_owned(),
        })
    }

    /// Puts a charge and its event into the books, unless its key is there: then that charge comes
    /// back.
    pub(super) async fn record_charge(&self, new: NewCharge) -> Result<Recorded, LedgerError> {
        let mut writing = self.begin().await?;
        // The key decides: of two nodes that ask at once, one waits here for the other.
        if insert_charge(&mut writing, &new).await? {
            writing.commit().await?;
            return Ok(Recorded {
                charge: new.charge,
                is_first: true,
            });
        }
        let query = row::charge_by_key(&new.key);
        let kept = writing.fetch_optional(query).await?;
        let charge = kept.map(row::charge).transpose()?.ok_or_else(gone)?;
        let wanted = &new.charge;
        let is_same = charge.amount == wanted.amount
            && charge.invoice == wanted.invoice
            && charge.payment_method == wanted.payment_method;
        if !is_same {
            return Err(LedgerError::OtherRequest);
        }
        Ok(Recorded {
            charge,
            is_first: false,
        })
    }

    pub(super) async fn charge(&self, key: &str) -> Result<Option<Charge>, LedgerError> {
        let rows = self.books().await?.fetch(row::charge_by_key(key)).await?;
        rows.into_iter().next().map(row::charge).transpose()
    }

    pub(super) async fn charges(&self, invoice: InvoiceId) -> Result<Vec<Charge>, LedgerError> {
        if !self.exists() {
            return Ok(Vec::new());
        }
        let rows = self.books().await?.fetch(row::charges_of(invoice)).await?;
        rows.into_iter().map(row::charge).collect()
    }

    /// Puts a session into the books, unless its key is there: then that session comes back.
    pub(super) async fn create_session(&self, new: NewSession) -> Result<Session, LedgerError> {
        let mut writing = self.begin().await?;
        if row::insert_session(&mut writing, &new.key, &new.session).await? {
            writing.commit().await?;
            return Ok(new.session);
        }
        let kept = writing.fetch_optional(row::session_by_key(&new.key));
        let session = kept
            .await?
            .map(row::session)
            .transpose()?
            .ok_or_else(gone)?;
        let wanted = &new.session;
        if session.amount == wanted.amount && session.invoice == wanted.invoice {
            Ok(session)
        } else {
            Err(LedgerError::OtherRequest)
        }
    }

    pub(super) async fn session(&self, id: &str) -> Result<Option<Session>, LedgerError> {
        if !self.exists() {
            return Ok(None);
        }
        let rows = self.books().await?.fetch(row::session_by_id(id)).await?;
        rows.into_iter().next().map(row::session).transpose()
    }

    /// Closes an open session; one that is paid, expired or unknown stays as it is. Gives the charge by
    /// which it had been paid, if it was.
    pub(super) async fn expire_session(&self, id: &str) -> Result<Option<Charge>, LedgerError> {
        if !self.exists() {
            return Ok(None);
        }
        let mut writing = self.begin().await?;
        let Some(row) = writing.fetch_optional(row::locked_session(id)).await? else {
            return Ok(None);
        };
        let session = row::session(row)?;
        if session.state == SessionState::Paid {
            let paid = writing.fetch_optional(row::payment_of(&session)).await?;
            return paid.map(row::charge).transpose();
        }
        row::set_session_state(&mut writing, id, SessionState::Expired).await?;
        writing.commit().await?;
        Ok(None)
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
        let mut writing = self.begin().await?;
        let Some(row) = writing.fetch_optional(row::locked_session(id)).await? else {
            return Ok(PayOutcome::Missing);
        };
        let mut session = row::session(row)?;
        if session.state != SessionState::Open {
            return Ok(PayOutcome::NotOpen { session });
        }
        let new = NewCharge::by_session(&session, method, now);
        insert_charge(&mut writing, &new).await?;
        if let ChargeStatus::Failed { detail, .. } = new.charge.status {
            writing.commit().await?;
            return Ok(PayOutcome::Declined { session, detail });
        }
        row::set_session_state(&mut writing, id, SessionState::Paid).await?;
        session.state = SessionState::Paid;
        outbox::insert(
            &mut writing,
            &outbox::session_event(&session, &new.charge),
            now,
        )
        .await?;
        writing.commit().await?;
        Ok(PayOutcome::Paid { session })
    }
}

fn gone() -> LedgerError {
    LedgerError::Failed {
        reason: "what has the key can't be found".to_owned(),
    }
}

async fn insert_charge(writing: &mut Writing, new: &NewCharge) -> Result<bool, LedgerError> {
    if !row::insert_charge(writing, &new.key, &new.charge).await? {
        return Ok(false);
    }
    let event = outbox::payment_event(&new.charge);
    outbox::insert(writing, &event, new.charge.created_at).await?;
    Ok(true)
}
