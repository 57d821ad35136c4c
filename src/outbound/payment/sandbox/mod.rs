//! The sandbox: a payment provider that plays payments, but otherwise behaves as a real one does.
//!
//! It has its own durable books (`{data_dir}/sandbox.db`, or tables of the nodes' database), its own checkout page and its own signed
//! webhooks, and shares nothing with the rest of Faktor. What it promises is what Stripe promises:
//! the same key gives the same outcome, a request carries on when its caller has gone, events are
//! sent until they are taken, at least once, in no particular order.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    CARD, ChargeOutcome, ChargeRequest, CreatedLink, LinkEnd, LinkRequest, ProviderError,
    ProviderEvent, WebhookError, event, signature,
};
use crate::clock::Clock;
use crate::config::Secret;
use crate::domain::ids::InvoiceId;

mod delivery;
mod ledger;
mod methods;
mod outbox;
mod secret;
pub mod web;

use delivery::Delivery;
pub use ledger::{Charge, ChargeStatus, Session, SessionState};
use ledger::{Ledger, LedgerError, NewCharge, NewSession, PayOutcome, Place, Recorded};
pub use methods::{METHODS, Method};
pub use web::{CheckoutView, PageRenderer, router};

/// How the sandbox is set up. [`SandboxOptions::new`] gives what the configuration does not say.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// Holds `sandbox.db` and `sandbox-webhook.secret`.
    pub data_dir: PathBuf,
    /// Where customers reach this node, without a trailing slash.
    pub public_url: String,
    /// The first one signs, each of them verifies. None: a random one is kept in the data directory.
    pub webhook_secrets: Vec<Secret>,
    pub webhook_tolerance_s: u64,
    /// How long a caller waits for an answer.
    pub timeout: Duration,
    /// How long `pm_slow` takes.
    pub slow_for: Duration,
    /// The pause after an event's first failed delivery; doubles with each one.
    pub first_retry_delay: Duration,
    /// How long an event is left to the node that is delivering it; longer than a round takes.
    pub delivery_lease: Duration,
    /// Whether other nodes use the same books.
    pub shared: bool,
    /// The PostgreSQL address of the books, for nodes that share no data directory. None: a file.
    pub database: Option<Secret>,
    pub clock: Clock,
}

impl SandboxOptions {
    pub fn new(data_dir: impl Into<PathBuf>, public_url: &str, clock: Clock) -> Self {
        Self {
            data_dir: data_dir.into(),
            public_url: public_url.trim_end_matches('/').to_owned(),
            webhook_secrets: Vec::new(),
            webhook_tolerance_s: 300,
            timeout: Duration::from_secs(5),
            slow_for: Duration::from_secs(3),
            first_retry_delay: Duration::from_millis(250),
            delivery_lease: Duration::from_secs(30),
            shared: false,
            database: None,
            clock,
        }
    }
}

/// Why the sandbox can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the sandbox's webhook secret in {path} can't be read or written: {source}")]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the sandbox's webhook secret can't be read or written: {reason}")]
    Database { reason: String },
}

/// The sandbox provider. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SandboxProvider {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: SandboxOptions,
    secrets: Vec<Secret>,
    /// Where the receiver of the webhooks listens; known once the port is.
    webhook_base: OnceLock<String>,
    ledger: Ledger,
    /// Told whenever there may be an event to deliver.
    news: tokio::sync::Notify,
}

impl SandboxProvider {
    /// The provider's name in routes and payments.
    pub const NAME: &'static str = "sandbox";
    /// The header that carries a webhook's signature.
    pub const SIGNATURE_HEADER: &'static str = "faktor-signature";

    /// Reads or makes the webhook secret; the books are opened with the first payment. Blocks for
    /// one small file.
    pub fn open(options: SandboxOptions) -> Result<Self, OpenError> {
        let mut secrets = options.webhook_secrets.clone();
        secrets.retain(|secret| !secret.is_empty());
        if secrets.is_empty() {
            let path = options.data_dir.join("sandbox-webhook.secret");
            let kept = secret::read_or_make(&path);
            secrets.push(kept.map_err(|source| OpenError::File { path, source })?);
        }
        let ledger = Ledger::new(place(&options));
        Ok(Self::with(options, secrets, ledger))
    }

