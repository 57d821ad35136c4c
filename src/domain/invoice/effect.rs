//! Side effects as data: what is to be done outside, and how far it has come.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::ids::EffectId;
use super::super::money::Money;
use super::command::SendOrder;
use super::{DocumentFormat, Invoice, State};

/// What an effect does, with what it needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EffectKind {
    /// Allocate the number from its series (done by the invoice's actor itself).
    Number,
    /// Render the document and put it into the media store.
    Document { format: DocumentFormat },
    /// Create the provider's page on which the customer pays.
    PaymentLink { amount: Money },
    /// Take the provider's page down.
    ExpirePaymentLink { link: String },
    /// Charge a payment method.
    Charge {
        payment_method: String,
        amount: Money,
    },
    /// Send the invoice by mail.
    Mail { order: SendOrder },
    /// Tell an uploader that the file is ready.
    UploadNotice { to: String },
}

/// An effect's kind alone: part of its id, a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKindName {
    Number,
    Document,
    PaymentLink,
    ExpirePaymentLink,
    Charge,
    Mail,
    UploadNotice,
}

impl EffectKindName {
    pub const ALL: [Self; 7] = [
        Self::Number,
        Self::Document,
        Self::PaymentLink,
        Self::ExpirePaymentLink,
        Self::Charge,
        Self::Mail,
        Self::UploadNotice,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Document => "document",
            Self::PaymentLink => "payment_link",
            Self::ExpirePaymentLink => "expire_payment_link",
            Self::Charge => "charge",
            Self::Mail => "mail",
            Self::UploadNotice => "upload_notice",
        }
    }
}

impl fmt::Display for EffectKindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EffectKindName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or(())
    }
}

impl EffectKind {
    pub const fn name(&self) -> EffectKindName {
        match self {
            Self::Number => EffectKindName::Number,
            Self::Document { .. } => EffectKindName::Document,
            Self::PaymentLink { .. } => EffectKindName::PaymentLink,
            Self::ExpirePaymentLink { .. } => EffectKindName::ExpirePaymentLink,
            Self::Charge { .. } => EffectKindName::Charge,
            Self::Mail { .. } => EffectKindName::Mail,
            Self::UploadNotice { .. } => EffectKindName::UploadNotice,
        }
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectError {
    /// A stable code, such as `provider_unavailable`.
    pub code: String,
    /// A sentence for the operator; shows no secret.
    pub detail: String,
    /// Trying again can't help.
    pub permanent: bool,
    /// The outside may have done it all the same (a reply was lost).
    pub outcome_unknown: bool,
}

/// An effect that is not done yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingEffect {
    pub id: EffectId,
    #[serde(flatten)]
    pub kind: EffectKind,
    pub requested_at: Timestamp,
    /// Of the request that led to it, and that its result is recorded under.
    #[serde(default)]
    pub request_id: Box<str>,
    /// Attempts that have failed.
    pub attempts: u32,
    /// Not before this; `requested_at` for the first attempt.
    pub next_attempt_at: Timestamp,
    /// An attempt was persisted before it began (mail), so after a crash it may have been done.
    #[serde(default)]
    pub claimed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<EffectError>,
    /// Given up until an operator's retry.
    #[serde(default)]
    pub parked: bool,
}

impl PendingEffect {
    pub(super) fn blocks_another_charge(&self) -> bool {
        let is_charge = matches!(self.kind, EffectKind::Charge { .. });
        let unknown = self
            .last_error
            .as_ref()
            .is_some_and(|error| error.outcome_unknown);
        is_charge && (!self.parked || unknown)
    }

    pub(super) const fn is_closing(&self) -> bool {
        matches!(self.kind, EffectKind::ExpirePaymentLink { .. })
    }

    /// With all its attempts before it again.
    pub(super) const fn begin_anew(&mut self, at: Timestamp) {
        self.parked = false;
        self.attempts = 0;
        self.next_attempt_at = at;
    }

    /// Whether this is the taking down of a page beside which the other effect would be a second way
    /// to pay. One that was given up holds up charges only: an operator has to look at it.
    const fn holds_up(&self, other: &Self) -> bool {
        self.is_closing()
            && match other.kind {
                EffectKind::Charge { .. } => true,
                EffectKind::PaymentLink { .. } => !self.parked,
                _ => false,
            }
    }

