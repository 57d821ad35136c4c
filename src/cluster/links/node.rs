//! `ractor_cluster`'s part: the actors that carry the sessions, and what they tell of them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ractor::concurrency::JoinHandle;
use ractor::registry::pid_registry;
use ractor::{Actor, ActorId, ActorRef};
use ractor_cluster::node::{NodeConnectionMode, NodeServerSessionInformation};
use ractor_cluster::{
    IncomingEncryptionMode, NodeEventSubscription, NodeServer, NodeServerMessage,
};
use tokio::sync::Semaphore;
use tokio::time::{Duration, sleep};
use uuid::Uuid;

use super::link::{FRAME_OVERHEAD_BYTES, Link, Watched};
use super::stream::Wire;
use super::{DownReason, LinksConfig, LinksError, Shared, tls};
use crate::cluster::gateway::{Gateway, GatewayMessage, Inbound, gateway_name};
use crate::store::cluster::BootId;

/// Between the end of an actor that should never end and its next start.
const RESTART_AFTER: Duration = Duration::from_millis(500);

/// The actors' present incarnation.
#[derive(Default)]
pub(super) struct Node {
    server: Mutex<Option<ActorRef<NodeServerMessage>>>,
}

impl Node {
    fn set(&self, server: Option<ActorRef<NodeServerMessage>>) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }

    /// Begins a session on a greeted connection.
    pub(super) fn begin_session(&self, wire: Wire, is_server: bool) {
        let current = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = &*current {
            // If the actor is gone the stream is dropped, and with it everything that is known of it.
            let _ = server.cast(NodeServerMessage::ConnectionOpenedExternal {
                stream: Box::new(wire),
                is_server,
            });
        }
    }
}

/// A node's full name, by which `ractor_cluster` chooses among simultaneous connections.
pub(super) fn full_name(name: &str, boot: BootId) -> String {
    format!("{name}-{boot}@{boot}")
}

/// The node of a full name.
fn parse(full_name: &str) -> Option<(BootId, String)> {
    let (node, _) = full_name.rsplit_once('@')?;
    let (name, boot) = node.rsplit_once('-')?;
    let boot = Uuid::try_parse(boot).ok()?;
    Some((BootId(boot), name.to_owned()))
}

struct Incarnation {
    gateway: (ActorRef<GatewayMessage>, JoinHandle<()>),
    server: (ActorRef<NodeServerMessage>, JoinHandle<()>),
}

async fn incarnate(
    shared: &Arc<Shared>,
    inbound: &Arc<dyn Inbound>,
) -> Result<Incarnation, LinksError> {
    let config = &shared.config;
    let max_payload = config.max_frame_bytes.saturating_sub(FRAME_OVERHEAD_BYTES);
    let gateway = Gateway {
        inbound: Arc::clone(inbound),
        max_answer_bytes: usize::try_from(max_payload).unwrap_or(usize::MAX),
        room: Arc::new(Semaphore::new(config.max_in_flight)),
    };
    let gateway = Actor::spawn(Some(gateway_name(config.boot)), gateway, ()).await?;
    let server = Actor::spawn(None, node_server(config), ()).await;
    let server = match server {
        Ok(server) => server,
        Err(error) => {
            gateway.0.stop(None);
            return Err(error.into());
        }
    };
    let _ = server.0.cast(NodeServerMessage::SubscribeToEvents {
        id: "links".to_owned(),
        subscription: Box::new(Sessions {
            shared: Arc::downgrade(shared),
        }),
    });
    shared.node.set(Some(server.0.clone()));
    Ok(Incarnation { gateway, server })
}

/// The library's server always listens, and starts its listener again if that is stopped. So it
/// listens on a port of the loopback where every handshake fails: one connection at a time, none of
/// which becomes a session.
fn node_server(config: &LinksConfig) -> NodeServer {
    let mode = tls::closed().map_or(IncomingEncryptionMode::Raw, IncomingEncryptionMode::Tls);
    NodeServer::new(
        0,
        config.cookie.expose().to_owned(),
        format!("{}-{}", config.name, config.boot),
        // Two nodes that name the same host and port are taken for one.
        config.boot.to_string(),
        Some(mode),
        Some(NodeConnectionMode::Isolated),
    )
    .with_listen_addr(IpAddr::V4(Ipv4Addr::LOCALHOST))
    .with_max_inbound_frame_size(config.max_frame_bytes)
}

