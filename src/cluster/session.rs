//! One membership: a boot id, its links, and what it holds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::{Duration, Instant, sleep};

use super::cookie_mark::cookie_mark;
use super::inbound::FromPeers;
use super::links::{LinkTls, Links, LinksConfig, LinksError, Peer};
use super::shared::Shared;
use super::tenure::Tenure;
use super::wire;
use crate::clock;
use crate::config::Secret;
use crate::store::StoreError;
use crate::store::cluster::{BootId, ClusterView, Gone, NewNode, NodeRecord};

/// What a node says of itself whenever it joins.
#[derive(Debug, Clone)]
pub struct Identity {
    pub listen: std::net::SocketAddr,
    /// Empty: the address that is listened on.
    pub advertise: String,
    /// Empty: what is advertised.
    pub name: String,
    /// Its HTTP address.
    pub http: String,
    pub cookie: Secret,
    pub tls: Option<LinkTls>,
    pub ttl: Duration,
}

/// Why a node can't join its cluster. A sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("{0}")]
    Links(#[from] LinksError),
    #[error(
        "a node named {name} is at work at {address}; give this one another cluster.node_name, or \
         stop that one"
    )]
    NameTaken { name: String, address: String },
    #[error(
        "the node {name} at {address} works on this database as a part of a cluster; give this one \
         cluster.listen, too, or stop that one"
    )]
    ClusterAtWork { name: String, address: String },
    #[error(
        "a node that works alone is at work on this database; give it cluster.listen, too, or stop it"
    )]
    AloneAtWork,
    #[error(
        "the node {name} at {address} works on this database with another cluster.cookie, or with TLS \
         where this one has none or the other way round; all nodes of a cluster need the same"
    )]
    OtherCookie { name: String, address: String },
    #[error("the cluster's book can't be read or written: {0}")]
    Store(#[from] StoreError),
}

/// The pause before a name that is taken is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// A cookie for nodes on one machine, where nobody else reaches their ports.
const LOOPBACK_COOKIE: &str = "nodes-on-one-machine";

/// One membership of a node, from a join to its end. A node that was thought dead joins anew.
pub(super) struct Session {
    pub(super) boot: BootId,
    pub(super) name: String,
    pub(super) links: Links,
    tenure: Mutex<Tenure>,
}

impl Session {
    /// Listens for others, and enters the book.
    pub(super) async fn begin(
        shared: &Arc<Shared>,
        identity: &mut Identity,
    ) -> Result<Arc<Self>, JoinError> {
        let boot = BootId(clock::new_uuid());
        let cookie = if identity.cookie.is_empty() {
            Secret::new(LOOPBACK_COOKIE.to_owned())
        } else {
            identity.cookie.clone()
        };
        let cookie_mark = cookie_mark(&cookie, identity.tls.is_some());
        let mut config = LinksConfig::new(identity.listen, boot, String::new(), cookie);
        config.tls.clone_from(&identity.tls);
        config.name = if identity.name.is_empty() {
            "node".to_owned()
        } else {
            identity.name.clone()
        };
        let inbound = Arc::new(FromPeers::new(Arc::clone(shared)));
        let links = Links::start(config, inbound).await?;
        // A port that was chosen stays the same when the node joins anew.
        identity.listen = links.local_addr();
        let address = if identity.advertise.is_empty() {
            links.local_addr().to_string()
        } else {
            identity.advertise.clone()
        };
        let name = if identity.name.is_empty() {
            address.clone()
        } else {
            identity.name.clone()
        };
        let node = NewNode {
            boot,
            name: name.clone(),
            address,
            http: identity.http.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            wire: wire::VERSIONS,
            cookie_mark,
        };
        if let Err(error) = enter(shared, &node, identity.ttl).await {
            links.stop().await;
            return Err(error);
        }
        Ok(Arc::new(Self {
            boot,
            name,
            tenure: Mutex::new(Tenure::new(boot, shared.ownership.clone())),
            links,
        }))
    }

    pub(super) fn tenure(&self) -> MutexGuard<'_, Tenure> {
        self.tenure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Links to whom the book names, and to nobody else.
    pub(super) fn link_to(&self, view: &ClusterView) {
        let peers = view
            .nodes
            .iter()
            .filter(|record| record.gone.is_none() && record.node.boot != self.boot)
            .map(|NodeRecord { node, .. }| Peer {
                boot: node.boot,
                name: node.name.clone(),
                address: node.address.clone(),
            });
        self.links.set_peers(peers.collect());
    }

    /// Waits until every live node is linked, but not for long: who is not reached now is later.
    pub(super) async fn wait_for_links(&self, view: &ClusterView, patience: Duration) {
        let deadline = Instant::now() + patience;
        let is_linked = |record: &NodeRecord| {
            record.node.boot == self.boot
                || !record.is_live()
                || self.links.link(record.node.boot).is_some()
        };
        while !view.nodes.iter().all(is_linked) && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Enters a node into the book; one of the same name that is dead makes room.
async fn enter(shared: &Shared, node: &NewNode, ttl: Duration) -> Result<(), JoinError> {
    let deadline = Instant::now() + ttl + Duration::from_secs(1);
    loop {
        let view = shared.store.view().await?;
        let Some((other, refusal)) = in_the_way(&view, node) else {
            let began = shared.ownership.now();
            match shared.store.join(node, ttl).await {
                Ok(()) => {
                    shared.renewed(began, ttl);
                    return Ok(());
                }
                // Another one of this name is being started at the same moment.
                Err(StoreError::Taken { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            sleep(ASK_AGAIN).await;
            continue;
        };
        if is_dead(other, node).await {
            shared.store.bury(other.node.boot, Gone::Refused).await?;
            continue;
        }
        if Instant::now() >= deadline {
            return Err(refusal);
        }
        sleep(ASK_AGAIN).await;
    }
}

/// A live node beside which `node` can't join, and why.
fn in_the_way<'a>(view: &'a ClusterView, node: &NewNode) -> Option<(&'a NodeRecord, JoinError)> {
    let live = view.nodes.iter().filter(|record| record.is_live());
    live.filter_map(|record| Some((record, refusal(&record.node, node)?)))
        .next()
}

fn refusal(other: &NewNode, node: &NewNode) -> Option<JoinError> {
    let (name, address) = (other.name.clone(), other.address.clone());
    if other.address.is_empty() {
        return Some(JoinError::AloneAtWork);
    }
    if other.name == node.name {
        return Some(JoinError::NameTaken { name, address });
    }
    let is_stranger = !other.cookie_mark.is_empty() && other.cookie_mark != node.cookie_mark;
    is_stranger.then_some(JoinError::OtherCookie { name, address })
}

async fn is_dead(other: &NodeRecord, node: &NewNode) -> bool {
    let address = &other.node.address;
    if other.works_alone() {
        return false;
    }
    // Where this node listens now, nobody else does.
    *address == node.address || Links::is_refused(address).await
}