    /// Whether what this effect builds on is there: a mail waits for its document and link, a charge
    /// and a new page until nobody can pay on another one.
    pub fn is_ready(&self, invoice: &Invoice) -> bool {
        if self.parked {
            return false;
        }
        if invoice.effects.iter().any(|other| other.holds_up(self)) {
            return false;
        }
        let waits_for: &[EffectKindName] = match self.kind {
            EffectKind::Mail { .. } => &[EffectKindName::Document, EffectKindName::PaymentLink],
            EffectKind::UploadNotice { .. } => &[EffectKindName::Document],
            _ => &[],
        };
        // A payment page that was given up holds up no mail: its button leads to the customer's page,
        // where another one is made.
        let given_up =
            |other: &Self| other.parked && matches!(other.kind, EffectKind::PaymentLink { .. });
        !invoice.effects.iter().any(|other| {
            other.id.sequence < self.id.sequence
                && waits_for.contains(&other.kind.name())
                && !given_up(other)
        })
    }
}

/// How a charge stands, for whoever waits for its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChargeState {
    /// Under way; no attempt has failed.
    InFlight,
    /// An attempt failed; another follows.
    FailedAttempt(EffectError),
    Succeeded,
    /// The provider answered that it brings no money.
    Declined {
        code: String,
        detail: String,
    },
    /// Given up until an operator's retry.
    Parked(EffectError),
    /// Not a charge of this invoice; or its outcome was overtaken by a later one; or it failed and
    /// was dropped when the money came in otherwise.
    Unknown,
}

impl Invoice {
    /// Whether an attempt at this charge or page surely never began: it was held up from the first.
    pub(super) fn was_never_tried(&self, effect: &PendingEffect) -> bool {
        let is_charge = matches!(effect.kind, EffectKind::Charge { .. });
        effect.last_error.is_none()
            && self.effects.iter().any(|closing| {
                closing.id.sequence < effect.id.sequence
                    && closing.holds_up(effect)
                    // A page was not held up while this was given up for a while.
                    && (is_charge || closing.last_error.is_none())
            })
    }

    /// The charges that wait for a page to be taken down, and did from the first.
    pub(super) fn charges_never_tried(&self) -> impl Iterator<Item = &EffectId> {
        let charges = self.effects.iter().filter(|effect| {
            matches!(effect.kind, EffectKind::Charge { .. })
                && !effect.parked
                && self.was_never_tried(effect)
        });
        charges.map(|charge| &charge.id)
    }

    /// How the charge with this id stands.
    pub fn charge_outcome(&self, id: &EffectId) -> ChargeState {
        if let Some(effect) = self.effect(id) {
            return match (&effect.kind, &effect.last_error) {
                (EffectKind::Charge { .. }, None) => ChargeState::InFlight,
                (EffectKind::Charge { .. }, Some(error)) if effect.parked => {
                    ChargeState::Parked(error.clone())
                }
                (EffectKind::Charge { .. }, Some(error)) => {
                    ChargeState::FailedAttempt(error.clone())
                }
                _ => ChargeState::Unknown,
            };
        }
        if self
            .payment
            .received
            .iter()
            .any(|payment| payment.charge.as_ref() == Some(id))
        {
            return ChargeState::Succeeded;
        }
        match &self.payment.last_failure {
            Some(failure) if failure.effect == *id => ChargeState::Declined {
                code: failure.code.clone(),
                detail: failure.detail.clone(),
            },
            _ => ChargeState::Unknown,
        }
    }

    /// The effects an actor should have under way at `now`.
    pub fn due_effects(&self, now: Timestamp) -> impl Iterator<Item = &PendingEffect> {
        self.effects
            .iter()
            .filter(move |effect| effect.next_attempt_at <= now && effect.is_ready(self))
    }

    /// When the invoice wants to be woken: the earliest effect, scheduled send or due date.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let effects = self
            .effects
            .iter()
            .filter(|effect| effect.is_ready(self))
            .map(|effect| effect.next_attempt_at);
        // While a number is being allocated, a scheduled send waits for it, not for the clock.
        let waits_for_number = matches!(self.state, State::Finalizing { .. });
        let send = self
            .delivery
            .scheduled
            .as_ref()
            .filter(|_| !waits_for_number);
        let send = send.map(|scheduled| scheduled.at);
        effects.chain(send).chain(self.becomes_overdue_at()).min()
    }
}
