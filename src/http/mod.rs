//! The HTTP edge: authenticate, validate, turn a request into one message, map the reply.

use std::sync::Arc;

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
