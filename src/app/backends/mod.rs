//! The backends that the configuration names: opened together, each with patience.

use std::sync::Arc;

use crate::actors::root::Probe;
use crate::clock::Clock;
use crate::config::{Config, PaymentProvider};
use crate::outbound::events::Events;
use crate::outbound::mail::Mail;
use crate::outbound::media::Media;
use crate::outbound::oidc::Issuer;
use crate::outbound::payment::Payments;
use crate::outbound::payment::sandbox::SandboxProvider;
use crate::store::Stores;
use crate::store::cache::SharedCache;
use crate::store::sql::StoreHandle;

mod error;
mod outside;
mod stores;

pub use error::{BackendError, BackendErrors};
use outside::{OpenedPayments, open_events, open_mail, open_media, open_oidc, open_payments};
use stores::{lock_data_dir, open_cache, open_invoices};
pub use stores::{open_book, open_stores};

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
        let ((stores, payments), invoices, cache, mail, media, events, oidc) = tokio::join!(
            Box::pin(open_stores_and_payments(config, public_url, clock)),
            Box::pin(open_invoices(config)),
            Box::pin(open_cache(config)),
            Box::pin(open_mail(config)),
            Box::pin(open_media(config, clock)),
            Box::pin(open_events(config)),
            Box::pin(open_oidc(config)),
        );
        let mut errors = Vec::new();
        let stores = note(stores, &mut errors);
        let invoices = note(invoices, &mut errors);
        let cache = note(cache, &mut errors);
        let mail = note(mail, &mut errors);
        let media = note(media, &mut errors);
        let payments = payments.and_then(|payments| note(payments, &mut errors));
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

/// The sandbox keeps its books in the store's schema, so its turn comes when that is there; it has none
/// when the store can't be opened.
async fn open_stores_and_payments(
    config: &Config,
    public_url: &str,
    clock: &Clock,
) -> (
    Result<(Stores, StoreHandle), BackendError>,
    Option<Result<OpenedPayments, BackendError>>,
) {
    let payments = Box::pin(open_payments(config, public_url, clock));
    match config.payments.provider {
        PaymentProvider::Sandbox => match open_stores(config).await {
            Ok(stores) => (Ok(stores), Some(payments.await)),
            Err(error) => (Err(error), None),
        },
        PaymentProvider::Stripe => {
            let (stores, payments) = tokio::join!(open_stores(config), payments);
            (stores, Some(payments))
        }
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
        probes.push(Probe::optional("oidc", move || {
            let issuer = issuer.clone();
            async move { issuer.ping().await }
        }));
    }
    probes
}

fn note<T>(opened: Result<T, BackendError>, errors: &mut Vec<BackendError>) -> Option<T> {
    opened.map_err(|error| errors.push(error)).ok()
}
