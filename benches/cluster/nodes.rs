//! Nodes as processes of their own, over one store.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use faktor::cluster::placement::desired_owner;
use faktor::domain::ids::InvoiceId;
use faktor::store::{SHARDS, ShardId};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::client::{Connection, request};
use super::measure;
use super::store::Place;

const EMAIL: &str = "admin@faktor.example";
const PASSWORD: &str = "correct horse battery staple";
/// How long a start, or a cluster's coming to rest, may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// What every node is told beyond the defaults.
const SETTINGS: [(&str, &str); 8] = [
    // None leaves memory for want of room, in one process no more than in three.
    ("FAKTOR__ACTORS__MAX_LIVE_INVOICES", "1000000"),
    ("FAKTOR__ACTORS__IDLE_AFTER_S", "3600"),
    ("FAKTOR__AUTH__ACCESS_TOKEN_TTL_S", "86400"),
    // All mails go to one domain, faster than any real one would like.
    ("FAKTOR__MAIL__PER_DOMAIN_PER_MINUTE", "1000000"),
    ("FAKTOR__MAIL__PER_HOST_PER_MINUTE", "1000000"),
    // The sandbox's books are a file that all nodes share: who waits for it long is not to ask anew, or
    // the ways would not do the same work.
    ("FAKTOR__PAYMENTS__TIMEOUT_MS", "30000"),
    ("FAKTOR_ADMIN_EMAIL", EMAIL),
    ("FAKTOR_ADMIN_PASSWORD", PASSWORD),
];

/// A node; killed when dropped.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Node {
    fn start(place: &Place, name: &str, is_member: bool) -> Self {
        let address = free_address();
        let mut command = Command::new(binary());
        command.arg("serve").envs(SETTINGS);
        tell(&mut command, place, name, is_member);
        let child = command
            .env("FAKTOR__SERVER__LISTEN", address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(place.log(name)).unwrap())
            .spawn()
            .unwrap();
        let name = name.to_owned();
        Self {
            name,
            address,
            child,
        }
    }

    /// No farewell; the process is gone when this returns.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    async fn ready(&self) {
        let readiness = request("GET", "/health/readiness", None, "");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(mut connection) = Connection::open(self.address).await
                && let Ok((200, _)) = connection.ask(&readiness).await
            {
                return;
            }
            sleep(Duration::from_millis(2)).await;
        }
        panic!("{} does not get ready", self.name);
    }

    /// Processor time so far, user and system.
    fn cpu_seconds(&self) -> f64 {
        measure::cpu_seconds(self.child.id())
    }

    pub(crate) fn resident_kib(&self) -> f64 {
        measure::resident_kib(self.child.id())
    }
}

/// Several nodes, or one alone.
#[expect(clippy::struct_field_names, reason = "as they are called")]
pub(crate) struct Nodes {
    pub(crate) nodes: Vec<Node>,
    pub(crate) place: Place,
    pub(crate) token: String,
    are_members: bool,
}

impl Nodes {
    /// One node that knows of no cluster.
    pub(crate) async fn alone(place: Place) -> Self {
        Self::start(place, 1, false).await
    }

    pub(crate) async fn cluster(place: Place, count: usize) -> Self {
        let cluster = Self::start(place, count, true).await;
        cluster.at_rest().await;
        cluster
    }

    async fn start(place: Place, count: usize, are_members: bool) -> Self {
        let mut all = Self {
            nodes: Vec::new(),
            place,
            token: String::new(),
            are_members,
        };
        for node in 0..count {
            all.launch();
            all.ready(node).await;
        }
        all.token = all.sign_in().await;
        all
    }

    /// Starts one more, which is not ready yet.
    pub(crate) fn launch(&mut self) {
        let name = format!("n{}", self.nodes.len() + 1);
        let node = Node::start(&self.place, &name, self.are_members);
        self.nodes.push(node);
    }

    pub(crate) async fn ready(&self, node: usize) {
        self.nodes[node].ready().await;
    }

    /// Starts a killed node again.
    pub(crate) async fn start_again(&mut self, node: usize) {
        let name = self.nodes[node].name.clone();
        self.nodes[node] = Node::start(&self.place, &name, self.are_members);
        self.nodes[node].ready().await;
    }

