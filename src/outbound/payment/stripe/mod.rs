//! Stripe, by a thin client over its HTTP API (docs/adr/0016-stripe.md says why a client of our own).

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio::time::timeout;

use super::{
    ChargeOutcome, ChargeRequest, CreatedLink, EventsPage, EventsQuery, LinkEnd, LinkRequest,
    ProviderError, ProviderEvent, WebhookError, event, signature,
};
use crate::clock::Clock;
use crate::config::Secret;
use crate::domain::ids::{EffectId, InvoiceId, OrganizationId};

mod amount;
mod charge;
mod events;
mod link;
#[cfg(test)]
mod tests;
mod wire;

pub use wire::API_VERSION;
use wire::{Failure, Form, Wire};

/// How long an answer to [`StripeProvider::ping`] is good for, so that readiness may be asked often.
const PING_IS_GOOD_FOR: SignedDuration = SignedDuration::from_secs(15);
/// Less than readiness waits.
const PING_WITHIN: Duration = Duration::from_secs(1);

/// How Stripe is reached.
#[derive(Debug, Clone)]
pub struct StripeOptions {
    /// `https://api.stripe.com`, or where a test's Stripe listens.
    pub api_url: String,
    pub secret_key: Secret,
    /// Any of them verifies a webhook; empty ones count for nothing.
    pub webhook_secrets: Vec<Secret>,
    pub webhook_tolerance_s: u64,
    /// How long one request may take.
    pub timeout: Duration,
    pub clock: Clock,
}

/// Why Stripe can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PingError {
    /// Asking again can't help.
    #[error("{0}")]
    BadKey(String),
    #[error("{0}")]
    Failed(String),
}

/// The Stripe provider. Cheap to clone.
#[derive(Clone)]
pub struct StripeProvider {
    inner: Arc<Inner>,
}

struct Inner {
    wire: Wire,
    webhook_secrets: Vec<Secret>,
    webhook_tolerance_s: u64,
    timeout: Duration,
    clock: Clock,
    pinged: Mutex<Option<(Timestamp, Result<(), PingError>)>>,
}

impl fmt::Debug for StripeProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StripeProvider")
    }
}

impl StripeProvider {
    /// The provider's name in routes and payments.
    pub const NAME: &'static str = "stripe";
    /// The header that carries a webhook's signature.
    pub const SIGNATURE_HEADER: &'static str = "stripe-signature";
    /// The types of events that bring an invoice its payment. A payment on a Checkout page has an
    /// intent with the same metadata, so these two tell of every payment.
    pub const EVENT_TYPES: &'static [&'static str] =
        &["payment_intent.succeeded", "payment_intent.payment_failed"];

    /// Nothing is asked of Stripe yet. The error is a sentence without the key.
    pub fn new(options: StripeOptions) -> Result<Self, String> {
        let wire = Wire::new(&options.api_url, &options.secret_key, options.timeout)?;
        let mut webhook_secrets = options.webhook_secrets;
        webhook_secrets.retain(|secret| !secret.is_empty());
        Ok(Self {
            inner: Arc::new(Inner {
                wire,
                webhook_secrets,
                webhook_tolerance_s: options.webhook_tolerance_s,
                timeout: options.timeout,
                clock: options.clock,
                pinged: Mutex::default(),
            }),
        })
    }

    /// Whether Stripe answers and takes the key; asked at most every fifteen seconds.
    pub async fn ping(&self) -> Result<(), PingError> {
        let now = self.inner.clock.now();
        let last = self.pinged().clone();
        if let Some((at, result)) = last
            && now.duration_since(at).abs() < PING_IS_GOOD_FOR
        {
            return result;
        }
        // A silent Stripe is noted, too: whoever asks next need not wait for it again.
        let result = timeout(PING_WITHIN, self.ask()).await;
        let result = result.unwrap_or_else(|_| {
            let within = PING_WITHIN.as_millis();
            Err(PingError::Failed(format!("no answer within {within} ms")))
        });
        *self.pinged() = Some((now, result.clone()));
        result
    }

    fn pinged(&self) -> std::sync::MutexGuard<'_, Option<(Timestamp, Result<(), PingError>)>> {
        // A poisoned lock guards a value that is whole all the same.
        self.inner
            .pinged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether Stripe answers and takes the key, asked now.
    pub async fn ask(&self) -> Result<(), PingError> {
        let nothing = Form::new();
        let asked = self.inner.wire.get::<Balance>("balance", &nothing);
        match asked.await {
            Ok(_) => Ok(()),
            Err(Failure::Refused(refusal)) if refusal.is_about_the_key() => {
                Err(PingError::BadKey(sentence(Failure::Refused(refusal))))
            }
            Err(failure) => Err(PingError::Failed(sentence(failure))),
        }
    }

    /// The bound of each of the following.
    pub fn patience(&self) -> Duration {
        charge::patience(self.inner.timeout)
    }

    /// As [`super::Payments::charge`].
    pub async fn charge(&self, request: &ChargeRequest) -> Result<ChargeOutcome, ProviderError> {
        charge::charge(&self.inner.wire, request, self.inner.clock.now()).await
    }

    /// As [`super::Payments::create_link`].
    pub async fn create_link(&self, request: &LinkRequest) -> Result<CreatedLink, ProviderError> {
        link::create(&self.inner.wire, request).await
    }

    /// As [`super::Payments::expire_link`].
    pub async fn expire_link(&self, link_id: &str) -> Result<LinkEnd, ProviderError> {
        link::expire(&self.inner.wire, link_id).await
    }

    /// As [`super::Payments::events`].
    pub async fn events(&self, query: &EventsQuery) -> Result<EventsPage, ProviderError> {
        events::list(&self.inner.wire, query).await
    }

    /// As [`super::Payments::verify_webhook`].
    pub fn verify_webhook(
        &self,
        header: Option<&str>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<ProviderEvent, WebhookError> {
        let tolerance_s = self.inner.webhook_tolerance_s;
        signature::verify(&self.inner.webhook_secrets, header, body, now, tolerance_s)?;
        read_event(body)
    }
}

/// As [`super::Payments::read_event`].
pub(super) fn read_event(body: &[u8]) -> Result<ProviderEvent, WebhookError> {
    event::read(body, amount::from_stripe)
}

#[derive(Deserialize)]
struct Balance {}

/// A page of any of Stripe's lists, newest first.
#[derive(Debug, Deserialize)]
struct List<T> {
    data: Vec<T>,
    #[serde(default)]
    has_more: bool,
}

/// Where a value of the metadata goes: of the object itself, and of a session's payment.
struct MetadataName {
    own: &'static str,
    of_payment: &'static str,
}

/// What is written on all that is made at Stripe, so that its events find their invoice.
fn metadata(
    organization: OrganizationId,
    invoice: InvoiceId,
    effect: &EffectId,
) -> [(MetadataName, String); 3] {
    let name = |own, of_payment| MetadataName { own, of_payment };
    [
        (
            name(
                "metadata[organization]",
                "payment_intent_data[metadata][organization]",
            ),
            organization.to_string(),
        ),
        (
            name(
                "metadata[invoice]",
                "payment_intent_data[metadata][invoice]",
            ),
            invoice.to_string(),
        ),
        (
            name("metadata[effect]", "payment_intent_data[metadata][effect]"),
            effect.to_string(),
        ),
    ]
}

fn sentence(failure: Failure) -> String {
    match ProviderError::from(failure) {
        ProviderError::Unavailable { detail }
        | ProviderError::OutcomeUnknown { detail }
        | ProviderError::Rejected { detail } => detail,
    }
}
