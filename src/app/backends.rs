//! The backends that the configuration names: opened together, each with patience.

use std::fmt;
use std::future::ready;
use std::sync::Arc;

use tokio::time::{Duration, Instant, sleep};

use crate::actors::root::Probe;
use crate::clock::Clock;
use crate::config::{Config, PaymentProvider};
use crate::outbound::events::{Events, KafkaEvents, KafkaOptions};
use crate::outbound::mail::{Mail, SmtpMail, SmtpStartError, Spool};
use crate::outbound::media::{
    CloudinaryMedia, FileMedia, GridFsMedia, Media, MediaError, S3Media, TimeLimits,
};
use crate::outbound::oidc::{Issuer, IssuerOptions};
use crate::outbound::payment::Payments;
use crate::outbound::payment::sandbox::{SandboxOptions, SandboxProvider};
use crate::outbound::payment::stripe::{PingError, StripeOptions, StripeProvider};
use crate::store::cache::SharedCache;
use crate::store::mongo::{MongoDatabase, MongoOptions};
use crate::store::redis::{Redis, RedisOptions};
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
    pub(super) cache: SharedCache,
    pub(super) mail: Mail,
    pub(super) media: Media,
    pub(super) payments: Payments,
    pub(super) events: Option<Events>,
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
        // On the heap: what they keep while they wait would make each caller's future large.
        let (stores, invoices, cache, mail, media, payments, events, oidc) = tokio::join!(
            Box::pin(open_stores(config)),
            Box::pin(open_invoices(config)),
            Box::pin(open_cache(config)),
            Box::pin(open_mail(config)),
            Box::pin(open_media(config, clock)),
            Box::pin(open_payments(config, public_url, clock)),
            Box::pin(open_events(config)),
            Box::pin(open_oidc(config)),
        );
        let mut errors = Vec::new();
        let stores = note(stores, &mut errors);
        let invoices = note(invoices, &mut errors);
        let cache = note(cache, &mut errors);
        let mail = note(mail, &mut errors);
        let media = note(media, &mut errors);
        let payments = note(payments, &mut errors);
        let events = note(events, &mut errors);
        let oidc = note(oidc, &mut errors);
        let (
            Some((stores, store)),
            Some(invoices),
            Some(cache),
            Some(mail),
            Some(media),
            Some((payments, sandbox)),
            Some(events),
            Some(oidc),
        ) = (stores, invoices, cache, mail, media, payments, events, oidc)
        else {
            return Err(BackendErrors(errors));
        };
        let store = lock_data_dir(config, store).map_err(|error| BackendErrors(vec![error]))?;
        let mut probes = vec![store_probe("store", &stores)];
        let stores = match invoices {
            None => stores,
            Some(database) => {
                let stores = database.stores(stores, clock.clone());
                probes.push(store_probe("invoices", &stores));
                stores
            }
        };
        probes.extend(outside_probes(
            &cache,
            &mail,
            &media,
            &payments,
            oidc.as_ref(),
        ));
        Ok(Self {
            stores,
            store,
            cache,
            mail,
            media,
            payments,
            events,
            sandbox,
            probes,
            oidc,
        })
    }
}

/// Without its store a node answers nothing.
fn store_probe(name: &'static str, stores: &Stores) -> Probe {
    let invoices = Arc::clone(&stores.invoices);
    Probe::required(name, move || {
        let invoices = Arc::clone(&invoices);
        async move { invoices.ping().await }
    })
}

