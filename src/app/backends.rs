//! The backends that the configuration names: opened together, each with patience.

use std::fmt;
use std::future::ready;
use std::sync::Arc;

use tokio::time::{Duration, Instant, sleep};

use crate::actors::root::Probe;
use crate::clock::Clock;
use crate::config::{Config, PaymentProvider};
use crate::outbound::mail::{Mail, Spool};
use crate::outbound::media::{FileMedia, Media};
use crate::outbound::oidc::{Issuer, IssuerOptions};
use crate::outbound::payment::Payments;
use crate::outbound::payment::sandbox::{SandboxOptions, SandboxProvider};
use crate::store::sql::{
    DirectoryLock, PostgresOptions, PostgresStore, SqliteOptions, SqliteStore, StoreHandle,
};
use crate::store::{StoreError, Stores};

/// How long to wait before a backend that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A backend that can't be used, in a line for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendError {
    /// What it is for, and what it is: `invoices (MongoDB)`.
    pub backend: &'static str,
    /// Where it should be; without a password.
    pub address: String,
    pub reason: String,
}

impl std::error::Error for BackendError {}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            backend,
            address,
            reason,
        } = self;
        write!(f, "{backend} at {address}: {reason}")
    }
}

/// Every backend that can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendErrors(pub Vec<BackendError>);

impl std::error::Error for BackendErrors {}

impl fmt::Display for BackendErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a backend can't be used:")?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

/// What the configuration chose for each seam.
pub(super) struct Backends {
    pub(super) stores: Stores,
    pub(super) store: StoreHandle,
    pub(super) mail: Mail,
    pub(super) media: Media,
    pub(super) payments: Payments,
    /// The provider, when it is the sandbox, which has pages and webhooks of its own.
    pub(super) sandbox: Option<SandboxProvider>,
    /// How readiness asks after them.
    pub(super) probes: Vec<Probe>,
    pub(super) oidc: Option<Issuer>,
}

impl Backends {
    /// Opens all at once, and names each that can't be opened within `server.start_timeout_s`.
    pub(super) async fn open(
        config: &Config,
        public_url: &str,
        clock: &Clock,
    ) -> Result<Self, BackendErrors> {
        let (stores, mail, media, payments, oidc) = tokio::join!(
            open_stores(config),
            open_mail(config),
            open_media(config),
            open_payments(config, public_url, clock),
            open_oidc(config),
        );
        let mut errors = Vec::new();
        let stores = note(stores, &mut errors);
        let mail = note(mail, &mut errors);
        let media = note(media, &mut errors);
        let payments = note(payments, &mut errors);
        let oidc = note(oidc, &mut errors);
        let (Some((stores, store)), Some(mail), Some(media), Some((payments, sandbox)), Some(oidc)) =
            (stores, mail, media, payments, oidc)
        else {
            return Err(BackendErrors(errors));
        };
        let store = lock_data_dir(config, store).map_err(|error| BackendErrors(vec![error]))?;
        let mut probes = probes(&stores, &mail, &media);
        if let Some(issuer) = oidc.clone() {
            probes.push(Probe::optional("oidc", move || ready(issuer.check())));
        }
        Ok(Self {
            stores,
            store,
            mail,
            media,
            payments,
            sandbox,
            probes,
            oidc,
        })
    }
}

fn probes(stores: &Stores, mail: &Mail, media: &Media) -> Vec<Probe> {
    let (invoices, mail, media) = (Arc::clone(&stores.invoices), mail.clone(), media.clone());
    vec![
        Probe::required("store", move || {
            let invoices = Arc::clone(&invoices);
            async move { invoices.ping().await }
        }),
        Probe::optional("media", move || {
            let media = media.clone();
            async move { media.ping().await }
        }),
        Probe::optional("mail", move || {
            let mail = mail.clone();
            async move { mail.ping().await }
        }),
    ]
}

fn note<T>(opened: Result<T, BackendError>, errors: &mut Vec<BackendError>) -> Option<T> {
    opened.map_err(|error| errors.push(error)).ok()
}

/// Opens the relational store that the configuration names.
pub async fn open_stores(config: &Config) -> Result<(Stores, StoreHandle), BackendError> {
    if config.storage.relational.is_empty() {
        open_sqlite(config).await
    } else {
        open_postgres(config).await
    }
}

async fn open_sqlite(config: &Config) -> Result<(Stores, StoreHandle), BackendError> {
    let data_dir = &config.storage.data_dir;
    let opened = SqliteStore::open(data_dir, SqliteOptions::default()).await;
    opened.map_err(|error| BackendError {
        backend: "store (SQLite)",
        address: data_dir.display().to_string(),
        reason: error.to_string(),
    })
}