    async fn sign_in(&self) -> String {
        let body = json!({"email": EMAIL, "password": PASSWORD}).to_string();
        let answer = self
            .ask(0, &request("POST", "/v1/auth/token", None, &body))
            .await;
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn ask(&self, node: usize, request: &[u8]) -> Value {
        let mut connection = Connection::open(self.nodes[node].address).await.unwrap();
        let (status, answer) = connection.ask(request).await.unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!((200..300).contains(&status), "{status} {text}");
        serde_json::from_slice(&answer).unwrap()
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.nodes.iter().map(Node::cpu_seconds).sum()
    }

    /// The node of each shard, as the book says; none where a shard has no owner now.
    pub(crate) async fn owners(&self, asked: usize) -> Vec<Option<usize>> {
        if !self.are_members {
            return vec![Some(0); usize::from(SHARDS)];
        }
        let request = request("GET", "/v1/cluster", Some(&self.token), "");
        let answer = self.ask(asked, &request).await;
        let leases = answer["leases"].as_array().unwrap();
        assert_eq!(leases.len(), usize::from(SHARDS));
        let by_name = |lease: &Value| {
            let name = lease["node"].as_str()?;
            self.nodes.iter().position(|node| node.name == name)
        };
        leases.iter().map(by_name).collect()
    }

    /// How many shards a node owns.
    pub(crate) async fn owned_by(&self, node: usize, asked: usize) -> usize {
        let owners = self.owners(asked).await;
        owners.iter().filter(|owner| **owner == Some(node)).count()
    }

    /// Where each shard should be while all nodes take part.
    fn wanted(&self) -> Vec<Option<usize>> {
        let names = || self.nodes.iter().map(|node| node.name.as_str());
        let wanted = (0..SHARDS).map(|shard| {
            let name = desired_owner(ShardId(shard), names())?;
            names().position(|known| known == name)
        });
        wanted.collect()
    }

    /// How many shards a node should own.
    pub(crate) fn share_of(&self, node: usize) -> usize {
        let wanted = self.wanted();
        wanted.iter().filter(|owner| **owner == Some(node)).count()
    }

    /// Waits until every shard is where it should be, as each node sees it.
    pub(crate) async fn at_rest(&self) {
        let wanted = self.wanted();
        let deadline = Instant::now() + PATIENCE;
        for asked in 0..self.nodes.len() {
            while self.owners(asked).await != wanted {
                assert!(Instant::now() < deadline, "the shards come to no rest");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Lets a node give away what it owns, or take part again.
    pub(crate) fn drain(&self, node: usize, back: bool) {
        let mut command = Command::new(binary());
        command.args(["cluster", "drain", &self.nodes[node].name]);
        if back {
            command.arg("--back");
        }
        tell(&mut command, &self.place, "operator", true);
        let status = command.stdout(Stdio::null()).status().unwrap();
        assert!(status.success());
    }

    /// SIGSTOP, at a moment when the node does not hold `SQLite`'s one lock: stopped with it, it would
    /// stop all others for good.
    pub(crate) async fn pause(&self, node: usize) {
        loop {
            self.nodes[node].signal(Signal::STOP);
            if self.place.can_be_written().await {
                return;
            }
            self.nodes[node].signal(Signal::CONT);
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Cargo's, or the one in `FAKTOR_BENCH_BINARY`, to compare builds.
fn binary() -> String {
    std::env::var("FAKTOR_BENCH_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_faktor").to_owned())
}

fn tell(command: &mut Command, place: &Place, name: &str, is_member: bool) {
    command.env("FAKTOR__STORAGE__DATA_DIR", place.data_dir());
    if let Some(url) = &place.postgres {
        command.env("FAKTOR__STORAGE__RELATIONAL", url);
    }
    if is_member {
        command.env("FAKTOR__CLUSTER__LISTEN", "127.0.0.1:0");
        command.env("FAKTOR__CLUSTER__NODE_NAME", name);
    }
}

/// An address nobody listens on at the moment.
fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
}

/// The node that owns an invoice.
pub(crate) fn owner_of(owners: &[Option<usize>], id: &str) -> Option<usize> {
    let id: InvoiceId = id.parse().unwrap();
    owners[usize::from(ShardId::of(id).0)]
}
