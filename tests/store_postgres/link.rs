//! The way to the server, which a test can block and cut.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// What the server answers does not arrive, though the connection stands.
    AnswersHeldBack,
    /// Nothing arrives on either side, though the connection stands.
    Silent,
    /// Every connection is closed, and a new one closed at once.
    Cut,
}

/// A port that leads to the server.
pub(crate) struct Link {
    pub(crate) url: String,
    way: Arc<watch::Sender<Way>>,
}

impl Link {
    /// Listens before the server of the address.
    pub(crate) async fn before(url: &str) -> Self {
        let (front, rest) = url.split_once('@').unwrap();
        let (server, database) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = Arc::new(watch::channel(Way::Open).0);
        tokio::spawn(serve(listener, server.to_owned(), Arc::clone(&way)));
        Self {
            url: format!("{front}@{address}/{database}"),
            way,
        }
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn serve(listener: TcpListener, server: String, way: Arc<watch::Sender<Way>>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            return;
        };
        if *way.borrow() == Way::Cut {
            continue;
        }
        let Ok(server) = TcpStream::connect(&server).await else {
            continue;
        };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let (there, back) = (way.subscribe(), way.subscribe());
        tokio::spawn(pump(from_client, to_server, there, |way| {
            way != Way::Silent
        }));
        tokio::spawn(pump(from_server, to_client, back, |way| way == Way::Open));
    }
}

/// Carries bytes one way while it is passable, until it is cut.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    passable: fn(Way) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = way.wait_for(|way| *way == Way::Cut) => return,
        };
        let Ok(read @ 1..) = read else { return };
        let seen = way.wait_for(|way| passable(*way) || *way == Way::Cut);
        match seen.await.map(|way| *way) {
            Ok(Way::Cut) | Err(_) => return,
            Ok(_) => {}
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
