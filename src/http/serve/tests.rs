//! Real sockets.

use std::net::SocketAddr;

use axum::routing::{get, post};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;

/// Short, for tests that wait for it; and so long that no test does.
const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_mins(10);
const QUICK: &str = "GET /quick HTTP/1.1\r\nhost: a\r\n\r\n";
const SLOW: &str = "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n";
const CRASH: &str = "GET /crash HTTP/1.1\r\nhost: a\r\n\r\n";
/// An HTTP/2 client's first words: the preface and empty settings.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// After those: the request for `/crash` as the first stream (RFC 9113, 6.2; RFC 7541, 6).
const HTTP2_CRASH: &[u8] = b"\0\0\x0d\x01\x05\0\0\0\x01\x82\x86\x04\x06/crash\x01\x01a";

struct Server {
    address: SocketAddr,
    stopping: CancellationToken,
    /// Lets a slow request come to its end.
    go_on: Arc<Semaphore>,
    /// Counts the slow requests that have begun.
    begun: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(
        max_connections: usize,
        header_timeout: Duration,
        idle_timeout: Duration,
    ) -> Self {
        Self::start_lingering(
            max_connections,
            header_timeout,
            idle_timeout,
            Duration::ZERO,
        )
        .await
    }

    async fn start_lingering(
        max_connections: usize,
        header_timeout: Duration,
        idle_timeout: Duration,
        linger: Duration,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (go_on, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (wait, tell) = (Arc::clone(&go_on), Arc::clone(&begun));
        let crash = {
            let (wait, tell) = (Arc::clone(&wait), Arc::clone(&tell));
            async move || Body::from_stream(crash(wait, tell).into_stream())
        };
        let slow = move || async move {
            tell.add_permits(1);
            wait.acquire().await.unwrap().forget();
            "slow"
        };
        let router = Router::new()
            .route("/quick", get(async || "quick"))
            .route("/read", post(async |body: String| body))
            .route("/slow", get(slow))
            .route("/crash", get(crash));
        let limits = Limits {
            header_timeout,
            idle_timeout,
            max_connections,
            linger,
        };
        let stopping = CancellationToken::new();
        let task = tokio::spawn(serve(listener, router, limits, stopping.clone()));
        Self {
            address,
            stopping,
            go_on,
            begun,
            task,
        }
    }

    /// A connection that has said so much.
    async fn connect(&self, said: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(said.as_ref()).await.unwrap();
        stream
    }

    async fn stop(self) {
        self.stopping.cancel();
        in_time(self.task).await.unwrap();
    }
}

/// A body that panics in place of its first byte, outside of any handler.
async fn crash(wait: Arc<Semaphore>, tell: Arc<Semaphore>) -> Result<&'static str, Infallible> {
    tell.add_permits(1);
    wait.acquire().await.unwrap().forget();
    panic!("the body is broken")
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    let patience = Duration::from_secs(20);
    timeout(patience, what).await.expect("it happens in time")
}

