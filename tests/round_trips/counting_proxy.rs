//! A TCP proxy that a test puts before a server, to count how often the node waits for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Listens on a free port of 127.0.0.1 until it is dropped.
pub(crate) struct CountingProxy {
    address: SocketAddr,
    begun: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl CountingProxy {
    /// A proxy before the server of a URL, and the URL by way of it.
    pub(crate) async fn before(url: &str) -> (Self, String) {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let (authority, path) = rest.split_once('/').expect("a path in the URL");
        let (user, server) = match authority.rsplit_once('@') {
            Some((user, server)) => (format!("{user}@"), server),
            None => (String::new(), authority),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let begun = Arc::new(AtomicU64::new(0));
        let accepting = tokio::spawn(accept(listener, server.to_owned(), Arc::clone(&begun)));
        let proxy = Self {
            address,
            begun,
            accepting,
        };
        let url = format!("{scheme}://{user}{}/{path}", proxy.address);
        (proxy, url)
    }

    /// Round trips that have begun so far, on all connections: each time that the client says
    /// something at first, or after the server did.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }
}

impl Drop for CountingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: String, begun: Arc<AtomicU64>) {
    loop {
        let (client, _) = listener.accept().await.expect("a connection");
        let (server, begun) = (server.clone(), Arc::clone(&begun));
        tokio::spawn(async move {
            let server = TcpStream::connect(server).await.expect("the server");
            for stream in [&client, &server] {
                stream.set_nodelay(true).expect("an open connection");
            }
            let turn = Turn {
                is_clients: AtomicBool::new(true),
                begun,
            };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            // Either side's end is the other's.
            tokio::select! {
                () = carry(from_client, to_server, || turn.client_speaks()) => {}
                () = carry(from_server, to_client, || turn.server_speaks()) => {}
            }
        });
    }
}

/// Who begins the next round trip of a connection.
struct Turn {
    is_clients: AtomicBool,
    begun: Arc<AtomicU64>,
}

impl Turn {
    fn client_speaks(&self) {
        if self.is_clients.swap(false, Ordering::SeqCst) {
            self.begun.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn server_speaks(&self) {
        self.is_clients.store(true, Ordering::SeqCst);
    }
}

/// Notes before it passes on: who hears the answer finds its round trip counted.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, note: impl Fn()) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        note();
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
