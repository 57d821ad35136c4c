//! How a node stands to others: by itself, alone on a database that others could reach, or together.

use std::future::{pending, ready};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Duration;

use super::reachable;
use crate::actors::ownership::{Ownership, machine_ms};
use crate::actors::root::{Parts, Probe};
use crate::cluster::links::LinkTls;
use crate::cluster::{self, Alone, Cluster, ClusterHandle, Identity, JoinError};
use crate::config::Config;
use crate::store::cache::SharedCache;
use crate::store::{StoreError, Stores};

/// Whether nobody else can reach what this node keeps: its data directory is locked.
fn is_by_itself(config: &Config) -> bool {
    config.storage.relational.is_empty() && config.cluster.listen_address().is_none()
}

/// What the node owns before it joins.
pub(super) async fn ownership(config: &Config, stores: &Stores) -> Result<Ownership, StoreError> {
    if is_by_itself(config) {
        let view = stores.cluster.view().await?;
        let epochs = view.shards.iter().map(|shard| (shard.shard, shard.epoch));
        Ok(Ownership::alone(epochs))
    } else {
        // What it owns it is told when it joins.
        Ok(Ownership::nothing(machine_ms))
    }
}

/// How a node stands to others.
pub(super) enum Membership {
    /// Its storage is its own.
    ByItself,
    /// On a database that others could reach.
    Alone(Alone),
    Together(Cluster),
}

impl Membership {
    pub(super) fn handle(&self) -> Option<ClusterHandle> {
        match self {
            Self::Together(cluster) => Some(cluster.handle()),
            Self::ByItself | Self::Alone(_) => None,
        }
    }

    pub(super) async fn failed(&self) -> String {
        match self {
            Self::ByItself => pending().await,
            Self::Alone(alone) => alone.failed().await,
            Self::Together(cluster) => cluster.failed().await,
        }
    }

    pub(super) async fn leave(self) {
        match self {
            Self::ByItself => {}
            Self::Alone(alone) => alone.leave().await,
            Self::Together(cluster) => cluster.leave().await,
        }
    }
}

pub(super) async fn join(
    config: &Config,
    address: SocketAddr,
    stores: &Stores,
    parts: &Parts,
    cache: &SharedCache,
) -> Result<Membership, JoinError> {
    if is_by_itself(config) {
        return Ok(Membership::ByItself);
    }
    let store = Arc::clone(&stores.cluster);
    let Some(identity) = identity(config, address) else {
        let ttl = Duration::from_millis(config.cluster.lease_ttl_ms);
        let http = format!("http://{}", reachable(address));
        let alone = Alone::join(store, &parts.invoices, http, ttl).await?;
        return Ok(Membership::Alone(alone));
    };
    if config.storage.documents.is_empty() && !identity.listen.ip().is_loopback() {
        tracing::warn!(
            "documents are files in storage.data_dir: nodes on other machines find them only if that \
             directory is shared; storage.documents puts them where all nodes reach them"
        );
    }
    let foundation = cluster::Foundation {
        store,
        invoices: parts.invoices.clone(),
        outbox: parts.outbox.clone(),
        cache: cache.clone(),
        identity,
    };
    Ok(Membership::Together(Cluster::join(foundation).await?))
}

/// A node whose lease is over answers for nothing.
pub(super) fn with_cluster(
    mut probes: Vec<Probe>,
    config: &Config,
    ownership: &Ownership,
) -> Vec<Probe> {
    if !is_by_itself(config) {
        let ownership = ownership.clone();
        probes.push(Probe::required("cluster", move || {
            let is_good = ownership.is_within_term();
            ready(is_good.then_some(()).ok_or("this node's lease is over"))
        }));
    }
    probes
}

/// What this node says of itself to others; none if it works alone.
fn identity(config: &Config, address: SocketAddr) -> Option<Identity> {
    let cluster = &config.cluster;
    let tls = cluster.has_tls().then(|| LinkTls {
        cert: cluster.tls_cert.clone().into(),
        key: cluster.tls_key.clone().into(),
        ca: cluster.tls_ca.clone().into(),
    });
    Some(Identity {
        listen: cluster.listen_address()?,
        advertise: cluster.advertise.clone(),
        name: cluster.node_name.clone(),
        http: format!("http://{}", reachable(address)),
        cookie: cluster.cookie.clone(),
        tls,
        ttl: Duration::from_millis(cluster.lease_ttl_ms),
    })
}
