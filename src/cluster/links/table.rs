//! What is known of peers, connections and links, under one lock.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, broadcast};
use tokio::time::Duration;
use tokio_util::sync::CancellationToken;

use super::link::Link;
use super::{DownReason, LinkEvent, LinkStatus, LinksConfig, Peer};
use crate::store::cluster::BootId;

/// A linked node that no list has named yet is given this time to appear in one.
const UNLISTED_FOR: Duration = Duration::from_secs(10);
/// How many of those that were removed are remembered.
const REMOVED: usize = 1024;

pub(super) struct Table {
    rows: Mutex<Rows>,
    events: broadcast::Sender<LinkEvent>,
    /// A connection has become a link, or has closed.
    settled: Notify,
    boot: BootId,
    max_unproven: usize,
}

#[derive(Default)]
struct Rows {
    last_connection: u64,
    peers: HashMap<BootId, Listed>,
    /// Boots that were listed once, the latest last.
    removed: VecDeque<BootId>,
    connections: HashMap<u64, Connection>,
    /// Connections from outside that are not proven, oldest first; some of them are closed already.
    unproven: VecDeque<u64>,
    links: HashMap<BootId, Link>,
    /// Lost links of peers whose other connection has probably won the election, and is about to be
    /// ready.
    electing: HashMap<BootId, Lost>,
}

/// A link that was up.
struct Lost {
    name: String,
    reason: DownReason,
}

struct Listed {
    peer: Peer,
    removed: CancellationToken,
}

struct Connection {
    cut: CancellationToken,
    /// Whose it is: known of one that was dialled, and of another once the cookie is proven.
    boot: Option<BootId>,
    /// Why this node cut it.
    reason: Option<DownReason>,
}

impl Rows {
    fn cut(&mut self, number: u64, reason: DownReason) {
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.reason.get_or_insert(reason);
            connection.cut.cancel();
        }
    }

    fn is_up(&self, number: u64) -> bool {
        self.links.values().any(|link| link.connection() == number)
    }

    /// Whether another connection to that node is left. Its side may have closed the one that lost
    /// the election before this side knows which one won.
    fn is_connected(&self, boot: BootId) -> bool {
        self.connections
            .values()
            .any(|connection| connection.boot == Some(boot) && !connection.cut.is_cancelled())
    }
}

