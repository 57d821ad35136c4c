//! A connection that can be cut from outside, and the greeting it begins with.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use uuid::Uuid;

use crate::store::cluster::BootId;

/// Changes with whatever makes two nodes unable to talk to each other.
const MAGIC: [u8; 8] = *b"faktor/1";
const GREETING_BYTES: usize = MAGIC.len() + 16 + 16;
/// A reader of frames asks for 8 bytes, then for the rest: one system call for both, and for the
/// next frames too.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// Runs when a connection is really closed: both halves of its stream are gone.
pub(super) struct Open {
    pub(super) cut: CancellationToken,
    on_close: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Open {
    pub(super) fn new(
        cut: CancellationToken,
        on_close: impl FnOnce() + Send + Sync + 'static,
    ) -> Self {
        Self {
            cut,
            on_close: Some(Box::new(on_close)),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(on_close) = self.on_close.take() {
            on_close();
        }
    }
}

pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What the dialling node says first: whom it means to reach, and who it is.
///
/// It proves nothing; it turns away who does not know what this port is for, or has dialled a node
/// that was restarted, before any actor is started for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) to: BootId,
    pub(super) from: BootId,
}

impl Transport {
    pub(super) async fn greet(&mut self, greeting: Greeting) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(GREETING_BYTES);
        bytes.extend(MAGIC);
        bytes.extend(greeting.to.0.as_bytes());
        bytes.extend(greeting.from.0.as_bytes());
        match self {
            Self::Plain(stream) => stream.write_all(&bytes).await,
            Self::Tls(stream) => {
                stream.write_all(&bytes).await?;
                stream.flush().await
            }
        }
    }

    pub(super) async fn greeted(&mut self) -> io::Result<Greeting> {
        let mut bytes = [0; GREETING_BYTES];
        match self {
            Self::Plain(stream) => stream.read_exact(&mut bytes).await?,
            Self::Tls(stream) => stream.read_exact(&mut bytes).await?,
        };
        let (magic, boots) = bytes.split_at(MAGIC.len());
        let (to, from) = boots.split_at(16);
        let boot = |bytes| {
            Uuid::from_slice(bytes)
                .map(BootId)
                .map_err(io::Error::other)
        };
        if magic != MAGIC {
            return Err(io::Error::other("it did not greet as a node does"));
        }
        Ok(Greeting {
            to: boot(to)?,
            from: boot(from)?,
        })
    }
}

/// A greeted connection, for `ractor_cluster`.
pub(super) struct Wire {
    pub(super) number: u64,
    pub(super) transport: Transport,
    pub(super) open: Arc<Open>,
}

impl ClusterBidiStream for Wire {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        match self.transport {
            Transport::Plain(stream) => {
                let (reader, writer) = stream.into_split();
                halves(reader, writer, self.open)
            }
            Transport::Tls(stream) => {
                let (reader, writer) = tokio::io::split(stream);
                halves(reader, writer, self.open)
            }
        }
    }

    /// The number by which its session is known again.
    fn peer_label(&self) -> Option<String> {
        Some(self.number.to_string())
    }
}

fn halves(
    reader: impl AsyncRead + Unpin + Send + 'static,
    writer: impl AsyncWrite + Unpin + Send + 'static,
    open: Arc<Open>,
) -> (BoxRead, BoxWrite) {
    let reader = Reader {
        cut: Box::pin(open.cut.clone().cancelled_owned()),
        inner: BufReader::with_capacity(READ_BUFFER_BYTES, reader),
        _open: Arc::clone(&open),
    };
    let writer = Writer {
        inner: writer,
        _open: open,
    };
    (Box::new(reader), Box::new(writer))
}

/// Ends when it is cut: a session ends with its reader, whatever its writer waits for.
struct Reader<R> {
    inner: BufReader<R>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _open: Arc<Open>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Reader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let result = ready!(Pin::new(&mut self.inner).poll_read(context, buffer));
        Poll::Ready(result)
    }
}

struct Writer<W> {
    inner: W,
    _open: Arc<Open>,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Writer<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