    /// As [`Self::open`]; with the books in a database, the secret is kept there, too.
    pub async fn connect(options: SandboxOptions) -> Result<Self, OpenError> {
        let is_configured = options.webhook_secrets.iter().any(|it| !it.is_empty());
        if options.database.is_none() || is_configured {
            return Self::open(options);
        }
        let ledger = Ledger::new(place(&options));
        let secret = ledger.secret().await.map_err(|error| OpenError::Database {
            reason: error.to_string(),
        })?;
        Ok(Self::with(options, vec![secret], ledger))
    }

    fn with(options: SandboxOptions, secrets: Vec<Secret>, ledger: Ledger) -> Self {
        Self {
            inner: Arc::new(Inner {
                options,
                secrets,
                webhook_base: OnceLock::new(),
                ledger,
                news: tokio::sync::Notify::new(),
            }),
        }
    }

    /// Says where webhooks go: `{base_url}/v1/webhooks/sandbox`. The first call counts.
    pub fn send_webhooks_to(&self, base_url: &str) {
        let base_url = base_url.trim_end_matches('/').to_owned();
        if self.inner.webhook_base.set(base_url).is_ok() {
            self.inner.news.notify_one();
        }
    }

    /// Starts the task that delivers events, with those of an earlier run first. It ends when the
    /// token is cancelled; what was not delivered then stays in the books.
    pub fn start_delivery(&self, cancel: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(Delivery::new(Arc::clone(&self.inner)).run(cancel))
    }

    /// As [`super::Payments::charge`].
    pub async fn charge(&self, request: &ChargeRequest) -> Result<ChargeOutcome, ProviderError> {
        let Some(method) = methods::known(&request.payment_method) else {
            return self.charge_with(request, &methods::UNKNOWN).await;
        };
        self.charge_with(request, method).await
    }

    async fn charge_with(
        &self,
        request: &ChargeRequest,
        method: &'static Method,
    ) -> Result<ChargeOutcome, ProviderError> {
        if !request.amount.is_positive() {
            return Err(rejected("the amount to charge must be greater than zero"));
        }
        if method.behaviour == methods::Behaviour::Unavailable {
            return Err(ProviderError::Unavailable {
                detail: "the sandbox plays an outage for pm_unavailable".to_owned(),
            });
        }
        let provider = self.clone();
        let charge = NewCharge::by_api(request, method, self.inner.options.clock.now());
        // In a task of its own: a real provider carries on when its caller has gone.
        let work = tokio::spawn(async move { provider.carry_out(charge, method).await });
        let answer = async {
            let recorded = work.await.map_err(|_| unknown("the sandbox crashed"))??;
            if recorded.is_first && method.behaviour == methods::Behaviour::LoseReply {
                // The charge is in the books; its reply is lost. Only the caller's time-out ends it.
                std::future::pending::<()>().await;
            }
            Ok(recorded.charge.outcome())
        };
        tokio::time::timeout(self.inner.options.timeout, answer)
            .await
            .unwrap_or_else(|_| {
                Err(unknown(&format!(
                    "no answer within {} ms",
                    self.inner.options.timeout.as_millis()
                )))
            })
    }

    async fn carry_out(
        &self,
        charge: NewCharge,
        method: &'static Method,
    ) -> Result<Recorded, ProviderError> {
        let ledger = &self.inner.ledger;
        if method.behaviour == methods::Behaviour::Slow
            && ledger.charge(&charge.key).await?.is_none()
        {
            tokio::time::sleep(self.inner.options.slow_for).await;
        }
        let recorded = ledger.record_charge(charge).await?;
        if recorded.is_first {
            self.inner.news.notify_one();
        }
        Ok(recorded)
    }

