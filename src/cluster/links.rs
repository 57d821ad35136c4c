//! Connections between nodes: dialled, proven, watched, and cut.
//!
//! What carries them is `ractor_cluster`: its handshake proves the cookie, its sessions carry the
//! messages. What it leaves open is done here: it is only handed streams that began with a sound
//! greeting, each stream can be cut from outside, and what is under way on it is counted.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::node::Node;
use self::table::Table;
use super::gateway::Inbound;
use crate::config::Secret;
use crate::store::cluster::BootId;

mod accept;
mod dial;
mod link;
mod node;
mod stream;
mod table;
mod tls;

pub use self::dial::is_refused;
pub use self::link::{Link, LinkError};

/// Events that a slow reader may fall behind by.
const EVENTS: usize = 1024;

/// PEM files of this node's certificate and key, and of the authority that signed all nodes'.
#[derive(Debug, Clone)]
pub struct LinkTls {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub ca: PathBuf,
}

#[derive(Debug, Clone)]
pub struct LinksConfig {
    pub listen: SocketAddr,
    pub boot: BootId,
    pub name: String,
    pub cookie: Secret,
    pub tls: Option<LinkTls>,
    pub max_frame_bytes: u64,
    /// Connections from outside that have not yet proven to be a peer's.
    pub max_unproven: usize,
    /// From the first byte to a link that is up.
    pub prove_within: Duration,
    pub ping_every: Duration,
    pub missed_pings: u32,
    /// Calls under way: to each peer, and of all peers together to this node.
    pub max_in_flight: usize,
}

impl LinksConfig {
    pub fn new(listen: SocketAddr, boot: BootId, name: String, cookie: Secret) -> Self {
        Self {
            listen,
            boot,
            name,
            cookie,
            tls: None,
            max_frame_bytes: 16 * 1024 * 1024,
            max_unproven: 64,
            prove_within: Duration::from_secs(3),
            ping_every: Duration::from_millis(800),
            missed_pings: 3,
            max_in_flight: 4096,
        }
    }
}

/// Why the links could not start. A sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    #[error("nodes can't be listened for at {address}: {source}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("{path} can't be used for TLS between nodes: {problem}")]
    Tls { path: String, problem: String },
    #[error("the links' actors could not start: {0}")]
    Actors(#[from] ractor::SpawnErr),
}

/// Another node, as it stands in the cluster's book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub boot: BootId,
    pub name: String,
    /// `host:port`; the host may be a DNS name.
    pub address: String,
}

/// Why a link went down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownReason {
    /// The connection ended.
    Closed,
    /// The peer answered no pings.
    Silent,
    /// The peer is no longer one.
    Removed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    Up(BootId),
    Down {
        boot: BootId,
        /// From the last list of peers; empty if it stood in none.
        address: String,
        reason: DownReason,
    },
}

/// What an operator is shown of a link.
#[derive(Debug, Clone)]
pub struct LinkStatus {
    pub boot: BootId,
    pub name: String,
    pub up_for: Duration,
    /// Of the last ping that was answered.
    pub rtt: Option<Duration>,
    /// Calls under way to the peer.
    pub in_flight: usize,
}

struct Shared {
    config: LinksConfig,
    tls: Option<tls::Tls>,
    table: Table,
    node: Node,
    stopping: CancellationToken,
    /// What a stop waits for.
    tasks: TaskTracker,
}

/// This node's links to all others. Cheap to clone.
#[derive(Clone)]
pub struct Links {
    shared: Arc<Shared>,
    local_addr: SocketAddr,
}

impl Links {
    /// Binds the port and accepts peers; dials nobody before [`Links::set_peers`].
    pub async fn start(config: LinksConfig, inbound: Arc<dyn Inbound>) -> Result<Self, LinksError> {
        let tls = config.tls.as_ref().map(tls::load).transpose()?;
        let refused = |source| LinksError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(refused)?;
        let local_addr = listener.local_addr().map_err(refused)?;
        let shared = Arc::new(Shared {
            table: Table::new(&config, broadcast::Sender::new(EVENTS)),
            node: Node::default(),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            tls,
            config,
        });
        node::start(&shared, inbound).await?;
        let accept = accept::accept(Arc::clone(&shared), listener);
        shared.tasks.spawn(accept);
        Ok(Self { shared, local_addr })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    pub fn boot(&self) -> BootId {
        self.shared.config.boot
    }

    /// Dials each of them until it is linked, again whenever its link goes down, and closes the links
    /// to nodes that are not listed. A node that never was listed may be newer than the list: it has
    /// a while to appear.
    pub fn set_peers(&self, peers: Vec<Peer>) {
        for (peer, removed) in self.shared.table.set_peers(peers) {
            tokio::spawn(dial::keep_linked(Arc::clone(&self.shared), peer, removed));
        }
    }

    pub fn link(&self, boot: BootId) -> Option<Link> {
        self.shared.table.link(boot)
    }

    /// All that are up.
    pub fn all(&self) -> Vec<Link> {
        self.shared.table.links()
    }

    pub fn events(&self) -> broadcast::Receiver<LinkEvent> {
        self.shared.table.events()
    }

    /// In the order of names.
    pub fn status(&self) -> Vec<LinkStatus> {
        self.shared.table.status()
    }

    /// See [`is_refused`].
    pub async fn is_refused(address: &str) -> bool {
        is_refused(address).await
    }

    /// Closes the port and all connections; nothing comes up again.
    pub async fn stop(&self) {
        self.shared.stopping.cancel();
        self.shared.table.set_peers(Vec::new());
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}
