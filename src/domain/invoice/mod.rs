//! The invoice: an aggregate that `decide` judges commands against and `evolve` moves forward.

use std::sync::Arc;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::ids::{EffectId, InvoiceId, OrganizationId};
use super::money::{Currency, Money};
use super::problem::Problem;
use super::totals::Totals;

pub mod change;
pub mod command;
mod content;
pub mod decide;
pub mod effect;
pub mod entry;
pub mod event;
pub mod evolve;
pub mod step;
pub mod validate;

pub use content::{Allowance, AllowanceValue, Content, DocumentFormat, Line, Source};

use command::SendOrder;
use effect::PendingEffect;

/// What an invoice has from the moment it is issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    pub number: String,
    pub issued_on: Date,
    pub due_on: Date,
    pub finalized_at: Timestamp,
    /// Whether the due date passed while money was due.
    pub overdue: bool,
}

/// Where the invoice stands. Each state carries what only it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum State {
    Draft,
    /// A number is being allocated; survives a crash and resumes with the same number.
    Finalizing {
        requested_at: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        then_send: Option<SendOrder>,
    },
    Open {
        issued: Issued,
    },
    Paid {
        issued: Issued,
        paid_at: Timestamp,
    },
    Void {
        issued: Issued,
        voided_at: Timestamp,
        reason: Option<String>,
    },
    Uncollectible {
        issued: Issued,
        marked_at: Timestamp,
        reason: Option<String>,
    },
    /// A deleted draft: kept so that a repeated create gives the first answer.
    Deleted {
        at: Timestamp,
    },
}

/// A status without its data, as the API shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Draft,
    Finalizing,
    Open,
    Paid,
    Void,
    Uncollectible,
    Deleted,
}

impl Status {
    pub const ALL: [Self; 7] = [
        Self::Draft,
        Self::Finalizing,
        Self::Open,
        Self::Paid,
        Self::Void,
        Self::Uncollectible,
        Self::Deleted,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Finalizing => "finalizing",
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Void => "void",
            Self::Uncollectible => "uncollectible",
            Self::Deleted => "deleted",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == text)
    }
}

/// Money that came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    pub amount: Money,
    /// `bank_transfer`, `cash`, …, or `card` for the provider's.
    pub method: String,
    pub received_on: Date,
    pub recorded_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The provider and its payment's id: the same payment reported twice is recorded once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderPayment>,
    /// The charge of ours that brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<EffectId>,
}

/// A payment's identity at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderPayment {
    /// `sandbox`, `stripe`.
    pub provider: String,
    /// The provider's id of the payment.
    pub id: String,
}

/// How much of what is due has come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    Unpaid,
    /// A charge is under way, or waits until nobody can pay on a page.
    Processing,
    PartiallyPaid,
    Paid,
    Overpaid,
    Refunded,
}

/// The last charge that ended without money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedCharge {
    pub effect: EffectId,
    /// The provider's code, such as `card_declined`.
    pub code: String,
    pub detail: String,
    pub at: Timestamp,
}

/// The provider's page on which the customer pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentLink {
    pub provider: String,
    /// The provider's id of the link.
    pub id: String,
    pub url: String,
    /// What the customer pays there.
    pub amount: Money,
    /// False once the invoice needs no money any more.
    pub active: bool,
    /// When the provider closes the page by itself; none when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl PaymentLink {
    /// A page that closes sooner than this is not handed to a customer, who needs time to pay.
    const TIME_TO_PAY: SignedDuration = SignedDuration::from_mins(15);

    /// Whether a customer who is sent there now can pay just `due`.
    pub fn takes(&self, due: Money, now: Timestamp) -> bool {
        let open = self
            .expires_at
            .is_none_or(|closes| closes.duration_since(now) >= Self::TIME_TO_PAY);
        self.active && open && self.amount == due && due.is_positive()
    }
}

/// Everything about money coming in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentState {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub received: Vec<Payment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Box<PaymentLink>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Box<FailedCharge>>,
}

/// A document that was rendered and stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDocument {
    pub format: DocumentFormat,
    /// The object's name in the media store.
    pub object: String,
    /// Lowercase hexadecimal.
    pub sha256: String,
    pub bytes: u64,
    pub stored_at: Timestamp,
}

/// Where the document stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentStatus {
    #[default]
    None,
    Pending,
    Ready,
    Failed,
}

/// The stored document: the newest one; an older one stays readable while a new one is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentState {
    pub status: DocumentStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<StoredDocument>,
}

/// Where the invoice's mail stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    #[default]
    None,
    Pending,
    Sent,
    Failed,
}

/// The invoice's way to its customer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryState {
    pub status: DeliveryStatus,
    /// The last order, with the recipients it resolved to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<SendOrder>,
    /// When that order was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Why a scheduled send could not be done when its time came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// A send that waits for its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<Box<ScheduledSend>>,
}

