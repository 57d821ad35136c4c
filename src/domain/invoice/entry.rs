//! Facts of an invoice's history, in the past tense. Replaying them gives the invoice.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::ids::{EffectId, InvoiceId, OrganizationId};
use super::super::money::Money;
use super::super::party::Issuer;
use super::super::problem::Problem;
use super::command::{AllocatedNumber, Initiator, SendOrder};
use super::effect::EffectError;
use super::{
    Content, Payment, PaymentLink, ProviderPayment, RememberedRequest, Source, StoredDocument,
};

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Entry {
    Created {
        id: InvoiceId,
        organization: OrganizationId,
        source: Source,
        content: Arc<Content>,
        page_secret: String,
    },
    Edited {
        content: Arc<Content>,
    },
    Deleted,
    /// The intent to finalize: a number is being allocated.
    FinalizeRequested {
        issuer: Box<Issuer>,
        then_send: Option<SendOrder>,
    },
    /// The content is fixed and has a number.
    Finalized {
        allocated: AllocatedNumber,
        due_on: jiff::civil::Date,
    },
    /// `issuer` is the organization's present data, for a draft.
    SendScheduled {
        at: Timestamp,
        order: SendOrder,
        issuer: Option<Box<Issuer>>,
    },
    /// A scheduled send could not be done when its time came: the draft can't be issued.
    SendCancelled {
        problems: Vec<Problem>,
    },
    SendRequested {
        order: SendOrder,
    },
    /// An upload's owner is to be told that the document is ready.
    NoticeRequested {
        to: String,
    },
    EffectClaimed {
        effect: EffectId,
    },
    DocumentStored {
        effect: EffectId,
        stored: StoredDocument,
    },
    /// The customer wants to pay, and there is no page for it yet.
    PaymentLinkRequested,
    PaymentLinkCreated {
        effect: EffectId,
        link: PaymentLink,
    },
    PaymentLinkExpired {
        effect: EffectId,
    },
    MailSent {
        effect: EffectId,
        message_id: String,
    },
    NoticeSent {
        effect: EffectId,
        message_id: String,
    },
    ChargeRequested {
        payment_method: String,
        amount: Money,
    },
    ChargeFailed {
        effect: EffectId,
        code: String,
        detail: String,
    },
    /// The charge brought a payment that is recorded already: its webhook came first.
    ChargeSettled {
        effect: EffectId,
        payment: ProviderPayment,
    },
    /// Money came in; `effect` is the charge that brought it, or the taking down of the page on which it
    /// had been paid.
    PaymentReceived {
        effect: Option<EffectId>,
        payment: Payment,
    },
    Paid,
    BecameOverdue,
    Voided {
        reason: Option<String>,
    },
    MarkedUncollectible {
        reason: Option<String>,
    },
    Viewed,
    PageSecretRotated {
        page_secret: String,
    },
    EffectFailed {
        effect: EffectId,
        error: EffectError,
        retry_at: Timestamp,
    },
    EffectPostponed {
        effect: EffectId,
        until: Timestamp,
    },
    EffectParked {
        effect: EffectId,
        error: EffectError,
    },
    EffectsRetried {
        effects: Vec<EffectId>,
    },
}

impl Entry {
    /// The entry's `type` as it is written.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Edited { .. } => "edited",
            Self::Deleted => "deleted",
            Self::FinalizeRequested { .. } => "finalize_requested",
            Self::Finalized { .. } => "finalized",
            Self::SendScheduled { .. } => "send_scheduled",
            Self::SendCancelled { .. } => "send_cancelled",
            Self::SendRequested { .. } => "send_requested",
            Self::NoticeRequested { .. } => "notice_requested",
            Self::EffectClaimed { .. } => "effect_claimed",
            Self::DocumentStored { .. } => "document_stored",
            Self::PaymentLinkRequested => "payment_link_requested",
            Self::PaymentLinkCreated { .. } => "payment_link_created",
            Self::PaymentLinkExpired { .. } => "payment_link_expired",
            Self::MailSent { .. } => "mail_sent",
            Self::NoticeSent { .. } => "notice_sent",
            Self::ChargeRequested { .. } => "charge_requested",
            Self::ChargeFailed { .. } => "charge_failed",
            Self::ChargeSettled { .. } => "charge_settled",
            Self::PaymentReceived { .. } => "payment_received",
            Self::Paid => "paid",
            Self::BecameOverdue => "became_overdue",
            Self::Voided { .. } => "voided",
            Self::MarkedUncollectible { .. } => "marked_uncollectible",
            Self::Viewed => "viewed",
            Self::PageSecretRotated { .. } => "page_secret_rotated",
            Self::EffectFailed { .. } => "effect_failed",
            Self::EffectPostponed { .. } => "effect_postponed",
            Self::EffectParked { .. } => "effect_parked",
            Self::EffectsRetried { .. } => "effects_retried",
        }
    }
}

/// An entry as it stands in the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// 1 for the first entry; also the id in the event stream.
    pub version: u64,
    pub at: Timestamp,
    pub by: Initiator,
    pub request_id: String,
    pub entry: Entry,
    /// Set on the last entry of a keyed request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RememberedRequest>,
}