async fn open_postgres(config: &Config) -> Result<(Stores, StoreHandle), BackendError> {
    const BACKEND: &str = "store (PostgreSQL)";
    let storage = &config.storage;
    let url = storage.relational.expose();
    let options = PostgresOptions {
        max_connections: storage.max_connections,
        connect_timeout: Duration::from_millis(storage.connect_timeout_ms),
        statement_timeout: Duration::from_millis(storage.statement_timeout_ms),
        ..PostgresOptions::default()
    };
    let address = shown(url);
    let opened = patiently(config, BACKEND, &address, || async {
        match PostgresStore::open(url, options.clone()).await {
            Err(StoreError::Unavailable { reason }) => Err(reason),
            // Waiting does not change anything else.
            settled => Ok(settled),
        }
    })
    .await?;
    opened.map_err(|error| BackendError {
        backend: BACKEND,
        address,
        reason: error.to_string(),
    })
}

/// Locks the data directory if this node keeps anything there besides the database, which SQLite
/// locks by itself.
fn lock_data_dir(config: &Config, store: StoreHandle) -> Result<StoreHandle, BackendError> {
    let storage = &config.storage;
    let kept_there = storage.documents.is_empty()
        || config.mail.url.is_empty()
        || config.payments.provider == PaymentProvider::Sandbox;
    if storage.relational.is_empty() || !kept_there {
        return Ok(store);
    }
    match DirectoryLock::take(&storage.data_dir) {
        Ok(lock) => Ok(store.holding(lock)),
        Err(error) => Err(BackendError {
            backend: "data directory",
            address: storage.data_dir.display().to_string(),
            reason: error.to_string(),
        }),
    }
}

async fn open_mail(config: &Config) -> Result<Mail, BackendError> {
    Ok(Mail::Spool(Spool::new(&config.storage.data_dir)))
}

async fn open_media(config: &Config) -> Result<Media, BackendError> {
    Ok(Media::Files(FileMedia::new(&config.storage.data_dir)))
}

async fn open_payments(
    config: &Config,
    public_url: &str,
    clock: &Clock,
) -> Result<(Payments, Option<SandboxProvider>), BackendError> {
    match config.payments.provider {
        PaymentProvider::Sandbox => {
            let sandbox = open_sandbox(config, public_url, clock.clone())?;
            Ok((Payments::Sandbox(sandbox.clone()), Some(sandbox)))
        }
        PaymentProvider::Stripe => Err(BackendError {
            backend: "payments (Stripe)",
            address: config.payments.api_url.clone(),
            reason: "not built in yet".to_owned(),
        }),
    }
}

fn open_sandbox(
    config: &Config,
    public_url: &str,
    clock: Clock,
) -> Result<SandboxProvider, BackendError> {
    let (data_dir, payments) = (&config.storage.data_dir, &config.payments);
    let mut options = SandboxOptions::new(data_dir, public_url, clock);
    options.webhook_secrets = vec![payments.webhook_secret.clone()];
    options.webhook_tolerance_s = payments.webhook_tolerance_s;
    options.timeout = Duration::from_millis(payments.timeout_ms);
    SandboxProvider::open(options).map_err(|error| BackendError {
        backend: "payments (sandbox)",
        address: data_dir.display().to_string(),
        reason: error.to_string(),
    })
}

async fn open_oidc(config: &Config) -> Result<Option<Issuer>, BackendError> {
    let oidc = &config.oidc;
    if oidc.issuer.is_empty() {
        return Ok(None);
    }
    let options = IssuerOptions {
        issuer: oidc.issuer.clone(),
        audience: oidc.audience.clone(),
        roles_claim: oidc.roles_claim.clone(),
    };
    let opened = patiently(config, "identity (OpenID Connect)", &oidc.issuer, || {
        Issuer::discover(options.clone())
    });
    opened.await.map(Some)
}

/// Tries to reach a backend until it answers or the patience is over; then with its last words.
async fn patiently<T, E, F>(
    config: &Config,
    backend: &'static str,
    address: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, BackendError>
where
    E: fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + Duration::from_secs(config.server.start_timeout_s);
    loop {
        let error = match attempt().await {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        if Instant::now() + ASK_AGAIN >= deadline {
            return Err(BackendError {
                backend,
                address: address.to_owned(),
                reason: error.to_string(),
            });
        }
        tracing::warn!(backend, address, %error, "a backend does not answer yet");
        sleep(ASK_AGAIN).await;
    }
}

/// A backend's address without user and password.
fn shown(url: &str) -> String {
    match (url.split_once("://"), url.rfind('@')) {
        (Some((scheme, _)), Some(at)) => format!("{scheme}://{}", &url[at + 1..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        assert_eq!(shown("postgres://u:p@h:5/d?x=1"), "postgres://h:5/d?x=1");
        assert_eq!(shown("kafka://h:1,i:2"), "kafka://h:1,i:2");
        assert_eq!(shown("smtp://u@x:p@h:25"), "smtp://h:25");
    }
}
