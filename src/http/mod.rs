//! The HTTP edge: authenticate, validate, turn a request into one message, map the reply.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::actors::auth_cache::AuthHandle;
use crate::actors::documents::DocumentsHandle;
use crate::actors::inbox::InboxHandle;
use crate::actors::invoices::InvoicesHandle;
use crate::actors::outbox::OutboxHandle;
use crate::actors::root::NodeHandle;
use crate::clock::Clock;
use crate::cluster::ClusterHandle;
use crate::config::Config;
use crate::outbound::payment::Payments;
use crate::store::Stores;

pub mod answer;
mod api_keys;
mod auth;
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
mod page;
pub mod paging;
pub mod party;
mod roles;
pub mod serve;
mod setup;
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
    /// None: the node works alone.
    pub cluster: Option<ClusterHandle>,
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

impl Services {
    /// Whether the node wants no more work: it ends, or an operator takes it out of its cluster.
    pub fn is_draining(&self) -> bool {
        let of_cluster = self
            .cluster
            .as_ref()
            .is_some_and(ClusterHandle::is_draining);
        of_cluster || self.node.is_draining()
    }
}

/// Every documented route: a resource's file gives its own.
const RESOURCES: [fn() -> OpenApiRouter<App>; 15] = [
    invoices::routes,
    customers::routes,
    organization::routes,
    events::routes,
    webhooks::routes,
    page::routes,
    files::routes,
    node::routes,
    health::routes,
    auth::routes,
    me::routes,
    users::routes,
    roles::routes,
    api_keys::routes,
    setup::routes,
];

/// The OpenAPI document of all routes.
pub fn openapi() -> OpenApi {
    RESOURCES
        .iter()
        .fold(
            OpenApiRouter::with_openapi(openapi::base()),
            |all, resource| all.merge(resource()),
        )
        .to_openapi()
}

/// All routes without their document, which is dropped resource by resource: the whole of it would
/// leave holes of megabytes in the heap of every node.
fn routes() -> axum::Router<App> {
    RESOURCES.iter().fold(axum::Router::new(), |all, resource| {
        let (router, _document) = resource().split_for_parts();
        all.merge(router)
    })
}

/// The whole edge. `cut_off` ends the requests that are still running with a 503.
pub fn router(services: Services, cut_off: CancellationToken) -> axum::Router {
    let server = &services.config.server;
    let limit = Duration::from_secs(server.request_timeout_s);
    let edge = middleware::EdgeLayer::new(limit, cut_off, &server.allowed_origins);
    let app: App = Arc::new(AppState {
        services,
        key_locks: idempotency::KeyLocks::default(),
        organizations: organization::cache(),
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
    });
    routes()
        .merge(docs::routes())
        .fallback(unknown_route)
        .layer(edge)
        .with_state(app)
}

async fn unknown_route() -> ApiError {
    ApiError::not_found("route")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// Every route of the contract. `/docs` is a page about them and not one of them.
    const CONTRACT: &str = "
        post /v1/auth/token
        post /v1/auth/revoke
        get /v1/me
        put /v1/me/password
        get /v1/users
        post /v1/users
        get /v1/users/{id}
        patch /v1/users/{id}
        delete /v1/users/{id}
        get /v1/roles
        post /v1/roles
        get /v1/roles/{name}
        patch /v1/roles/{name}
        delete /v1/roles/{name}
        get /v1/api_keys
        post /v1/api_keys
        get /v1/api_keys/{id}
        delete /v1/api_keys/{id}
        post /v1/setup
        get /v1/organization
        patch /v1/organization
        get /v1/organization/logo
        put /v1/organization/logo
        delete /v1/organization/logo
        get /v1/customers
        post /v1/customers
        get /v1/customers/{id}
        patch /v1/customers/{id}
        delete /v1/customers/{id}
        post /v1/invoices
        get /v1/invoices
        get /v1/invoices/{id}
        patch /v1/invoices/{id}
        delete /v1/invoices/{id}
        post /v1/invoices/{id}/finalize
        post /v1/invoices/{id}/send
        post /v1/invoices/{id}/pay
        post /v1/invoices/{id}/payments
        post /v1/invoices/{id}/void
        post /v1/invoices/{id}/mark_uncollectible
        post /v1/invoices/{id}/retry
        post /v1/invoices/{id}/rotate_link
        get /v1/invoices/{id}/history
        get /v1/invoices/{id}/events
        get /v1/invoices/{id}/document
        get /v1/events
        get /i/{token}
        get /i/{token}/document.pdf
        get /i/{token}/document.xlsx
        post /i/{token}/pay
        post /v1/webhooks/{provider}
        post /webhook/stripe
        get /v1/node
        get /v1/cluster
        get /health/liveness
        get /health/readiness
        get /health/startup
        get /metrics
        get /openapi.json
        post /login
        post /upload
        get /download
    ";

    #[test]
    fn every_route_of_the_contract_is_documented_and_no_other() {
        let document = serde_json::to_value(super::openapi()).unwrap();
        let documented: BTreeSet<String> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys();
                methods
                    .filter(|key| *key != "parameters")
                    .map(move |key| format!("{key} {path}"))
            })
            .collect();
        let contract: BTreeSet<String> = CONTRACT
            .lines()
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect();
        let missing: Vec<_> = contract.difference(&documented).collect();
        let unknown: Vec<_> = documented.difference(&contract).collect();
        assert!(
            missing.is_empty() && unknown.is_empty(),
            "missing {missing:?}, unknown {unknown:?}"
        );
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        let text = serde_json::to_string(&super::openapi()).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
    }

    #[test]
    fn every_operation_has_an_id_of_its_own_and_says_who_may_call_it() {
        let document = serde_json::to_value(super::openapi()).unwrap();
        assert_eq!(document["security"][0]["bearer"], serde_json::json!([]));
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let id = operation["operationId"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                assert!(!id.is_empty() && ids.insert(id), "{method} {path}");
                assert!(
                    operation["tags"][0].is_string(),
                    "{method} {path} has no tag"
                );
                assert!(
                    operation["summary"].is_string(),
                    "{method} {path} has no summary"
                );
            }
        }
    }
}
