//! The HTTP edge: authenticate, validate, turn a request into one message, map the reply.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::actors::auth_cache::AuthHandle;
use crate::actors::documents::DocumentsHandle;
use crate::actors::inbox::InboxHandle;
use crate::actors::invoices::InvoicesHandle;
use crate::actors::outbox::OutboxHandle;
use crate::actors::root::NodeHandle;
use crate::clock::Clock;
use crate::config::Config;
use crate::outbound::payment::Payments;
use crate::store::Stores;

pub mod answer;
mod api_keys;
mod auth;
pub mod cloud_event;
pub mod conditional;
mod cors;
pub mod customers;
mod docs;
pub mod error;
mod events;
pub mod extract;
mod files;
mod grants;
mod health;
mod http_metrics;
pub mod idempotency;
pub mod input;
pub mod invoices;
mod me;
mod middleware;
mod node;
pub mod openapi;
pub mod organization;
pub mod paging;
pub mod party;
mod roles;
mod setup;
mod setup_page;
pub mod show;
mod users;
mod webhooks;

use error::ApiError;

/// What the edge works with. Built by `app.rs`.
#[derive(Clone)]
pub struct Services {
    pub config: Arc<Config>,
    /// Without a trailing slash.
    pub public_url: Arc<str>,
    pub clock: Clock,
    pub stores: Stores,
    pub invoices: InvoicesHandle,
    pub auth: AuthHandle,
    pub documents: DocumentsHandle,
    pub inbox: InboxHandle,
    pub outbox: OutboxHandle,
    pub payments: Arc<Payments>,
    pub node: NodeHandle,
    pub metrics: metrics_exporter_prometheus::PrometheusHandle,
}

/// The services with what the edge keeps for itself; reads like [`Services`].
pub struct AppState {
    services: Services,
    key_locks: idempotency::KeyLocks,
    organizations: organization::Organizations,
    /// Places for open event streams.
    streams: Arc<Semaphore>,
}

/// Event streams open at once.
const MAX_STREAMS: usize = 1_000;

/// The state of every handler: one pointer to clone for each request.
pub type App = Arc<AppState>;

impl std::ops::Deref for AppState {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.services
    }
}

/// Every documented route. A resource's file gives its own as `routes()`.
fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::base())
        .merge(invoices::routes())
        .merge(customers::routes())
        .merge(organization::routes())
        .merge(events::routes())
        .merge(webhooks::routes())
        .merge(files::routes())
        .merge(node::routes())
        .merge(health::routes())
        .merge(auth::routes())
        .merge(me::routes())
        .merge(users::routes())
        .merge(roles::routes())
        .merge(api_keys::routes())
        .merge(setup::routes())
}

/// The OpenAPI document of all routes.
pub fn openapi() -> OpenApi {
    routes().to_openapi()
}

/// The whole edge.
pub fn router(services: Services) -> axum::Router {
    let limit = Duration::from_secs(services.config.server.request_timeout_s);
    let edge = middleware::EdgeLayer::new(limit, &services.config.server.allowed_origins);
    let app: App = Arc::new(AppState {
        services,
        key_locks: idempotency::KeyLocks::default(),
        organizations: organization::cache(),
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
    });
    let (router, _openapi) = routes().split_for_parts();
    router
        .merge(docs::routes())
        .fallback(unknown_route)
        .layer(edge)
        .with_state(app)
}

async fn unknown_route() -> ApiError {
    ApiError::not_found("route")
}