    /// As [`super::Payments::create_link`].
    pub async fn create_link(&self, request: &LinkRequest) -> Result<CreatedLink, ProviderError> {
        if !request.amount.is_positive() {
            return Err(rejected("the amount to pay must be greater than zero"));
        }
        let is_web = |url: &str| url.starts_with("http://") || url.starts_with("https://");
        if !is_web(&request.return_url) || request.return_url.chars().any(char::is_control) {
            return Err(rejected("the address to return to is not a web address"));
        }
        let provider = self.clone();
        let session = NewSession::new(request, self.inner.options.clock.now());
        let work = tokio::spawn(async move { provider.inner.ledger.create_session(session).await });
        let answer = tokio::time::timeout(self.inner.options.timeout, work).await;
        let session = answer
            .map_err(|_| unknown("no answer in time"))?
            .map_err(|_| unknown("the sandbox crashed"))??;
        let url = self.checkout_url(&session.id);
        Ok(CreatedLink {
            id: session.id,
            url,
            expires_at: None,
        })
    }

    /// As [`super::Payments::expire_link`].
    pub async fn expire_link(&self, link_id: &str) -> Result<LinkEnd, ProviderError> {
        let work = self.inner.ledger.expire_session(link_id);
        let answer = tokio::time::timeout(self.inner.options.timeout, work).await;
        let paid = answer.map_err(|_| unknown("no answer in time"))??;
        Ok(paid.map_or(LinkEnd::Closed, |charge| LinkEnd::Paid {
            payment_id: charge.id,
            amount: charge.amount,
            method: CARD.to_owned(),
        }))
    }

    /// As [`super::Payments::verify_webhook`].
    pub fn verify_webhook(
        &self,
        header: Option<&str>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<ProviderEvent, WebhookError> {
        let tolerance_s = self.inner.options.webhook_tolerance_s;
        signature::verify(&self.inner.secrets, header, body, now, tolerance_s)?;
        event::read(body, event::in_minor_units)
    }

    /// A signature header as the delivery makes it: for tests that play the provider.
    pub fn sign(&self, body: &[u8], now: Timestamp) -> String {
        self.inner.sign(body, now)
    }

    /// Every charge of an invoice, declined ones too, oldest first: what tests count.
    pub async fn charges(&self, invoice: InvoiceId) -> Result<Vec<Charge>, ProviderError> {
        Ok(self.inner.ledger.charges(invoice).await?)
    }

    /// A checkout session, if there is one of that id.
    pub async fn session(&self, id: &str) -> Result<Option<Session>, ProviderError> {
        Ok(self.inner.ledger.session(id).await?)
    }

    /// Pays a checkout session as its page does.
    async fn pay(
        &self,
        session: &str,
        method: &'static Method,
    ) -> Result<PayOutcome, ProviderError> {
        if method.behaviour == methods::Behaviour::Slow {
            tokio::time::sleep(self.inner.options.slow_for).await;
        }
        let now = self.inner.options.clock.now();
        let paid = self.inner.ledger.pay_session(session, method, now).await?;
        self.inner.news.notify_one();
        Ok(paid)
    }

    fn checkout_url(&self, session: &str) -> String {
        format!(
            "{}/sandbox/checkout/{session}",
            self.inner.options.public_url
        )
    }
}

fn place(options: &SandboxOptions) -> Place {
    match &options.database {
        Some(url) => Place::Database(url.clone()),
        None => Place::File(options.data_dir.join("sandbox.db")),
    }
}

impl Inner {
    fn sign(&self, body: &[u8], now: Timestamp) -> String {
        self.secrets
            .first()
            .map_or_else(String::new, |secret| signature::sign(secret, body, now))
    }
}

impl From<LedgerError> for ProviderError {
    fn from(error: LedgerError) -> Self {
        let detail = error.to_string();
        match error {
            LedgerError::Failed { .. } => Self::Unavailable { detail },
            LedgerError::CommitFailed { .. } => Self::OutcomeUnknown { detail },
            LedgerError::OtherRequest => Self::Rejected { detail },
        }
    }
}

fn rejected(detail: &str) -> ProviderError {
    ProviderError::Rejected {
        detail: detail.to_owned(),
    }
}

fn unknown(detail: &str) -> ProviderError {
    ProviderError::OutcomeUnknown {
        detail: detail.to_owned(),
    }
}
