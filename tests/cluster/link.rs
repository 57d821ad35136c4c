//! The wires between the nodes: a proxy before each node's port, that knows who calls and can cut any
//! two nodes off from each other.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};

/// Which wires are cut, and which nodes are there at all.
#[derive(Debug, Clone, Default)]
struct Wires {
    /// Pairs, the lower number first. Nothing goes through, and nothing is closed.
    cut: HashSet<(usize, usize)>,
    /// Process ids; none for a node that is gone, whose port refuses.
    processes: Vec<Option<u32>>,
}

impl Wires {
    fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cut.contains(&(one.min(other), one.max(other)))
    }
}

/// All the wires of a cluster.
pub(crate) struct Links {
    wires: watch::Sender<Wires>,
    /// Aborted with this.
    proxies: JoinSet<()>,
    /// They keep the ports of nodes and proxies from everybody else while nobody listens there.
    reserved: Vec<TcpSocket>,
}

impl Links {
    pub(crate) fn new() -> Self {
        Self {
            wires: watch::Sender::new(Wires::default()),
            proxies: JoinSet::new(),
            reserved: Vec::new(),
        }
    }

    /// Where the next node has to listen, and which address it has to tell the others.
    pub(crate) fn add(&mut self) -> (SocketAddr, SocketAddr) {
        let (behind, address) = (self.reserve(), self.reserve());
        let node = self.wires.borrow().processes.len();
        self.wires.send_modify(|wires| wires.processes.push(None));
        let way = Way {
            node,
            address,
            behind,
        };
        self.proxies.spawn(accept(way, self.wires.subscribe()));
        (behind, address)
    }

    /// An address at which others can listen who may use it again (`SO_REUSEADDR`), and nobody gets it
    /// by chance.
    fn reserve(&mut self) -> SocketAddr {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option");
        socket
            .bind(([127, 0, 0, 1], 0).into())
            .expect("a free port");
        let address = socket.local_addr().expect("its address");
        self.reserved.push(socket);
        address
    }

    /// The node's process, or none: then its port refuses, as that of a dead process does.
    pub(crate) fn set_process(&self, node: usize, process: Option<u32>) {
        self.wires.send_modify(|wires| {
            if let Some(known) = wires.processes.get_mut(node) {
                *known = process;
            }
        });
    }

    pub(crate) fn cut(&self, one: usize, other: usize) {
        self.wires.send_modify(|wires| {
            wires.cut.insert((one.min(other), one.max(other)));
        });
    }

    pub(crate) fn mend_all(&self) {
        self.wires.send_modify(|wires| wires.cut.clear());
    }
}

#[derive(Clone, Copy)]
struct Way {
    node: usize,
    address: SocketAddr,
    behind: SocketAddr,
}

/// Listens while the node's process is there.
async fn accept(way: Way, mut wires: watch::Receiver<Wires>) {
    let mut listener: Option<TcpListener> = None;
    loop {
        if wires.borrow_and_update().processes[way.node].is_none() {
            listener = None;
            if wires.changed().await.is_err() {
                return;
            }
            continue;
        }
        let Some(open) = &listener else {
            listener = TcpListener::bind(way.address).await.ok();
            tokio::task::yield_now().await;
            continue;
        };
        tokio::select! {
            accepted = open.accept() => {
                if let Ok((client, from)) = accepted {
                    tokio::spawn(carry(way, client, from, wires.clone()));
                }
            }
            _ = wires.changed() => {}
        }
    }
}

async fn carry(way: Way, client: TcpStream, from: SocketAddr, mut wires: watch::Receiver<Wires>) {
    let processes = wires.borrow().processes.clone();
    // The table is long on a machine with many connections, also of others, and of those that are gone.
    let looking = spawn_blocking(move || caller(from, way.address, &processes));
    let Ok(caller) = looking.await else { return };
    let pair = (way.node, caller.unwrap_or(way.node));
    unless_cut(&mut wires, pair).await;
    let Ok(server) = TcpStream::connect(way.behind).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // What one side's end means to the other passes over the wire as well.
    tokio::select! {
        () = pass(from_client, to_server, pair, wires.clone()) => {}
        () = pass(from_server, to_client, pair, wires.clone()) => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    pair: (usize, usize),
    mut wires: watch::Receiver<Wires>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await;
        unless_cut(&mut wires, pair).await;
        let Ok(length @ 1..) = read else { return };
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn unless_cut(wires: &mut watch::Receiver<Wires>, pair: (usize, usize)) {
    let _ = wires.wait_for(|wires| !wires.is_cut(pair.0, pair.1)).await;
}

/// Whose process has the other end of a connection.
fn caller(from: SocketAddr, to: SocketAddr, processes: &[Option<u32>]) -> Option<usize> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let (local, remote) = (port(from), port(to));
    let mut lines = table.lines().filter(|line| line.contains(&local));
    let inode = lines.find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let matches = fields.get(1)?.ends_with(&local) && fields.get(2)?.ends_with(&remote);
        matches.then(|| fields.get(9).copied()).flatten()
    })?;
    let socket = format!("socket:[{inode}]");
    processes.iter().position(|process| {
        process.is_some_and(|process| {
            fs::read_dir(format!("/proc/{process}/fd")).is_ok_and(|files| {
                files
                    .filter_map(Result::ok)
                    .filter_map(|file| fs::read_link(file.path()).ok())
                    .any(|target| target.as_os_str() == socket.as_str())
            })
        })
    })
}

/// As `/proc/net/tcp` writes it.
fn port(address: SocketAddr) -> String {
    format!(":{:04X}", address.port())
}
