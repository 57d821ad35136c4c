//! What can be asked of an invoice.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::super::ids::{ApiKeyId, EffectId, OrganizationId, UserId};
use super::super::money::Money;
use super::super::party::Issuer;
use super::change::ContentChange;
use super::effect::EffectError;
use super::{Content, DocumentFormat, PaymentLink, ProviderPayment, Source, StoredDocument};

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Initiator {
    User(UserId),
    ApiKey(ApiKeyId),
    /// A payment provider, by its webhook or reply.
    Provider(String),
    /// The customer, on the invoice's page.
    Customer,
    /// Due dates, scheduled sends.
    Clock,
    /// Faktor itself: the results of effects.
    System,
}

/// A mail to be sent: recipients already resolved (defaulting to `bill_to.email`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendOrder {
    pub to: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cc: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Recipients as asked for: `None` means the customer's own address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendRequest {
    pub to: Option<Vec<String>>,
    #[serde(default)]
    pub cc: Vec<String>,
    pub message: Option<String>,
    /// Send then, not now.
    pub at: Option<Timestamp>,
}

/// A number allocated from a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocatedNumber {
    pub number: String,
    /// Not before the last date of the series.
    pub issued_on: Date,
}

/// A command. Values are validated at the edge by the functions of [`super::validate`]; `decide`
/// checks what depends on the invoice's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Makes a draft.
    Create {
        organization: OrganizationId,
        content: Arc<Content>,
        page_secret: String,
    },
    /// Makes an issued invoice from an uploaded file that has a number of its own.
    Import {
        organization: OrganizationId,
        content: Arc<Content>,
        page_secret: String,
        number: String,
        issued_on: Date,
        format: DocumentFormat,
        /// Who is told when the document is ready.
        notify: Option<String>,
    },
    /// Replaces a draft's content.
    Edit {
        content: Arc<Content>,
    },
    /// Replaces parts of a draft's content.
    Change {
        change: Box<ContentChange>,
    },
    Delete,
    /// Gives a number and fixes the content; `issuer` is the organization's present data.
    Finalize {
        issuer: Box<Issuer>,
        send: Option<SendRequest>,
    },
    /// The result of [`super::effect::EffectKind::Number`].
    AssignNumber {
        effect: EffectId,
        allocated: AllocatedNumber,
    },
    Send {
        issuer: Box<Issuer>,
        request: SendRequest,
    },
    Pay {
        payment_method: String,
    },
    /// Asks for the provider's page on which the customer pays, unless there is one.
    OfferPayment,
    /// Money received elsewhere.
    RecordPayment {
        amount: Money,
        method: String,
        received_on: Option<Date>,
        reference: Option<String>,
    },
    Void {
        reason: Option<String>,
    },
    MarkUncollectible {
        reason: Option<String>,
    },
    /// Re-issues parked effects.
    Retry,
    /// The clock passed `wake_at`.
    Tick,
    /// The customer opened the invoice's page.
    View,
    /// Revokes the customer's page address and makes a new one.
    RotatePageSecret {
        page_secret: String,
    },
    /// Persists a mail attempt before it begins.
    ClaimEffect {
        effect: EffectId,
    },
    CompleteDocument {
        effect: EffectId,
        stored: StoredDocument,
    },
    CompletePaymentLink {
        effect: EffectId,
        link: PaymentLink,
    },
    /// An effect that leaves nothing behind but being done.
    CompleteEffect {
        effect: EffectId,
    },
    CompleteMail {
        effect: EffectId,
        message_id: String,
    },
    /// The provider says money came in: a charge's reply or a webhook.
    ReceiveProviderPayment {
        /// The charge this answers, or the taking down of a page, if one of ours.
        effect: Option<EffectId>,
        payment: ProviderPayment,
        amount: Money,
        method: String,
    },
    /// The provider says a charge will bring no money.
    FailCharge {
        effect: EffectId,
        code: String,
        detail: String,
    },
    /// An attempt failed; `retry_at` is when to try again unless it is given up.
    FailEffect {
        effect: EffectId,
        error: EffectError,
        retry_at: Timestamp,
        max_attempts: u32,
    },
    /// There was no room to try it (a full queue, a rate limit, a pause); no attempt is counted.
    PostponeEffect {
        effect: EffectId,
        until: Timestamp,
    },
}

impl Command {
    /// The command's name, for logs and the state table.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Import { .. } => "import",
            Self::Edit { .. } => "edit",
            Self::Change { .. } => "change",
            Self::Delete => "delete",
            Self::Finalize { .. } => "finalize",
            Self::AssignNumber { .. } => "assign_number",
            Self::Send { .. } => "send",
            Self::Pay { .. } => "pay",
            Self::OfferPayment => "offer_payment",
            Self::RecordPayment { .. } => "record_payment",
            Self::Void { .. } => "void",
            Self::MarkUncollectible { .. } => "mark_uncollectible",
            Self::Retry => "retry",
            Self::Tick => "tick",
            Self::View => "view",
            Self::RotatePageSecret { .. } => "rotate_page_secret",
            Self::ClaimEffect { .. } => "claim_effect",
            Self::CompleteDocument { .. } => "complete_document",
            Self::CompletePaymentLink { .. } => "complete_payment_link",
            Self::CompleteEffect { .. } => "complete_effect",
            Self::CompleteMail { .. } => "complete_mail",
            Self::ReceiveProviderPayment { .. } => "receive_provider_payment",
            Self::FailCharge { .. } => "fail_charge",
            Self::FailEffect { .. } => "fail_effect",
            Self::PostponeEffect { .. } => "postpone_effect",
        }
    }

    /// How an invoice made by this command came to be.
    pub const fn source(&self) -> Option<Source> {
        match self {
            Self::Create { .. } => Some(Source::Api),
            Self::Import { format, .. } => Some(Source::Upload { format: *format }),
            _ => None,
        }
    }
}

/// A command with who asked, when, and under which key a repeat is recognized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub command: Command,
    pub by: Initiator,
    /// The caller's idempotency key, or one that a node made.
    pub key: Option<IdempotencyKey>,
    /// `If-Match`: refuse unless the invoice is at this version.
    pub expected_version: Option<u64>,
    /// The request id of the HTTP request, for logs and events.
    pub request_id: String,
}

/// Recognizes a repeat of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey {
    pub key: String,
    /// Of method, route and body.
    pub fingerprint: u64,
    /// True for a key the caller chose (kept for 24 hours), false for one that a node made for its own
    /// repeats.
    pub keep: bool,
    /// Since when at most, in milliseconds, the same may have been carried out without its asker
    /// having learned of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsure_for_ms: Option<u64>,
}
