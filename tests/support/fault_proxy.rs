//! A TCP proxy that a test puts before a server, to cut, refuse or delay what goes through it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the proxy does with its connections, those that are open included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing: all goes through.
    Pass,
    /// Open connections are cut, new ones are closed as soon as they are made: the server is gone.
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
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// A proxy before the server at `server` (host:port), which need not be there yet.
    pub(crate) async fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (fault, faults) = watch::channel(Fault::Pass);
        let accepting = tokio::spawn(accept(listener, server.to_owned(), faults));
        Self {
            address,
            fault,
            accepting,
        }
    }

    /// Host and port to use instead of the server's.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for open connections and new ones.
    pub(crate) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.fault.send_replace(Fault::Refuse);
    }
}

async fn accept(listener: TcpListener, server: String, faults: watch::Receiver<Fault>) {
    loop {
        // Such as too many open files: the next one may do.
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        if *faults.borrow() == Fault::Refuse {
            continue;
        }
        let (server, faults) = (server.clone(), faults.clone());
        tokio::spawn(async move {
            // Either side's end is the other's.
            if let Ok(server) = TcpStream::connect(&server).await {
                carry(client, server, faults).await;
            }
        });
    }
}

async fn carry(client: TcpStream, server: TcpStream, faults: watch::Receiver<Fault>) {
    let mut refused = faults.clone();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = requests(from_client, to_server, faults.clone()) => {}
        () = answers(from_server, to_client, faults) => {}
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

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut faults: watch::Receiver<Fault>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        unless_stalled(&mut faults).await;
        let fault = *faults.borrow();
        let passed = match fault {
            Fault::CutMidAnswer => length / 2,
            _ => length,
        };
        if let Fault::Delay(delay) = fault {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&buffer[..passed]).await.is_err() || passed < length {
            return;
        }
    }
}

async fn unless_stalled(faults: &mut watch::Receiver<Fault>) {
    // The proxy is gone: nothing is held back any more.
    let _ = faults.wait_for(|fault| *fault != Fault::Stall).await;
}
