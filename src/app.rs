//! Puts a node together from its configuration: the only place that names concrete backends.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::actors::auth_cache::AuthHandle;
use crate::actors::auth_cache::accounts::found_from_environment;
use crate::actors::root::{Foundation, Parts, RunningActors};
use crate::clock::Clock;
use crate::cluster::JoinError;
use crate::config::Config;
use crate::http::serve::{IDLE_TIMEOUT, Limits, serve};
use crate::http::{self, Services};
use crate::outbound::payment::sandbox::web::CheckoutView;
use crate::outbound::payment::sandbox::{self, SessionState};
use crate::render::page::{SandboxCheckout, SandboxMethod};
use crate::render::{self, RenderContext};
use crate::store::cache::SharedCache;
use crate::store::sql::StoreHandle;
use crate::telemetry;

mod backends;
mod membership;

use backends::Backends;
pub use backends::{BackendError, BackendErrors, open_book, open_stores};
use membership::Membership;

/// Why a node did not start. Each is a sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("can't listen on {address}: {reason}")]
    Listen {
        address: SocketAddr,
        reason: std::io::Error,
    },
    #[error("{0}")]
    Backends(#[from] BackendErrors),
    #[error("the store does not work: {0}")]
    Store(#[from] crate::store::StoreError),
    #[error("{0}")]
    Join(#[from] JoinError),
    #[error("can't start the actors: {0}")]
    Actors(#[from] ractor::SpawnErr),
    #[error("can't make the first user from FAKTOR_ADMIN_EMAIL and FAKTOR_ADMIN_PASSWORD: {0}")]
    Setup(#[from] crate::actors::auth_cache::accounts::AccountError),
}

/// How long a node that leaves others behind keeps connections that ask for nothing: long enough for
/// each client that is at work to hear, with an answer, that it should go elsewhere.
const LINGER: Duration = Duration::from_secs(1);

/// How long the answers to requests that are cut off may take to be on their way.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// How long a stop waits for the cluster's book and for the store, each, when nothing else is left.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// A running node.
pub struct App {
    pub address: SocketAddr,
    /// Where people reach it, without a trailing slash.
    pub public_url: String,
    /// The one-time address at which the first user is made, while there is none.
    pub setup_url: Option<String>,
    pub services: Services,
    actors: RunningActors,
    membership: Membership,
    store: StoreHandle,
    cache: SharedCache,
    server: JoinHandle<()>,
    /// The sandbox's webhooks.
    deliveries: Option<JoinHandle<()>>,
    stopping: CancellationToken,
    /// Of the requests that are still running when the drain's time is over.
    cut_off: CancellationToken,
    drain_timeout: Duration,
}

impl App {
    /// Starts a node; it answers requests when this returns.
    pub async fn start(config: Config, clock: Clock) -> Result<Self, StartError> {
        let listen = config.server.listen;
        let failed = |reason| StartError::Listen {
            address: listen,
            reason,
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let public_url = public_url(&config, address);
        let config = Arc::new(config);

        // Beside the rest: the recorder first measures the processor's clock for some milliseconds.
        let metrics = tokio::task::spawn_blocking(telemetry::metrics);
        let Backends {
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
        } = Backends::open(&config, &public_url, &clock).await?;
        let payments = Arc::new(payments);
        let ownership = membership::ownership(&config, &stores).await?;
        let environment = |name: &str| std::env::var(name).ok();
        found_from_environment(&stores, &clock, environment).await?;
        let auth =
            AuthHandle::start_sharing(&config, clock.clone(), &stores, cache.clone()).await?;

        if let Some(issuer) = oidc {
            // An empty one was let pass by the configuration's check, a wrong one was not.
            let organization = config.oidc.organization.parse().ok();
            auth.trust(issuer, organization, config.oidc.create_users);
        }
        let parts = Parts::assemble(Foundation {
            config: Arc::clone(&config),
            clock: clock.clone(),
            stores: stores.clone(),
            mail,
            media,
            payments: Arc::clone(&payments),
            events,
            context: RenderContext {
                public_url: Some(public_url.clone()),
                sandbox: sandbox.is_some(),
                logo_png: None,
            },
            auth,
            cache: cache.clone(),
            probes: membership::with_cluster(probes, &config, &ownership),
            ownership,
            represent: http::invoices::representation::represent(&public_url),
        });
        let actors = RunningActors::start(parts.clone()).await?;
        // On the heap: it would make the future of each caller large.
        let joining = membership::join(&config, address, &stores, &parts, &cache);
        let membership = Box::pin(joining).await?;
        let metrics = metrics.await.unwrap_or_else(|_| telemetry::metrics());
        let services = Services {
            public_url: public_url.as_str().into(),
            clock,
            stores,
            invoices: parts.invoices,
            auth: parts.auth,
            documents: parts.documents,
            inbox: parts.inbox,
            outbox: parts.outbox,
            payments: Arc::clone(&payments),
            node: actors.handle(),
            cluster: membership.handle(),
            metrics: metrics.clone(),
            config: Arc::clone(&config),
        };
        let setup_url = services
            .auth
            .open_setup()
            .await?
            .map(|token| format!("{public_url}/setup?token={token}"));

        let cut_off = CancellationToken::new();
        let mut router = http::router(services.clone(), cut_off.clone());
        if let Some(sandbox) = &sandbox {
            router = router.merge(sandbox::web::router(sandbox.clone(), checkout_page));
        }
        let stopping = CancellationToken::new();
        let server = serve(listener, router, limits(&config), stopping.clone());
        let deliveries = sandbox.map(|sandbox| {
            sandbox.send_webhooks_to(&format!("http://{}", reachable(address)));
            sandbox.start_delivery(stopping.clone())
        });
        tokio::spawn(telemetry::keep_up(metrics, stopping.clone()));
        Ok(Self {
            address,
            public_url,
            setup_url,
            services,
            actors,
            membership,
            store,
            cache,
            server: tokio::spawn(server),
            deliveries,
            stopping,
            cut_off,
            drain_timeout: Duration::from_secs(config.server.drain_timeout_s),
        })
    }

    /// Resolves with the reason when the node can't go on.
    pub async fn failed(&self) -> String {
        tokio::select! {
            reason = self.actors.failed() => reason,
            reason = self.membership.failed() => reason,
        }
    }

    /// Drains: not ready, hand over, finish requests and effects, stop the actors, close the store. All
    /// that is finished shares the drain's time, so that a stop takes little longer than that.
    pub async fn stop(mut self) {
        let deadline = Instant::now() + self.drain_timeout;
        self.actors.begin_drain();
        // While it hands over it still takes requests, and finds the way for them.
        if let Membership::Together(cluster) = &self.membership {
            let half = self.drain_timeout / 2;
            if timeout(half, cluster.hand_over(half)).await.is_err() {
                tracing::warn!(
                    "the cluster's book did not answer in time; shards are left to their lease"
                );
            }
        }
        self.stopping.cancel();
        if timeout_at(deadline, &mut self.server).await.is_err() {
            tracing::warn!("requests were still running when the drain time was over");
            // Before the actors go, of whose end they would tell as of a crash.
            self.cut_off.cancel();
            if timeout(LAST_ANSWERS, &mut self.server).await.is_err() {
                self.server.abort();
            }
        }
        self.actors
            .stop(deadline.saturating_duration_since(Instant::now()))
            .await;
        // What it still owns is for others to take at once.
        if timeout(CLOSE_WITHIN, self.membership.leave())
            .await
            .is_err()
        {
            tracing::warn!("the node could not say in time that it leaves; its lease will run out");
        }
        if let Some(deliveries) = self.deliveries
            && timeout_at(deadline, deliveries).await.is_err()
        {
            tracing::warn!(
                "the sandbox's webhooks were still being delivered when the drain time was over"
            );
        }
        self.cache.close();
        match timeout(CLOSE_WITHIN, self.store.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "the store could not be closed cleanly; nothing acknowledged is lost");
            }
            Err(_) => {
                tracing::error!(
                    "the store could not be closed in time; nothing acknowledged is lost"
                );
            }
        }
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        header_timeout: Duration::from_secs(config.server.header_timeout_s),
        idle_timeout: IDLE_TIMEOUT,
        max_connections: config.server.max_connections,
        linger: if config.cluster.listen.is_empty() {
            Duration::ZERO
        } else {
            LINGER
        },
    }
}

/// The sandbox's checkout page; written by the renderer, which the sandbox does not know.
fn checkout_page(view: &CheckoutView) -> String {
    let methods: Vec<_> = view
        .methods
        .iter()
        .map(|method| SandboxMethod {
            id: method.id,
            label: method.label,
        })
        .collect();
    let closed = match view.session.state {
        SessionState::Open => None,
        SessionState::Paid => Some("This has been paid. There is nothing more to do here."),
        SessionState::Expired => Some("Nothing can be paid here any more."),
    };
    let page = render::page::sandbox_checkout_page(&SandboxCheckout {
        amount: view.session.amount,
        description: &view.session.description,
        pay_url: &view.pay_url,
        return_url: &view.session.return_url,
        methods: &methods,
        problem: view.problem.as_deref(),
        closed,
    });
    // The barest page works, too.
    page.unwrap_or_else(|_| sandbox::web::plain_page(view))
}

fn public_url(config: &Config, address: SocketAddr) -> String {
    if config.server.public_url.is_empty() {
        format!("http://{}", reachable(address))
    } else {
        config.server.public_url.trim_end_matches('/').to_owned()
    }
}

/// An address that can be connected to: the loopback one when all are listened on.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            (std::net::Ipv4Addr::LOCALHOST, v4.port()).into()
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            (std::net::Ipv6Addr::LOCALHOST, v6.port()).into()
        }
        other => other,
    }
}
