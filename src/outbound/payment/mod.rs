//! Payment providers.

use jiff::Timestamp;

use crate::domain::ids::{EffectId, InvoiceId, OrganizationId};
use crate::domain::money::Money;

mod event;
pub mod sandbox;
mod signature;
pub mod stripe;

use std::time::Duration;

use sandbox::SandboxProvider;
use stripe::StripeProvider;

/// The method of payments made with a card, as the domain names it.
const CARD: &str = "card";

/// A charge; `effect` is the idempotency key.
#[derive(Debug, Clone)]
pub struct ChargeRequest {
    pub effect: EffectId,
    pub organization: OrganizationId,
    pub invoice: InvoiceId,
    pub amount: Money,
    pub payment_method: String,
    pub description: String,
    /// When the charge was asked for: a provider knows a key for a limited time only.
    pub requested_at: Timestamp,
}

/// How a charge ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChargeOutcome {
    Succeeded { payment_id: String, method: String },
    Declined { code: String, detail: String },
}

/// A request for a page on which the customer pays; `effect` is the idempotency key.
#[derive(Debug, Clone)]
pub struct LinkRequest {
    pub effect: EffectId,
    pub organization: OrganizationId,
    pub invoice: InvoiceId,
    /// What is due, whatever the lines' quantities are.
    pub amount: Money,
    pub description: String,
    /// Where the customer goes afterwards.
    pub return_url: String,
}

/// What became of a payment page that was to be taken down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEnd {
    /// Nobody has paid there, nor can any more.
    Closed,
    /// A bank's transfer or debit was begun there, which takes days: ask again.
    UnderWay,
    /// It had been paid before.
    Paid {
        payment_id: String,
        amount: Money,
        method: String,
    },
}

/// Why the provider did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProviderError {
    /// It refused before doing anything; trying again may help.
    #[error("the payment provider is not available: {detail}")]
    Unavailable { detail: String },
    /// No answer: it may have been done. Ask again with the same key.
    #[error("the payment provider did not answer: {detail}")]
    OutcomeUnknown { detail: String },
    /// Trying again can't help: a key used with another amount, or a wrong request.
    #[error("the payment provider refused the request: {detail}")]
    Rejected { detail: String },
}

/// What a provider's webhook says, once its signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderEvent {
    pub id: String,
    pub what: ProviderEventKind,
}

/// The kinds of provider events that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderEventKind {
    PaymentSucceeded {
        invoice: InvoiceId,
        /// The charge of ours that this answers; none when the customer paid on the provider's page.
        effect: Option<EffectId>,
        payment_id: String,
        amount: Money,
        method: String,
    },
    PaymentFailed {
        invoice: InvoiceId,
        effect: Option<EffectId>,
        code: String,
        detail: String,
    },
    /// A type that means nothing to an invoice.
    Ignored,
}

/// Why a webhook is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    #[error("the signature header is missing or malformed")]
    MissingSignature,
    #[error("the signature does not match")]
    BadSignature,
    #[error("the signature is older than {tolerance_s} seconds")]
    TooOld { tolerance_s: u64 },
    #[error("the signature is more than {tolerance_s} seconds in the future")]
    FromTheFuture { tolerance_s: u64 },
    #[error("the body is not an event: {reason}")]
    Malformed { reason: String },
}

/// The configured provider. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Payments {
    Sandbox(SandboxProvider),
    Stripe(StripeProvider),
}

impl Payments {
    /// The provider's name in routes and payments: `sandbox` or `stripe`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sandbox(_) => SandboxProvider::NAME,
            Self::Stripe(_) => StripeProvider::NAME,
        }
    }

    /// How long one charge or link may take, for the configured time-out of one request.
    pub fn patience(&self, timeout: Duration) -> Duration {
        match self {
            Self::Sandbox(_) => timeout,
            Self::Stripe(stripe) => stripe.patience(),
        }
    }

    /// Charges a payment method; the same outcome for the same effect, however often it is asked.
    /// Answers within [`Payments::patience`].
    pub async fn charge(&self, request: &ChargeRequest) -> Result<ChargeOutcome, ProviderError> {
        match self {
            Self::Sandbox(sandbox) => sandbox.charge(request).await,
            Self::Stripe(stripe) => stripe.charge(request).await,
        }
    }

    /// The link's id and address; the same ones for the same effect.
    pub async fn create_link(&self, request: &LinkRequest) -> Result<CreatedLink, ProviderError> {
        match self {
            Self::Sandbox(sandbox) => sandbox.create_link(request).await,
            Self::Stripe(stripe) => stripe.create_link(request).await,
        }
    }

    /// Takes the page down; one that is gone is fine.
    pub async fn expire_link(&self, link_id: &str) -> Result<LinkEnd, ProviderError> {
        match self {
            Self::Sandbox(sandbox) => sandbox.expire_link(link_id).await,
            Self::Stripe(stripe) => stripe.expire_link(link_id).await,
        }
    }

    /// Checks a webhook's signature and age over the raw body, then reads it. `signature` is the
    /// value of the provider's signature header ([`Payments::signature_header`]).
    pub fn verify_webhook(
        &self,
        signature: Option<&str>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<ProviderEvent, WebhookError> {
        match self {
            Self::Sandbox(sandbox) => sandbox.verify_webhook(signature, body, now),
            Self::Stripe(stripe) => stripe.verify_webhook(signature, body, now),
        }
    }

    /// Reads an event whose signature was checked when it was stored.
    pub fn read_event(&self, body: &[u8]) -> Result<ProviderEvent, WebhookError> {
        match self {
            Self::Sandbox(_) => event::read(body, event::in_minor_units),
            Self::Stripe(_) => stripe::read_event(body),
        }
    }

    /// The types of events to ask for, lest a lost webhook loses a payment; none when the provider's
    /// webhooks can't get lost.
    pub fn event_types(&self) -> &'static [&'static str] {
        match self {
            Self::Sandbox(_) => &[],
            Self::Stripe(_) => StripeProvider::EVENT_TYPES,
        }
    }

    /// A page of past events that concern invoices.
    pub async fn events(&self, query: &EventsQuery) -> Result<EventsPage, ProviderError> {
        match self {
            Self::Sandbox(_) => Ok(EventsPage::default()),
            Self::Stripe(stripe) => stripe.events(query).await,
        }
    }

    /// The name of the header that carries a webhook's signature.
    pub fn signature_header(&self) -> &'static str {
        match self {
            Self::Sandbox(_) => SandboxProvider::SIGNATURE_HEADER,
            Self::Stripe(_) => StripeProvider::SIGNATURE_HEADER,
        }
    }
}

/// A page on which a customer pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedLink {
    pub id: String,
    pub url: String,
    /// When nothing can be paid there any more; none when that does not come by itself.
    pub expires_at: Option<Timestamp>,
}

/// Which past events are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsQuery {
    /// One of [`Payments::event_types`].
    pub kind: &'static str,
    pub since: Timestamp,
    /// [`EventsPage::next`] of the page before.
    pub after: Option<String>,
}

/// Past events, newest first, without those that mean nothing to an invoice.
#[derive(Debug, Default)]
pub struct EventsPage {
    pub events: Vec<ListedEvent>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

/// An event with the body that its webhook has or would have had.
#[derive(Debug)]
pub struct ListedEvent {
    pub event: ProviderEvent,
    pub body: Vec<u8>,
}
