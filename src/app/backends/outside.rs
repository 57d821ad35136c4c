//! The outside world: mail, media, payments, events, and who vouches for people.

use tokio::time::Duration;

use super::error::{BackendError, patiently, shown};
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

pub(super) async fn open_mail(config: &Config) -> Result<Mail, BackendError> {
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

pub(super) async fn open_media(config: &Config, clock: &Clock) -> Result<Media, BackendError> {
    let address = config.storage.documents.expose();
    let backend = match address.split_once("://").map(|(scheme, _)| scheme) {
        None => return Ok(Media::Files(FileMedia::new(&config.storage.data_dir))),
        Some("s3") => "documents (S3)",
        Some("cloudinary") => "documents (Cloudinary)",
        Some(_) => "documents (GridFS)",
    };
    let shown = shown(address);
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

/// The provider, and the sandbox by itself when it is that.
pub(super) type OpenedPayments = (Payments, Option<SandboxProvider>);

pub(super) async fn open_payments(
    config: &Config,
    public_url: &str,
    clock: &Clock,
) -> Result<OpenedPayments, BackendError> {
    match config.payments.provider {
        PaymentProvider::Sandbox => {
            let sandbox = open_sandbox(config, public_url, clock.clone()).await?;
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

async fn open_sandbox(
    config: &Config,
    public_url: &str,
    clock: Clock,
) -> Result<SandboxProvider, BackendError> {
    const BACKEND: &str = "payments (sandbox)";
    let (data_dir, payments) = (&config.storage.data_dir, &config.payments);
    let mut options = SandboxOptions::new(data_dir, public_url, clock);
    options.webhook_secrets = vec![
        payments.webhook_secret.clone(),
        payments.previous_webhook_secret.clone(),
    ];
    options.webhook_tolerance_s = payments.webhook_tolerance_s;
    options.timeout = Duration::from_millis(payments.timeout_ms);
    let relational = &config.storage.relational;
    if relational.is_empty() {
        return SandboxProvider::open(options).map_err(|error| BackendError {
            backend: BACKEND,
            address: data_dir.display().to_string(),
            reason: error.to_string(),
        });
    }
    options.database = Some(relational.clone());
    patiently(config, BACKEND, &shown(relational.expose()), || {
        SandboxProvider::connect(options.clone())
    })
    .await
}

/// The exporter asks after it by itself: it knows how far behind it is.
pub(super) async fn open_events(config: &Config) -> Result<Option<Events>, BackendError> {
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

pub(super) async fn open_oidc(config: &Config) -> Result<Option<Issuer>, BackendError> {
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
