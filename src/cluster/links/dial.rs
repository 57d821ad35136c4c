//! Connections to others.

use std::io;
use std::sync::Arc;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Duration, sleep, timeout};
use tokio_rustls::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::sync::CancellationToken;

use super::stream::{Greeting, Open, Transport, Wire};
use super::table::on_close;
use super::{Peer, Shared, node};
use crate::clock::random_bytes;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Of two nodes that dial each other one waits this long first: mostly one connection is enough.
const COURTESY: Duration = Duration::from_millis(200);
/// Of a row of failures one is told.
const TELL_AT: u32 = 3;
/// A proof of death is asked for twice, in this distance.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// An address that answers later than this proves nothing.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// Between half of it and all of it.
fn jitter(pause: Duration) -> Duration {
    let [byte] = random_bytes::<1>();
    pause.mul_f64(0.5 + f64::from(byte) / 512.0)
}

/// Dials the peer whenever it is not linked, until it is removed.
pub(super) async fn keep_linked(shared: Arc<Shared>, peer: Peer, removed: CancellationToken) {
    tokio::select! {
        () = removed.cancelled() => {}
        () = shared.stopping.cancelled() => {}
        () = dial_for_ever(&shared, &peer) => {}
    }
}

async fn dial_for_ever(shared: &Arc<Shared>, peer: &Peer) {
    let own = node::full_name(&shared.config.name, shared.config.boot);
    if own < node::full_name(&peer.name, peer.boot) {
        sleep(COURTESY).await;
    }
    let mut pause = FIRST_PAUSE;
    let mut failures = 0_u32;
    loop {
        if let Some(link) = shared.table.link(peer.boot) {
            link.down().await;
            (pause, failures) = (FIRST_PAUSE, 0);
        } else {
            let problem = match dial(shared, peer).await {
                Ok(()) => {
                    "the connection closed before the node was proven: do the cookies differ?"
                        .to_owned()
                }
                Err(error) => error.to_string(),
            };
            if shared.table.link(peer.boot).is_some() {
                continue;
            }
            failures = failures.saturating_add(1);
            // The first ones may have met a connection from the other side.
            if failures == TELL_AT {
                tracing::warn!(
                    node = peer.name,
                    address = peer.address,
                    problem,
                    "A node can't be linked"
                );
            }
        }
        sleep(jitter(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One try; returns when its connection has ended, or when its link is up.
async fn dial(shared: &Arc<Shared>, peer: &Peer) -> io::Result<()> {
    let (number, cut) = shared.table.open(false);
    let open = Arc::new(Open::new(cut.clone(), on_close(shared, number)));
    let proving = async {
        let transport = connect(shared, peer).await?;
        let wire = Wire {
            number,
            transport,
            open,
        };
        shared.node.begin_session(wire, false);
        shared.table.settled(number).await;
        Ok(())
    };
    let outcome = timeout(shared.config.prove_within, proving).await;
    if !shared.table.is_up(number) {
        cut.cancel();
    }
    outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn connect(shared: &Shared, peer: &Peer) -> io::Result<Transport> {
    let stream = TcpStream::connect(&peer.address).await?;
    stream.set_nodelay(true)?;
    let mut transport = match &shared.tls {
        None => Transport::Plain(stream),
        Some(tls) => {
            let host = host(&peer.address).to_owned();
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            let stream = tls.connector.connect(name, stream).await?;
            Transport::Tls(Box::new(TlsStream::Client(stream)))
        }
    };
    let greeting = Greeting {
        to: peer.boot,
        from: shared.config.boot,
    };
    transport.greet(greeting).await?;
    Ok(transport)
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Whether the address proves that no process listens there: every address that it resolves to
/// refuses a connection, twice. Silence, or any other answer, is no proof.
pub async fn is_refused(address: &str) -> bool {
    if !all_refuse(address).await {
        return false;
    }
    sleep(ASK_AGAIN_AFTER).await;
    all_refuse(address).await
}

async fn all_refuse(address: &str) -> bool {
    let Ok(Ok(addresses)) = timeout(ANSWER_WITHIN, lookup_host(address)).await else {
        return false;
    };
    let mut asked = 0;
    for address in addresses {
        asked += 1;
        match timeout(ANSWER_WITHIN, TcpStream::connect(address)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            _ => return false,
        }
    }
    asked > 0
}
