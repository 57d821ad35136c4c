//! Connections from outside.

use std::io;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, sleep, timeout};
use tokio_rustls::TlsStream;

use super::Shared;
use super::stream::{Open, Transport, Wire};
use super::table::on_close;

/// After an error of `accept`: mostly there are too many open files, and the next try would fail too.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            () = shared.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (number, cut) = shared.table.open(true);
                let open = Open::new(cut, on_close(&shared, number));
                tokio::spawn(receive(Arc::clone(&shared), stream, number, Arc::new(open)));
            }
            Err(error) => {
                tracing::warn!(%error, "A node's connection could not be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Has the connection prove in time whose it is.
async fn receive(shared: Arc<Shared>, stream: TcpStream, number: u64, open: Arc<Open>) {
    let cut = open.cut.clone();
    let proving = async {
        match secure(&shared, stream, number, open).await {
            Ok(wire) => shared.node.begin_session(wire, true),
            Err(error) => {
                tracing::debug!(%error, connection = number, "A connection was turned away");
                return;
            }
        }
        // Until its link is up, or its time over.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = cut.cancelled() => {}
        _ = timeout(shared.config.prove_within, proving) => {}
    }
    if !shared.table.is_up(number) {
        cut.cancel();
    }
}

async fn secure(
    shared: &Shared,
    stream: TcpStream,
    number: u64,
    open: Arc<Open>,
) -> io::Result<Wire> {
    stream.set_nodelay(true)?;
    let mut transport = match &shared.tls {
        None => Transport::Plain(stream),
        Some(tls) => {
            let stream = tls.acceptor.accept(stream).await?;
            Transport::Tls(Box::new(TlsStream::Server(stream)))
        }
    };
    let greeting = transport.greeted().await?;
    if greeting.to != shared.config.boot {
        return Err(io::Error::other("it means to reach another node"));
    }
    if !shared.table.welcomes(greeting.from) {
        return Err(io::Error::other("that node is linked already, or gone"));
    }
    Ok(Wire {
        number,
        transport,
        open,
    })
}
