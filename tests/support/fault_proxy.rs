//! A TCP proxy that a test puts before a server, to cut, refuse or delay what goes through it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// What the proxy does with its connections, those that are open included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing: all goes through.
    Pass,
    /// Open connections are cut, and nobody listens: the server is gone.
    Refuse,
    /// Requests go through; of the next answer of each connection only half does, then it is cut.
    CutMidAnswer,
    /// Every answer is held back for so long.
    Delay(Duration),
    /// Nothing goes through, and nothing is closed: a wire that was cut, a machine that hangs.
    Stall,
}

/// Listens on a free port of 127.0.0.1 until it is dropped.
pub(crate) struct FaultProxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    /// Bytes of answers.
    carried: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// A proxy before the server at `server` (host:port), which need not be there yet.
    pub(crate) async fn before(server: &str) -> Self {
        Self::at("127.0.0.1:0", server).await
    }

    /// As [`before`](Self::before), for a server that tells its clients where to connect: `listen` is
    /// the address that it tells them.
    pub(crate) async fn at(listen: &str, server: &str) -> Self {
        let listener = bound(listen).await;
        let address = listener.local_addr().expect("its address");
        let (fault, faults) = watch::channel(Fault::Pass);
        let carried = Arc::default();
        let route = Route {
            server: server.to_owned(),
            faults,
            carried: Arc::clone(&carried),
        };
        let accepting = tokio::spawn(accept(address, listener, route));
        Self {
            address,
            fault,
            carried,
            accepting,
        }
    }

    /// The server's URL by way of the proxy: its `host:port` replaced.
    pub(crate) fn url(&self, server: &str) -> String {
        server.replacen(host_of(server), &self.address.to_string(), 1)
    }

    /// Host and port to use instead of the server's.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for open connections and new ones.
    pub(crate) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// How many bytes of answers have gone through.
    pub(crate) fn carried(&self) -> usize {
        self.carried.load(Ordering::Relaxed)
    }
}

/// What each connection is told.
#[derive(Clone)]
struct Route {
    server: String,
    faults: watch::Receiver<Fault>,
    carried: Arc<AtomicUsize>,
}

/// The proxy before at the same address may still be on its way out.
async fn bound(listen: &str) -> TcpListener {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match TcpListener::bind(listen).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                sleep(Duration::from_millis(10)).await;
            }
            bound => return bound.expect("a free port"),
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.fault.send_replace(Fault::Refuse);
    }
}

/// `host:port` of a URL, with or without a scheme, a user and a path.
pub(crate) fn host_of(server: &str) -> &str {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

async fn accept(address: SocketAddr, listener: TcpListener, route: Route) {
    let mut faults = route.faults.clone();
    let mut listener = Some(listener);
    loop {
        if *faults.borrow_and_update() == Fault::Refuse {
            listener = None;
            if faults.changed().await.is_err() {
                return;
            }
            continue;
        }
        let Some(open) = &listener else {
            // Somebody else may have the port for a moment.
            listener = TcpListener::bind(address).await.ok();
            tokio::task::yield_now().await;
            continue;
        };
        let accepted = tokio::select! {
            accepted = open.accept() => accepted,
            _ = faults.changed() => continue,
        };
        // Such as too many open files: the next one may do.
        let Ok((client, _)) = accepted else { continue };
        let route = route.clone();
        tokio::spawn(async move {
            // Either side's end is the other's.
            if let Ok(server) = TcpStream::connect(&route.server).await {
                carry(client, server, route).await;
            }
        });
    }
}

async fn carry(client: TcpStream, server: TcpStream, route: Route) {
    let mut refused = route.faults.clone();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = requests(from_client, to_server, route.faults.clone()) => {}
        () = answers(from_server, to_client, route) => {}
        _ = refused.wait_for(|fault| *fault == Fault::Refuse) => {}
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut faults: watch::Receiver<Fault>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        unless_stalled(&mut faults).await;
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, route: Route) {
    let mut faults = route.faults;
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        unless_stalled(&mut faults).await;
        let fault = *faults.borrow();
        let passed = match fault {
            Fault::CutMidAnswer => length / 2,
            _ => length,
        };
        if let Fault::Delay(delay) = fault {
            sleep(delay).await;
        }
        if to.write_all(&buffer[..passed]).await.is_err() || passed < length {
            return;
        }
        route.carried.fetch_add(passed, Ordering::Relaxed);
    }
}

async fn unless_stalled(faults: &mut watch::Receiver<Fault>) {
    // The proxy is gone: nothing is held back any more.
    let _ = faults.wait_for(|fault| *fault != Fault::Stall).await;
}