/// Starts the actors, and starts them again together whenever one of them ends.
pub(super) async fn start(
    shared: &Arc<Shared>,
    inbound: Arc<dyn Inbound>,
) -> Result<(), LinksError> {
    let first = incarnate(shared, &inbound).await?;
    let keep = keep(Arc::clone(shared), inbound, first);
    shared.tasks.spawn(keep);
    Ok(())
}

async fn keep(shared: Arc<Shared>, inbound: Arc<dyn Inbound>, first: Incarnation) {
    let mut now = first;
    loop {
        let Incarnation {
            gateway: (gateway, mut gateway_end),
            server: (server, mut server_end),
        } = now;
        let is_stopping = tokio::select! {
            () = shared.stopping.cancelled() => true,
            _ = &mut gateway_end => false,
            _ = &mut server_end => false,
        };
        shared.table.cut_all();
        shared.node.set(None);
        let _ = server.stop_and_wait(None, None).await;
        let _ = gateway.stop_and_wait(None, None).await;
        if is_stopping {
            return;
        }
        tracing::error!("An actor of the links ended; all links are closed and begun anew");
        now = loop {
            sleep(RESTART_AFTER).await;
            match incarnate(&shared, &inbound).await {
                Ok(next) => break next,
                Err(error) => tracing::error!(%error, "The links could not start again"),
            }
        };
    }
}

/// Listens to what becomes of the sessions.
struct Sessions {
    shared: Weak<Shared>,
}

/// The connection's number, which came as the stream's label.
fn number(session: &NodeServerSessionInformation) -> Option<u64> {
    session.peer_addr.parse().ok()
}

fn node(session: &NodeServerSessionInformation) -> Option<(BootId, String)> {
    parse(&session.peer_name.as_ref()?.name)
}

impl Sessions {
    fn ready(&self, session: &NodeServerSessionInformation) -> Option<()> {
        let shared = self.shared.upgrade()?;
        let number = number(session)?;
        let (boot, name) = node(session)?;
        let gateway_name = gateway_name(boot);
        // A session has a child for every actor that the peer lets others send to: one.
        let gateway = session.actor.get_children().into_iter().find(|child| {
            matches!(child.get_id(), ActorId::Remote { .. })
                && child.get_name().as_deref() == Some(&gateway_name)
        });
        let Some(gateway) = gateway else {
            tracing::warn!(node = name, "A node has no gateway");
            shared.table.cut(number, DownReason::Closed);
            return None;
        };
        // From now on the session would be told of every actor that starts or ends in this process,
        // only to find that none of them is its business.
        pid_registry::demonitor(session.actor.get_id());
        let mut made = None;
        shared.table.up(number, |down| {
            let link = Link::new(&shared.config, (boot, name), number, gateway, down);
            made.insert(link).clone()
        });
        let link = made?;
        let (ping_every, missed_pings) = (shared.config.ping_every, shared.config.missed_pings);
        let shared = Weak::clone(&self.shared);
        tokio::spawn(async move {
            if link.watch(ping_every, missed_pings).await == Watched::Silent
                && let Some(shared) = shared.upgrade()
            {
                shared.table.cut(number, DownReason::Silent);
            }
        });
        Some(())
    }
}

impl NodeEventSubscription for Sessions {
    fn node_session_opened(&self, _session: NodeServerSessionInformation) {}

    fn node_session_authenticated(&self, session: NodeServerSessionInformation) {
        if let (Some(shared), Some(number), Some((boot, _))) =
            (self.shared.upgrade(), number(&session), node(&session))
        {
            shared.table.proven(number, boot);
        }
    }

    fn node_session_ready(&self, session: NodeServerSessionInformation) {
        self.ready(&session);
    }

    fn node_session_disconnected(&self, session: NodeServerSessionInformation) {
        if let (Some(shared), Some(number)) = (self.shared.upgrade(), number(&session)) {
            shared.table.ended(number);
        }
    }
}
