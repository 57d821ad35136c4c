//! A wire to MongoDB that a test listens to, and that loses replies when it is told to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bson::{Document, RawDocument};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// <https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>
const HEADER_BYTES: usize = 16;
const OP_MSG: i32 = 2_013;
const MORE_TO_COME: u32 = 2;
/// What the driver says by itself.
const HOUSEKEEPING: [&str; 7] = [
    "hello",
    "isMaster",
    "ismaster",
    "ping",
    "endSessions",
    "buildInfo",
    "createIndexes",
];

pub(crate) struct Proxy {
    /// The database behind this wire.
    pub(crate) url: String,
    wire: Arc<Wire>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Wire {
    commands: Mutex<Vec<Document>>,
    /// The names of the commands whose next replies are lost.
    losing: Mutex<Vec<&'static str>>,
    /// The command that waits on its way to the server.
    holding: Mutex<Option<Gate>>,
    /// The names of the commands that do not reach the server.
    swallowing: Mutex<Vec<&'static str>>,
    /// All replies are lost, but for what the driver says by itself.
    loses_all: AtomicBool,
    /// Nothing gets through, in either direction.
    is_cut: AtomicBool,
}

/// Where a command waits.
struct Gate {
    command: &'static str,
    arrived: oneshot::Sender<()>,
    open: oneshot::Receiver<()>,
}

/// A command that will wait, or does.
pub(crate) struct Held {
    arrived: oneshot::Receiver<()>,
    open: oneshot::Sender<()>,
}

impl Held {
    pub(crate) async fn arrived(&mut self) {
        (&mut self.arrived).await.unwrap();
    }

    pub(crate) fn let_go(self) {
        self.open.send(()).unwrap();
    }
}

impl Proxy {
    pub(crate) async fn before(url: &str) -> Self {
        let rest = url.strip_prefix("mongodb://").unwrap();
        let (server, database) = rest.split_once('/').unwrap();
        let server = server.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let wire = Arc::new(Wire::default());
        let accepting = tokio::spawn(accept(listener, server, Arc::clone(&wire)));
        Self {
            url: format!("mongodb://{address}/{database}?directConnection=true"),
            wire,
            accepting,
        }
    }

    /// The next reply to a command of this name does not come; the connection ends instead.
    pub(crate) fn lose_reply_to(&self, command: &'static str) {
        self.wire.losing.lock().unwrap().push(command);
    }

    /// The next command of this name does not reach the server; the connection ends instead.
    pub(crate) fn lose_request(&self, command: &'static str) {
        self.wire.swallowing.lock().unwrap().push(command);
    }

    /// The next command of this name waits before it reaches the server.
    pub(crate) fn hold(&self, command: &'static str) -> Held {
        let (arrive, arrived) = oneshot::channel();
        let (open, opened) = oneshot::channel();
        *self.wire.holding.lock().unwrap() = Some(Gate {
            command,
            arrived: arrive,
            open: opened,
        });
        Held { arrived, open }
    }

    pub(crate) fn lose_all_replies(&self, lose: bool) {
        self.wire.loses_all.store(lose, Ordering::Release);
    }

    /// Every connection ends, and no new one works.
    pub(crate) fn cut(&self) {
        self.wire.is_cut.store(true, Ordering::Release);
    }

    pub(crate) fn mend(&self) {
        self.wire.is_cut.store(false, Ordering::Release);
    }

    /// What was asked since this was called last, but for what the driver says by itself.
    pub(crate) fn commands(&self) -> Vec<Document> {
        std::mem::take(&mut *self.wire.commands.lock().unwrap())
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<String> {
        self.commands().iter().map(name).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn name(command: &Document) -> String {
    command.keys().next().cloned().unwrap_or_default()
}

async fn accept(listener: TcpListener, server: String, wire: Arc<Wire>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let (server, wire) = (server.clone(), Arc::clone(&wire));
        tokio::spawn(async move {
            // A connection that ends is what this is for.
            let _ = carry(client, &server, &wire).await;
        });
    }
}

async fn carry(mut client: TcpStream, server: &str, wire: &Wire) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    loop {
        let request = message(&mut client).await?;
        if wire.is_cut.load(Ordering::Acquire) {
            return Ok(());
        }
        let command = command(&request).map(|command| wire.note(command));
        if command
            .as_deref()
            .is_some_and(|name| take(&wire.swallowing, name))
        {
            return Ok(());
        }
        if let Some(gate) = command.as_deref().and_then(|name| wire.gate(name)) {
            gate.arrived.send(()).unwrap();
            gate.open.await.unwrap();
        }
        server.write_all(&request).await?;
        loop {
            let reply = message(&mut server).await?;
            let loses = command.as_deref().is_some_and(|name| wire.loses(name));
            if loses || wire.is_cut.load(Ordering::Acquire) {
                return Ok(());
            }
            client.write_all(&reply).await?;
            if !more_to_come(&reply) {
                break;
            }
        }
    }
}

impl Wire {
    fn note(&self, command: Document) -> String {
        let name = name(&command);
        if !HOUSEKEEPING.contains(&name.as_str()) {
            self.commands.lock().unwrap().push(command);
        }
        name
    }

    fn gate(&self, name: &str) -> Option<Gate> {
        let mut holding = self.holding.lock().unwrap();
        holding.take_if(|gate| gate.command == name)
    }

    fn loses(&self, name: &str) -> bool {
        if self.loses_all.load(Ordering::Acquire) && !HOUSEKEEPING.contains(&name) {
            return true;
        }
        take(&self.losing, name)
    }
}

fn take(names: &Mutex<Vec<&'static str>>, name: &str) -> bool {
    let mut names = names.lock().unwrap();
    let found = names.iter().position(|listed| *listed == name);
    found.map(|at| names.remove(at)).is_some()
}

/// A whole message, with its header.
async fn message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; HEADER_BYTES];
    stream.read_exact(&mut message).await?;
    let length = usize::try_from(number(&message, 0)).unwrap();
    message.resize(length, 0);
    stream.read_exact(&mut message[HEADER_BYTES..]).await?;
    Ok(message)
}

fn number(message: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(message[at..at + 4].try_into().unwrap())
}

fn is_op_msg(message: &[u8]) -> bool {
    number(message, 12) == OP_MSG
}

fn more_to_come(message: &[u8]) -> bool {
    is_op_msg(message) && number(message, HEADER_BYTES).cast_unsigned() & MORE_TO_COME != 0
}

/// The command of a message, without the documents that it brings along.
fn command(message: &[u8]) -> Option<Document> {
    let sections = message.get(HEADER_BYTES + 4..)?;
    if !is_op_msg(message) || sections.first() != Some(&0) {
        return None;
    }
    let body = &sections[1..];
    let length = usize::try_from(number(body, 0)).ok()?;
    let raw = RawDocument::from_bytes(&body[..length]).unwrap();
    Some(raw.try_into().unwrap())
}
