//! A cheap HTTP/1.1 client: keep-alive connections that send prepared bytes and time the answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// The bytes of a request, by connection and by how many this connection has sent.
pub(crate) type Requests = Arc<dyn Fn(usize, usize) -> Arc<[u8]> + Send + Sync>;

/// How a load is put on a server.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
    /// Time between two requests of one connection; none: the next as soon as the last is answered.
    /// Latency then counts from the time the request was due.
    pub(crate) pace: Option<Duration>,
}

impl Plan {
    pub(crate) fn full(connections: usize, duration: Duration) -> Self {
        Self {
            connections,
            duration,
            pace: None,
        }
    }
}

/// What came of a load.
#[derive(Default)]
pub(crate) struct Load {
    pub(crate) answered: usize,
    pub(crate) refused: usize,
    pub(crate) seconds: f64,
    latencies_us: Vec<u32>,
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        self.answered as f64 / self.seconds
    }

    pub(crate) fn percentile_ms(&mut self, percent: usize) -> f64 {
        self.latencies_us.sort_unstable();
        let at = self.latencies_us.len() * percent / 100;
        let at = at.min(self.latencies_us.len().saturating_sub(1));
        f64::from(self.latencies_us[at]) / 1e3
    }
}

/// One keep-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The answer before.
    last: Vec<u8>,
    sent: usize,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let buffer = || Vec::with_capacity(64 * 1024);
        Ok(Self {
            stream,
            buffer: buffer(),
            last: buffer(),
            sent: 0,
        })
    }

    /// Sends a request and reads its answer whole: the status, and where the body stands in the
    /// buffer. An error says how far the connection had come.
    async fn exchange(&mut self, request: &[u8]) -> std::io::Result<(u16, usize)> {
        std::mem::swap(&mut self.buffer, &mut self.last);
        self.buffer.clear();
        self.send_and_read(request).await.map_err(|error| {
            let told = format!(
                "{error} (requests sent on this connection: {}; the last answer said `connection: close`: {}; \
                 bytes of the next one: {})",
                self.sent,
                if said_close(&self.last) { "yes" } else { "no" },
                self.buffer.len()
            );
            std::io::Error::new(error.kind(), told)
        })
    }

    async fn send_and_read(&mut self, request: &[u8]) -> std::io::Result<(u16, usize)> {
        self.stream.write_all(request).await?;
        self.sent += 1;
        let mut wanted = usize::MAX;
        let mut body = 0;
        let mut searched = 0_usize;
        while self.buffer.len() < wanted {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                let told = "the server closed the connection";
                return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, told));
            }
            if wanted == usize::MAX {
                let from = searched.saturating_sub(3);
                searched = self.buffer.len();
                let end = self.buffer[from..]
                    .windows(4)
                    .position(|four| four == b"\r\n\r\n");
                if let Some(end) = end {
                    body = from + end + 4;
                    // Our servers never send chunks here.
                    wanted = body + number_of(&self.buffer[..body], "content-length").unwrap_or(0);
                }
            }
        }
        let status = std::str::from_utf8(&self.buffer[9..12])
            .unwrap()
            .parse()
            .unwrap();
        Ok((status, body))
    }

    /// The status and the body of an answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
        let (status, body) = self.exchange(request).await?;
        Ok((status, self.buffer[body..].to_vec()))
    }
}

/// A header's value, in an answer's head.
fn value_of<'a>(head: &'a [u8], header: &str) -> Option<&'a str> {
    let head = std::str::from_utf8(head).unwrap();
    let mut lines = head.split("\r\n");
    lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(header).then(|| value.trim())
    })
}

/// A header's number, in an answer's head.
fn number_of(head: &[u8], header: &str) -> Option<usize> {
    value_of(head, header).map(|value| value.parse().unwrap())
}

/// Whether an answer said that its connection ends with it.
fn said_close(answer: &[u8]) -> bool {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
    head.and_then(|end| value_of(&answer[..end], "connection"))
        .is_some_and(|value| value.eq_ignore_ascii_case("close"))
}

/// A request's bytes.
pub(crate) fn request(method: &str, path: &str, token: Option<&str>, body: &str) -> Arc<[u8]> {
    let authorization = token.map_or(String::new(), |token| {
        format!("authorization: Bearer {token}\r\n")
    });
    let content = if body.is_empty() {
        String::new()
    } else {
        format!(
            "content-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        )
    };
    format!("{method} {path} HTTP/1.1\r\nhost: faktor\r\n{authorization}{content}\r\n{body}")
        .into_bytes()
        .into()
}

/// Puts a load on a server. Ends on any answer but 2xx and 429.
pub(crate) async fn load(address: SocketAddr, plan: Plan, requests: Requests) -> Load {
    let connections: Vec<_> = join_all((0..plan.connections).map(|_| Connection::open(address)))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let started = Instant::now();
    let until = started + plan.duration;
    let loads = connections
        .into_iter()
        .enumerate()
        .map(|(number, connection)| {
            tokio::spawn(one_connection(
                connection,
                number,
                plan,
                until,
                Arc::clone(&requests),
            ))
        });
    let mut all = Load::default();
    for load in join_all(loads).await {
        let load = load.unwrap();
        all.answered += load.answered;
        all.refused += load.refused;
        all.latencies_us.extend(load.latencies_us);
    }
    all.seconds = started.elapsed().as_secs_f64();
    all
}

async fn one_connection(
    mut connection: Connection,
    number: usize,
    plan: Plan,
    until: Instant,
    requests: Requests,
) -> Load {
    let mut load = Load::default();
    // Paced connections start one after the other, not all at once.
    let share = plan.pace.unwrap_or_default() * u32::try_from(number).unwrap()
        / u32::try_from(plan.connections).unwrap();
    let mut due = Instant::now() + share;
    for sent in 0.. {
        if let Some(pace) = plan.pace {
            tokio::time::sleep_until(due).await;
            due += pace;
        }
        let begun = Instant::now();
        if begun >= until {
            break;
        }
        let request = requests(number, sent);
        let (status, body) = connection.exchange(&request).await.unwrap();
        let latency = begun.elapsed();
        match status {
            200..300 => {
                load.answered += 1;
                load.latencies_us
                    .push(u32::try_from(latency.as_micros()).unwrap());
            }
            429 => {
                load.refused += 1;
                let wait = number_of(&connection.buffer[..body], "retry-after").unwrap_or(1);
                let wait = Duration::from_secs(wait as u64);
                tokio::time::sleep(wait.min(until - Instant::now().min(until))).await;
            }
            _ => panic!(
                "{status}: {}",
                String::from_utf8_lossy(&connection.buffer[body..])
            ),
        }
    }
    load
}