/// A send to be done by the clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledSend {
    pub at: Timestamp,
    pub order: SendOrder,
}

/// A request that has been carried out, kept so that a retry gives the first outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedRequest {
    /// The caller's idempotency key, or one that a node made.
    pub key: String,
    /// Of route and body: the same key with another one is refused.
    pub fingerprint: u64,
    /// The invoice's version after it.
    pub version: u64,
    pub at: Timestamp,
    /// Only keys the caller chose are kept for 24 hours.
    pub keep: bool,
}

/// The invoice aggregate: what `decide` reads and the store keeps as the snapshot.
///
/// Thousands of them live in memory: what is large and mostly absent is boxed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoice {
    pub id: InvoiceId,
    pub organization: OrganizationId,
    /// The number of entries in its history.
    pub version: u64,
    pub source: Source,
    /// Shared with the entry that brought it and with later versions.
    pub content: Arc<Content>,
    pub totals: Totals,
    pub state: State,
    pub payment: PaymentState,
    pub document: DocumentState,
    pub delivery: DeliveryState,
    /// The secret part of the customer's page address; changing it revokes the old one.
    pub page_secret: String,
    pub first_viewed_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<PendingEffect>,
    /// The sequence number of the next effect.
    pub next_effect: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RememberedRequest>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Invoice {
    pub const fn status(&self) -> Status {
        match self.state {
            State::Draft => Status::Draft,
            State::Finalizing { .. } => Status::Finalizing,
            State::Open { .. } => Status::Open,
            State::Paid { .. } => Status::Paid,
            State::Void { .. } => Status::Void,
            State::Uncollectible { .. } => Status::Uncollectible,
            State::Deleted { .. } => Status::Deleted,
        }
    }

    /// Number and dates, once issued.
    pub const fn issued(&self) -> Option<&Issued> {
        match &self.state {
            State::Open { issued }
            | State::Paid { issued, .. }
            | State::Void { issued, .. }
            | State::Uncollectible { issued, .. } => Some(issued),
            State::Draft | State::Finalizing { .. } | State::Deleted { .. } => None,
        }
    }

    pub fn currency(&self) -> Currency {
        self.content.currency
    }

    /// The sum of all payments.
    pub fn paid(&self) -> Money {
        let payments = self.payment.received.iter();
        let minor = payments.fold(0_i64, |sum, payment| {
            sum.saturating_add(payment.amount.minor)
        });
        Money::new(minor, self.currency())
    }

    /// What is still to be paid: never negative, and nothing once void.
    pub fn due(&self) -> Money {
        let minor = match self.state {
            State::Void { .. } | State::Deleted { .. } => 0,
            _ => self
                .totals
                .total
                .minor
                .saturating_sub(self.paid().minor)
                .max(0),
        };
        Money::new(minor, self.currency())
    }

    /// The charge that is under way or whose outcome is not known.
    pub fn charge_in_flight(&self) -> Option<&PendingEffect> {
        self.effects
            .iter()
            .find(|effect| effect.blocks_another_charge())
    }

    pub fn payment_status(&self) -> PaymentStatus {
        if self.charge_in_flight().is_some() {
            return PaymentStatus::Processing;
        }
        let (paid, total) = (self.paid().minor, self.totals.total.minor);
        match self.state {
            State::Void { .. } if paid > 0 => PaymentStatus::Overpaid,
            _ if paid > total => PaymentStatus::Overpaid,
            State::Paid { .. } => PaymentStatus::Paid,
            _ if paid == 0 => PaymentStatus::Unpaid,
            _ if paid == total => PaymentStatus::Paid,
            _ => PaymentStatus::PartiallyPaid,
        }
    }

    pub fn is_overdue(&self) -> bool {
        self.issued().is_some_and(|issued| issued.overdue)
            && matches!(self.state, State::Open { .. } | State::Uncollectible { .. })
    }

    pub fn effect(&self, id: &EffectId) -> Option<&PendingEffect> {
        self.effects.iter().find(|effect| effect.id == *id)
    }

    /// The content, to be changed: a copy of its own when it is shared.
    pub fn content_mut(&mut self) -> &mut Content {
        Arc::make_mut(&mut self.content)
    }

    /// Gives back memory that lists hold for growing: for an invoice that was just read from the
    /// store and stays in memory (a third less with ten lines).
    pub fn shrink_to_fit(&mut self) {
        if let Some(content) = Arc::get_mut(&mut self.content) {
            content.lines.shrink_to_fit();
        }
        self.totals.lines.shrink_to_fit();
        self.totals.taxes.shrink_to_fit();
        self.payment.received.shrink_to_fit();
        self.effects.shrink_to_fit();
        self.requests.shrink_to_fit();
    }

    /// The token of the customer's page: finds the invoice by its first half and proves itself by
    /// the second.
    pub fn page_token(&self) -> String {
        format!("{}{}", self.id.uuid().as_simple(), self.page_secret)
    }
}