/// Reads until the answer's body is there.
async fn read_until(stream: &mut TcpStream, body: &str) {
    let mut answer = Vec::new();
    while !answer.ends_with(body.as_bytes()) {
        let read = in_time(stream.read_buf(&mut answer)).await.unwrap();
        assert!(read > 0, "closed after {answer:?}");
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

/// Resolves when the other side has closed the connection, however it did.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = in_time(stream.read_to_end(&mut rest)).await;
}

#[tokio::test]
async fn whoever_does_not_finish_a_head_in_time_is_cut_off() {
    let server = Server::start(100, SHORT, SHORT).await;
    let mut kept_alive = server.connect(QUICK).await;
    read_until(&mut kept_alive, "quick").await;
    kept_alive.write_all(b"GET /quick HT").await.unwrap();
    let mut idle = server.connect(QUICK).await;
    read_until(&mut idle, "quick").await;
    let slow = [
        server.connect("").await,
        server.connect("GET /quick HTTP/1.1\r\nhost:").await,
        server.connect(&HTTP2[..5]).await,
        server.connect(HTTP2).await,
        kept_alive,
        idle,
    ];
    for stream in slow {
        closed(stream).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_kept_longer_than_a_first_head_may_take() {
    let server = Server::start(100, SHORT, LONG).await;
    let mut idle = server.connect(QUICK).await;
    read_until(&mut idle, "quick").await;
    for _ in 0..2 {
        closed(server.connect("").await).await;
    }
    idle.write_all(QUICK.as_bytes()).await.unwrap();
    read_until(&mut idle, "quick").await;
    server.stop().await;
}

#[tokio::test]
async fn a_request_may_take_longer_than_its_head() {
    let server = Server::start(100, SHORT, SHORT).await;
    let mut stream = server.connect(SLOW).await;
    for _ in 0..2 {
        closed(server.connect("").await).await;
    }
    server.go_on.add_permits(1);
    read_until(&mut stream, "slow").await;
    server.stop().await;
}

#[tokio::test]
async fn a_stop_waits_for_nobody_who_asks_for_nothing() {
    let server = Server::start(100, LONG, LONG).await;
    let mut idle = server.connect(QUICK).await;
    read_until(&mut idle, "quick").await;
    let mut half_sent = server.connect(QUICK).await;
    read_until(&mut half_sent, "quick").await;
    half_sent.write_all(b"GET /quick HT").await.unwrap();
    let _others = [
        server.connect("").await,
        server.connect("GET /quick HTTP/1.1\r\nhost:").await,
        server.connect(&HTTP2[..5]).await,
        server.connect(HTTP2).await,
    ];
    let start = Instant::now();
    server.stop().await;
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_request_under_way_is_finished_at_a_stop_and_nobody_new_is_taken() {
    let server = Server::start(100, LONG, LONG).await;
    let mut stream = server.connect(SLOW).await;
    server.begun.acquire().await.unwrap().forget();
    server.stopping.cancel();
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.task.is_finished());
    server.go_on.add_permits(1);
    read_until(&mut stream, "slow").await;
    closed(stream).await;
    in_time(server.task).await.unwrap();
}

#[tokio::test]
async fn more_connections_than_the_bound_wait_until_one_ends() {
    let server = Server::start(2, LONG, LONG).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect(QUICK).await;
        read_until(&mut stream, "quick").await;
        open.push(stream);
    }
    let mut waiting = server.connect(QUICK).await;
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    let nothing = waiting.try_read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    open.pop();
    read_until(&mut waiting, "quick").await;
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_was_on_its_way_at_a_stop_is_answered_and_told_that_it_is_the_last() {
    let server = Server::start_lingering(100, LONG, LONG, LONG).await;
    let mut idle = server.connect(QUICK).await;
    read_until(&mut idle, "quick").await;
    let new = server.connect("").await;
    server.stopping.cancel();
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    for mut stream in [idle, new] {
        stream.write_all(QUICK.as_bytes()).await.unwrap();
        let mut answer = String::new();
        in_time(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert!(answer.ends_with("quick"), "{answer}");
    }
    in_time(server.task).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_ends_by_a_panic_is_counted_and_costs_no_other() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let server = Server::start(10, LONG, LONG).await;
    let mut other = server.connect(QUICK).await;
    read_until(&mut other, "quick").await;
    server.go_on.add_permits(1);
    closed(server.connect(CRASH).await).await;
    other.write_all(QUICK.as_bytes()).await.unwrap();
    read_until(&mut other, "quick").await;
    in_time(counted(&recorder, "connection")).await;
    server.stop().await;
}

#[tokio::test]
async fn a_stream_of_http2_that_ends_by_a_panic_is_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let server = Server::start(10, LONG, LONG).await;
    let client = server.connect([HTTP2, HTTP2_CRASH].concat()).await;
    server.go_on.add_permits(1);
    in_time(counted(&recorder, "stream")).await;
    drop(client);
    server.stop().await;
    assert_eq!(panics(&recorder, "connection"), 0);
}

#[tokio::test]
async fn a_connection_that_ends_by_a_panic_while_the_node_stops_is_counted() {
    for linger in [Duration::ZERO, LONG] {
        let recorder = PrometheusBuilder::new().build_recorder();
        let _recording = metrics::set_default_local_recorder(&recorder);
        let server = Server::start_lingering(10, LONG, LONG, linger).await;
        let stream = server.connect(CRASH).await;
        server.begun.acquire().await.unwrap().forget();
        server.stopping.cancel();
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        server.go_on.add_permits(1);
        closed(stream).await;
        in_time(server.task).await.unwrap();
        assert_eq!(panics(&recorder, "connection"), 1, "{linger:?}");
    }
}

/// Resolves when a panic was counted that cost such a part.
async fn counted(recorder: &PrometheusRecorder, part: &str) {
    while panics(recorder, part) == 0 {
        tokio::task::yield_now().await;
    }
}

/// How many panics were counted that cost such a part.
fn panics(recorder: &PrometheusRecorder, part: &str) -> u64 {
    let metrics = recorder.handle().render();
    let name = format!("faktor_http_panics_total{{part=\"{part}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
    count.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn an_answer_before_the_body_was_read_says_that_the_connection_ends() {
    let server = Server::start(10, LONG, LONG).await;
    for path in ["/quick", "/nowhere"] {
        let request = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n");
        let mut stream = server.connect(request).await;
        let answer = in_time(read_head(&mut stream)).await;
        assert!(answer.contains("connection: close"), "{answer}");
    }
    let read = "POST /read HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
    let chunks = "POST /read HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let mut stream = server.connect(read).await;
    for next in [chunks, read, QUICK] {
        let answer = in_time(read_head(&mut stream)).await;
        assert!(answer.contains("200 OK"), "{answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
        stream.write_all(next.as_bytes()).await.unwrap();
    }
    in_time(read_until(&mut stream, "quick")).await;
}

/// Reads to the end of a head, and what came with it.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut buffer = [0; 4_096];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "closed without an answer");
        read.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(read).unwrap()
}