impl Table {
    pub(super) fn new(config: &LinksConfig, events: broadcast::Sender<LinkEvent>) -> Self {
        Self {
            rows: Mutex::default(),
            events,
            settled: Notify::new(),
            boot: config.boot,
            max_unproven: config.max_unproven,
        }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn events(&self) -> broadcast::Receiver<LinkEvent> {
        self.events.subscribe()
    }

    pub(super) fn link(&self, boot: BootId) -> Option<Link> {
        self.rows().links.get(&boot).cloned()
    }

    pub(super) fn links(&self) -> Vec<Link> {
        self.rows().links.values().cloned().collect()
    }

    pub(super) fn status(&self) -> Vec<LinkStatus> {
        let mut links: Vec<_> = self.rows().links.values().map(Link::status).collect();
        links.sort_by(|one, other| (&one.name, one.boot).cmp(&(&other.name, other.boot)));
        links
    }

    /// Takes a new list; gives those to dial from now on, each until its token says that it was
    /// removed.
    pub(super) fn set_peers(&self, peers: Vec<Peer>) -> Vec<(Peer, CancellationToken)> {
        let mut rows = self.rows();
        let mut old = std::mem::take(&mut rows.peers);
        let mut dial = Vec::new();
        for peer in peers {
            if peer.boot == self.boot {
                continue;
            }
            rows.removed.retain(|boot| *boot != peer.boot);
            let listed = match old.remove(&peer.boot) {
                Some(listed) if listed.peer == peer => listed,
                moved => {
                    if let Some(moved) = moved {
                        moved.removed.cancel();
                    }
                    let removed = CancellationToken::new();
                    dial.push((peer.clone(), removed.clone()));
                    Listed { peer, removed }
                }
            };
            rows.peers.insert(listed.peer.boot, listed);
        }
        for (boot, listed) in old {
            listed.removed.cancel();
            if rows.removed.len() == REMOVED {
                rows.removed.pop_front();
            }
            rows.removed.push_back(boot);
        }
        let closing: Vec<u64> = rows
            .links
            .values()
            .filter(|link| {
                !rows.peers.contains_key(&link.boot())
                    && (rows.removed.contains(&link.boot()) || link.status().up_for > UNLISTED_FOR)
            })
            .map(Link::connection)
            .collect();
        for number in closing {
            rows.cut(number, DownReason::Removed);
            self.lose(&mut rows, number);
        }
        drop(rows);
        dial
    }

    /// Registers a connection. One more from outside than may be unproven costs the oldest its life:
    /// whoever means it well has proven itself long before.
    pub(super) fn open(&self, dialled: Option<BootId>) -> (u64, CancellationToken) {
        let mut rows = self.rows();
        rows.last_connection += 1;
        let number = rows.last_connection;
        let cut = CancellationToken::new();
        rows.connections.insert(
            number,
            Connection {
                cut: cut.clone(),
                boot: dialled,
                reason: None,
            },
        );
        if dialled.is_none() {
            rows.unproven.push_back(number);
            if rows.unproven.len() > self.max_unproven
                && let Some(oldest) = rows.unproven.pop_front()
            {
                rows.cut(oldest, DownReason::Closed);
            }
        }
        (number, cut)
    }

    /// Whether a greeting's sender may go on to prove that it is that node.
    pub(super) fn welcomes(&self, boot: BootId) -> bool {
        let rows = self.rows();
        boot != self.boot && !rows.links.contains_key(&boot) && !rows.removed.contains(&boot)
    }

    /// The cookie was proven on it.
    pub(super) fn proven(&self, number: u64, boot: BootId) {
        if let Some(connection) = self.rows().connections.get_mut(&number) {
            connection.boot = Some(boot);
        }
    }

    /// A session is ready: its link is up. Does nothing if its connection is closed already.
    pub(super) fn up(&self, number: u64, make: impl FnOnce(CancellationToken) -> Link) {
        let mut rows = self.rows();
        let Some(connection) = rows.connections.get(&number) else {
            return;
        };
        let link = make(connection.cut.clone());
        let boot = link.boot();
        rows.unproven.retain(|unproven| *unproven != number);
        // If there was another one, that one lost the election and is about to close.
        let was_up = rows.links.insert(boot, link.clone()).is_some();
        let was_up = rows.electing.remove(&boot).is_some() || was_up;
        if !was_up {
            tracing::info!(node.name = link.name(), node.boot = %boot, "Linked with a node");
            // Nobody may be listening.
            let _ = self.events.send(LinkEvent::Up(boot));
        }
        drop(rows);
        self.settled.notify_waiters();
    }

    pub(super) fn is_up(&self, number: u64) -> bool {
        self.rows().is_up(number)
    }

    /// Waits until the connection is a link, or closed.
    pub(super) async fn settled(&self, number: u64) {
        loop {
            let settled = self.settled.notified();
            {
                let rows = self.rows();
                if rows.is_up(number) || !rows.connections.contains_key(&number) {
                    return;
                }
            }
            settled.await;
        }
    }

    pub(super) fn cut(&self, number: u64, reason: DownReason) {
        let mut rows = self.rows();
        rows.cut(number, reason);
        self.lose(&mut rows, number);
    }

    pub(super) fn cut_all(&self) {
        let mut rows = self.rows();
        let numbers: Vec<u64> = rows.connections.keys().copied().collect();
        for number in numbers {
            rows.cut(number, DownReason::Removed);
            self.lose(&mut rows, number);
        }
    }

    /// The session that it carried has ended.
    pub(super) fn ended(&self, number: u64) {
        let mut rows = self.rows();
        rows.cut(number, DownReason::Closed);
        self.lose(&mut rows, number);
    }

    /// Both halves of its stream are gone.
    pub(super) fn closed(&self, number: u64) {
        let mut rows = self.rows();
        rows.cut(number, DownReason::Closed);
        self.lose(&mut rows, number);
        let closed = rows.connections.remove(&number);
        rows.unproven.retain(|unproven| *unproven != number);
        if let Some(boot) = closed.and_then(|connection| connection.boot)
            && !rows.is_connected(boot)
            && let Some(lost) = rows.electing.remove(&boot)
        {
            self.tell_down(&rows, boot, &lost);
        }
        drop(rows);
        self.settled.notify_waiters();
    }

    /// Takes the connection's link down, if it is one; calls on it have ended with its cut.
    fn lose(&self, rows: &mut Rows, number: u64) {
        let links = &rows.links;
        let Some((&boot, link)) = links.iter().find(|(_, link)| link.connection() == number) else {
            return;
        };
        let connection = rows.connections.get(&number);
        let lost = Lost {
            name: link.name().to_owned(),
            reason: connection
                .and_then(|connection| connection.reason)
                .unwrap_or(DownReason::Closed),
        };
        rows.links.remove(&boot);
        if rows.is_connected(boot) {
            rows.electing.insert(boot, lost);
        } else {
            self.tell_down(rows, boot, &lost);
        }
    }

    fn tell_down(&self, rows: &Rows, boot: BootId, lost: &Lost) {
        let Lost { name, reason } = lost;
        let listed = rows.peers.get(&boot);
        let address = listed.map_or_else(String::new, |listed| listed.peer.address.clone());
        if *reason == DownReason::Removed {
            tracing::info!(node.name = name, node.boot = %boot, "A node that left is not linked any more");
        } else {
            tracing::warn!(node.name = name, node.boot = %boot, address, ?reason, "Lost the link to a node");
        }
        let _ = self.events.send(LinkEvent::Down {
            boot,
            address,
            reason: *reason,
        });
    }
}

/// Runs [`Table::closed`] for it, whatever becomes of everything else.
pub(super) fn on_close(
    shared: &Arc<super::Shared>,
    number: u64,
) -> impl FnOnce() + Send + Sync + 'static {
    let shared = Arc::downgrade(shared);
    move || {
        if let Some(shared) = shared.upgrade() {
            shared.table.closed(number);
        }
    }
}