/// What these do is made up for when they are back.
fn outside_probes(
    cache: &SharedCache,
    mail: &Mail,
    media: &Media,
    payments: &Payments,
    oidc: Option<&Issuer>,
) -> Vec<Probe> {
    let (mail, media) = (mail.clone(), media.clone());
    let mut probes = vec![
        Probe::optional("media", move || {
            let media = media.clone();
            async move { media.ping().await }
        }),
        Probe::optional("mail", move || {
            let mail = mail.clone();
            async move { mail.ping().await }
        }),
    ];
    if cache.is_some() {
        let cache = cache.clone();
        probes.push(Probe::optional("cache", move || {
            let cache = cache.clone();
            async move { cache.ping().await }
        }));
    }
    // The sandbox is a part of this process and has nothing to ask after.
    if let Payments::Stripe(stripe) = payments {
        let stripe = stripe.clone();
        probes.push(Probe::optional("payments", move || {
            let stripe = stripe.clone();
            async move { stripe.ping().await }
        }));
    }
    if let Some(issuer) = oidc.cloned() {
        probes.push(Probe::optional("oidc", move || ready(issuer.check())));
    }
    probes
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

async fn open_invoices(config: &Config) -> Result<Option<MongoDatabase>, BackendError> {
    let url = &config.storage.invoices;
    if url.is_empty() {
        return Ok(None);
    }
    let options = MongoOptions::of(&config.storage);
    let attempt = || MongoDatabase::open(&options);
    patiently(config, "invoices (MongoDB)", &shown(url.expose()), attempt)
        .await
        .map(Some)
}

async fn open_cache(config: &Config) -> Result<SharedCache, BackendError> {
    let cache = &config.cache;
    if cache.url.is_empty() {
        return Ok(SharedCache::None);
    }
    let url = cache.url.expose();
    let options = RedisOptions {
        url: url.to_owned(),
        key_prefix: cache.key_prefix.clone(),
        timeout: Duration::from_millis(cache.timeout_ms),
    };
    let open = || Redis::open(&options);
    let redis = patiently(config, "cache (Redis)", &shown(url), open).await?;
    Ok(SharedCache::Redis(redis))
}

async fn open_mail(config: &Config) -> Result<Mail, BackendError> {
    const BACKEND: &str = "mail (SMTP)";
    let mail = &config.mail;
    if mail.url.is_empty() {
        return Ok(Mail::Spool(Spool::new(&config.storage.data_dir)));
    }
    let (url, address) = (mail.url.expose(), shown(mail.url.expose()));
    let failed = |error: SmtpStartError| BackendError {
        backend: BACKEND,
        address: address.clone(),
        reason: error.to_string(),
    };
    let timeout = Duration::from_millis(mail.timeout_ms);
    let server = SmtpMail::new(url, timeout, mail.max_connections).map_err(failed)?;
    // A login that is refused now is refused in a second, too, and then locked.
    let checked = patiently(config, BACKEND, &address, || async {
        match server.check().await {
            Err(SmtpStartError::Unreachable(reason)) => Err(reason),
            answered => Ok(answered),
        }
    });
    checked.await?.map_err(failed)?;
    Ok(Mail::Smtp(server))
}

async fn open_media(config: &Config, clock: &Clock) -> Result<Media, BackendError> {
    let address = config.storage.documents.expose();
    let backend = match address.split_once("://").map(|(scheme, _)| scheme) {
        None => return Ok(Media::Files(FileMedia::new(&config.storage.data_dir))),
        Some("s3") => "documents (S3)",
        Some("cloudinary") => "documents (Cloudinary)",
        Some(_) => "documents (GridFS)",
    };
    // Keys may stand after the question mark.
    let shown = shown(address.split('?').next().unwrap_or_default());
    let opened = patiently(config, backend, &shown, || async {
        match reach_media(config, clock).await {
            Err(error) if error.is_lasting() => Ok(Err(error)),
            reached => reached.map(Ok),
        }
    });
    opened.await?.map_err(|error: MediaError| BackendError {
        backend,
        address: shown,
        reason: error.to_string(),
    })
}

async fn reach_media(config: &Config, clock: &Clock) -> Result<Media, MediaError> {
    let address = &config.storage.documents;
    let limits = TimeLimits::new(Duration::from_millis(config.storage.connect_timeout_ms));
    let media = match address.expose().split_once("://") {
        Some(("s3", _)) => Media::S3(S3Media::new(address, limits)?),
        Some(("cloudinary", _)) => {
            Media::Cloudinary(CloudinaryMedia::new(address, clock.clone(), limits)?)
        }
        _ => Media::GridFs(GridFsMedia::new(address, limits).await?),
    };
    media.open().await?;
    Ok(media)
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
        PaymentProvider::Stripe => {
            let stripe = open_stripe(config, clock.clone()).await?;
            Ok((Payments::Stripe(stripe), None))
        }
    }
}

/// A key that Stripe does not take is said at once; for an answer there is patience.
async fn open_stripe(config: &Config, clock: Clock) -> Result<StripeProvider, BackendError> {
    const BACKEND: &str = "payments (Stripe)";
    let payments = &config.payments;
    let failed = |reason: String| BackendError {
        backend: BACKEND,
        address: payments.api_url.clone(),
        reason,
    };
    let options = StripeOptions {
        api_url: payments.api_url.clone(),
        secret_key: payments.secret_key.clone(),
        webhook_secrets: vec![
            payments.webhook_secret.clone(),
            payments.previous_webhook_secret.clone(),
        ],
        webhook_tolerance_s: payments.webhook_tolerance_s,
        timeout: Duration::from_millis(payments.timeout_ms),
        clock,
    };
    let stripe = StripeProvider::new(options).map_err(failed)?;
    patiently(config, BACKEND, &payments.api_url, || async {
        match stripe.ask().await {
            Err(PingError::BadKey(reason)) => Ok(Err(failed(reason))),
            Err(PingError::Failed(reason)) => Err(reason),
            Ok(()) => Ok(Ok(())),
        }
    })
    .await??;
    Ok(stripe)
}

fn open_sandbox(
    config: &Config,
    public_url: &str,
    clock: Clock,
) -> Result<SandboxProvider, BackendError> {
    let (data_dir, payments) = (&config.storage.data_dir, &config.payments);
    let mut options = SandboxOptions::new(data_dir, public_url, clock);
    options.webhook_secrets = vec![
        payments.webhook_secret.clone(),
        payments.previous_webhook_secret.clone(),
    ];
    options.webhook_tolerance_s = payments.webhook_tolerance_s;
    options.timeout = Duration::from_millis(payments.timeout_ms);
    SandboxProvider::open(options).map_err(|error| BackendError {
        backend: "payments (sandbox)",
        address: data_dir.display().to_string(),
        reason: error.to_string(),
    })
}

/// The exporter asks after it by itself: it knows how far behind it is.
async fn open_events(config: &Config) -> Result<Option<Events>, BackendError> {
    let events = &config.events;
    let Some(brokers) = events.brokers() else {
        return Ok(None);
    };
    let (backend, address) = ("events (Kafka)", shown(events.url.expose()));
    let opened = patiently(config, backend, &address, || async {
        let options = KafkaOptions {
            brokers: brokers.to_owned(),
            topic_prefix: events.topic_prefix.clone(),
            create_topics: events.create_topics,
            partitions: events.topic_partitions,
            replication: events.topic_replication,
            timeout: Duration::from_millis(events.timeout_ms),
        };
        match KafkaEvents::open(options).await {
            Err(error) if !error.is_permanent() => Err(error),
            answered => Ok(answered),
        }
    });
    match opened.await? {
        Ok(kafka) => Ok(Some(Events::Kafka(kafka))),
        Err(error) => Err(BackendError {
            backend,
            address,
            reason: error.to_string(),
        }),
    }
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
