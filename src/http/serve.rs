//! Connections: accepted up to a bound, each with a time limit for its request heads, and let go at a
//! stop without waiting for those that ask for nothing.

use std::convert::Infallible;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Version, header};
use axum::response::Response;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Duration, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::Service as _;
use unread::Watched;

use super::middleware::panic_message;

mod unread;

/// How long to wait after the system refused a connection, such as for want of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_secs(1);
/// How often an HTTP/2 client is asked whether it is still there, and how long it has to answer.
const PING_EVERY: Duration = Duration::from_secs(10);
const PONG_WITHIN: Duration = Duration::from_secs(5);

/// Longer than clients keep an idle connection (Go and reqwest: 90 s; load balancers mostly 60 s): the
/// one who closes it must not be the one who does not know whether a request is on its way.
pub const IDLE_TIMEOUT: Duration = Duration::from_mins(2);

/// The bounds of all connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long the first request's head may take, from the start of the connection.
    pub header_timeout: Duration,
    /// How long to wait for the head of the next one on HTTP/1: hyper has one limit for a connection
    /// that is idle and for a head that was begun. An HTTP/2 client that answers its pings is kept.
    pub idle_timeout: Duration,
    /// Connections open at once. More wait in the kernel's queue.
    pub max_connections: usize,
    /// At a stop, how long those that ask for nothing are kept: a client whose request is just then on
    /// its way would not know what came of it. One that asks hears that this was its last answer here.
    pub linger: Duration,
}

/// Serves until `stopping`, then lets the requests under way come to their end. Dropped before, it
/// cuts them off.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stopping: CancellationToken,
) {
    // Makes every route ready once, and not for each request.
    let router = router.with_state(());
    let builder = builder(limits.idle_timeout);
    let ending = CancellationToken::new();
    let connection = || Connection {
        builder: builder.clone(),
        router: router.clone(),
        header_timeout: limits.header_timeout,
        closing: stopping.clone(),
        // One of its own, so that connections don't meet at one lock.
        stopping: ending.child_token(),
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept(), if connections.len() < limits.max_connections => {
                match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection().run(stream));
                    }
                    Err(error) => tokio::select! {
                        () = stopping.cancelled() => break,
                        () = back_off(&error) => {}
                    },
                }
            }
            Some(ended) = connections.join_next() => notice(ended),
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        metrics::gauge!("faktor_http_connections").set(connections.len() as f64);
    }
    if !limits.linger.is_zero() {
        // The kernel took them already, and would cut them off.
        while let Some(Ok((stream, _))) = listener.accept().now_or_never() {
            connections.spawn(connection().run(stream));
        }
    }
    // Whoever comes now is refused at once.
    drop(listener);
    let _ = timeout(limits.linger, all_ended(&mut connections)).await;
    ending.cancel();
    all_ended(&mut connections).await;
}

async fn all_ended(connections: &mut JoinSet<()>) {
    while let Some(ended) = connections.join_next().await {
        notice(ended);
    }
}

/// No connection fails but by a panic, which leaves its client without an answer.
fn notice(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tell_of_panic("connection", &error.to_string());
    }
}

fn tell_of_panic(part: &'static str, panic: &str) {
    metrics::counter!("faktor_http_panics_total", "part" => part).increment(1);
    tracing::error!(part, panic, "a panic cut a client off");
}

/// Runs the streams of HTTP/2, each of which is a task, and tells of those that panic.
#[derive(Clone)]
struct Streams;

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(stream).catch_unwind().await {
                tell_of_panic("stream", &panic_message(&*panic));
            }
        });
    }
}

fn builder(idle_timeout: Duration) -> Builder<Streams> {
    let mut builder = Builder::new(Streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN);
    builder
}

/// A caller that went away while it waited is its own affair; anything else needs a pause, or the
/// loop would spin.
async fn back_off(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        return;
    }
    tracing::error!(%error, "a connection could not be accepted; tried again in 1 s");
    sleep(ACCEPT_BACKOFF).await;
}

/// One connection, from its acceptance to its end.
struct Connection {
    builder: Builder<Streams>,
    router: Router,
    header_timeout: Duration,
    /// From now on each answer is its connection's last.
    closing: CancellationToken,
    stopping: CancellationToken,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        // Small answers and events go out at once. A socket that can't is about to fail anyway.
        let _ = stream.set_nodelay(true);
        let asked = Arc::new(AtomicBool::new(false));
        let service = Edge {
            router: self.router,
            closing: self.closing,
            asked: Arc::clone(&asked),
        };
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let mut stopping = pin!(self.stopping.cancelled());
        // hyper's own limit is that of idle connections.
        let mut first_head = pin!(sleep(self.header_timeout));
        let (mut is_new, mut is_stopping) = (true, false);
        loop {
            tokio::select! {
                // First what has come in: a request that is there is under way.
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error, "a connection ended early");
                    }
                    return;
                }
                () = &mut stopping, if !is_stopping => {
                    is_stopping = true;
                    // hyper would wait for a head that was begun.
                    if !asked.load(Ordering::Relaxed) {
                        return;
                    }
                    connection.as_mut().graceful_shutdown();
                }
                () = &mut first_head, if is_new => {
                    is_new = false;
                    if !asked.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
        }
    }
}

/// The router as hyper calls it.
struct Edge {
    router: Router,
    closing: CancellationToken,
    /// Whether any request has come yet.
    asked: Arc<AtomicBool>,
}

impl hyper::service::Service<Request<Incoming>> for Edge {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.asked.store(true, Ordering::Relaxed);
        // HTTP/2 has a word of its own for the last answer, which hyper says at the end, and other
        // streams whatever becomes of one.
        let says_close = request.version() < Version::HTTP_2;
        let is_last = says_close && self.closing.is_cancelled();
        // A router is always ready.
        let mut router = self.router.clone();
        if !says_close || request.body().is_end_stream() {
            let answering = router.call(request.map(Body::new));
            return Box::pin(answering.map(move |answer| close_if(is_last, answer)));
        }
        let (request, is_read) = Watched::watch(request);
        Box::pin(router.call(request).map(move |answer| {
            let is_unread = !is_read.load(Ordering::Relaxed);
            close_if(is_last || is_unread, answer)
        }))
    }
}

/// Says that the connection ends with this answer.
fn close_if(is_last: bool, answer: Result<Response, Infallible>) -> Result<Response, Infallible> {
    answer.map(|mut response| {
        if is_last {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    })
}

#[cfg(test)]
mod tests;
