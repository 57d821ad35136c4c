//! Several nodes over one store, and what can be done to them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, PoisonError, RwLock};
use std::time::Duration;

use reqwest::Client;
use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::link::Links;
use crate::node::Node;

const EMAIL: &str = "admin@faktor.test";
const PASSWORD: &str = "correct horse battery";

/// What every node of a test is told.
const SETTINGS: [(&str, &str); 14] = [
    ("FAKTOR__SERVER__LISTEN", "127.0.0.1:0"),
    ("FAKTOR__SERVER__DRAIN_TIMEOUT_S", "20"),
    ("FAKTOR__EFFECTS__FIRST_DELAY_MS", "50"),
    ("FAKTOR__EFFECTS__MAX_DELAY_MS", "2000"),
    // A fault of minutes parks nothing.
    ("FAKTOR__EFFECTS__MAX_ATTEMPTS", "100"),
    ("FAKTOR__ACTORS__SWEEP_INTERVAL_MS", "200"),
    // Less than pm_slow takes, and pm_lost_reply is asked again soon.
    ("FAKTOR__PAYMENTS__TIMEOUT_MS", "2000"),
    ("FAKTOR__MAIL__PER_DOMAIN_PER_MINUTE", "100000"),
    ("FAKTOR__MAIL__PER_HOST_PER_MINUTE", "100000"),
    ("FAKTOR__AUTH__ACCESS_TOKEN_TTL_S", "86400"),
    ("FAKTOR__LOG__FORMAT", "json"),
    (
        "FAKTOR__LOG__FILTER",
        "info,faktor::http=warn,ractor_cluster=error",
    ),
    ("FAKTOR_ADMIN_EMAIL", EMAIL),
    ("FAKTOR_ADMIN_PASSWORD", PASSWORD),
];

/// How a test's cluster is set up.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) nodes: usize,
    /// PostgreSQL's address; none: one SQLite file that all nodes share.
    pub(crate) postgres: Option<String>,
    /// None: as configured by default.
    pub(crate) lease_ttl_ms: Option<u64>,
    /// Whether the nodes reach each other by wires that can be cut.
    pub(crate) has_wires: bool,
}

impl Setup {
    pub(crate) const fn of(nodes: usize) -> Self {
        Self {
            nodes,
            postgres: None,
            lease_ttl_ms: None,
            has_wires: false,
        }
    }
}

/// What the last panic said.
static FAILURE: Mutex<String> = Mutex::new(String::new());

/// Panics leave their words in [`FAILURE`], too.
fn note_failures() {
    static NOTING: Once = Once::new();
    NOTING.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            *FAILURE.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string();
            usual(panic);
        }));
    });
}

/// Where clients find the nodes; none for one that left.
pub(crate) type Addresses = Arc<RwLock<Vec<Option<String>>>>;

/// Ends all its processes when it goes; shows the ends of their logs when the test failed.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) addresses: Addresses,
    pub(crate) token: String,
    wires: Option<Links>,
    setup: Setup,
    directory: TempDir,
}

impl Cluster {
    /// `arrange` sees the nodes before they start.
    pub(crate) async fn start_with(setup: Setup, arrange: impl FnOnce(&mut [Node])) -> Self {
        note_failures();
        let mut cluster = Self {
            wires: setup.has_wires.then(Links::new),
            nodes: Vec::new(),
            addresses: Addresses::default(),
            token: String::new(),
            directory: tempfile::tempdir().expect("a directory"),
            setup,
        };
        for _ in 0..cluster.setup.nodes {
            cluster.add();
        }
        arrange(&mut cluster.nodes);
        // The first one makes the store and its first user.
        cluster.start_nodes(&[0]).await;
        let others: Vec<usize> = (1..cluster.nodes.len()).collect();
        cluster.start_nodes(&others).await;
        cluster.token = cluster.sign_in().await;
        cluster
    }

    /// One more node, which is not started yet.
    pub(crate) fn add(&mut self) -> usize {
        let index = self.nodes.len();
        let name = format!("n{}", index + 1);
        let environment = self.environment(&name);
        let mut node = Node::new(name, self.directory.path(), environment);
        if let Some(wires) = &mut self.wires {
            let (listen, advertise) = wires.add();
            node.set("FAKTOR__CLUSTER__LISTEN", listen.to_string());
            node.set("FAKTOR__CLUSTER__ADVERTISE", advertise.to_string());
        }
        self.nodes.push(node);
        self.addresses
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(None);
        index
    }

    fn environment(&self, name: &str) -> Vec<(String, String)> {
        let data_dir = self.data_dir().display().to_string();
        let mut settings = vec![("FAKTOR__STORAGE__DATA_DIR", data_dir)];
        settings.extend(SETTINGS.map(|(key, value)| (key, value.to_owned())));
        if let Some(postgres) = &self.setup.postgres {
            settings.push(("FAKTOR__STORAGE__RELATIONAL", postgres.clone()));
        }
        if self.setup.nodes > 1 {
            settings.push(("FAKTOR__CLUSTER__LISTEN", "127.0.0.1:0".to_owned()));
            settings.push(("FAKTOR__CLUSTER__NODE_NAME", name.to_owned()));
            settings.push((
                "FAKTOR__CLUSTER__COOKIE",
                "chaos-cookie-of-a-test".to_owned(),
            ));
            if let Some(ttl) = self.setup.lease_ttl_ms {
                settings.push(("FAKTOR__CLUSTER__LEASE_TTL_MS", ttl.to_string()));
            }
        }
        let owned = |(key, value): (&str, String)| (key.to_owned(), value);
        settings.into_iter().map(owned).collect()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn postgres(&self) -> Option<&str> {
        self.setup.postgres.as_deref()
    }

    pub(crate) fn address(&self, node: usize) -> Option<String> {
        let addresses = self.addresses.read();
        addresses.unwrap_or_else(PoisonError::into_inner)[node].clone()
    }

    fn set_address(&self, node: usize, address: Option<String>) {
        let addresses = self.addresses.write();
        addresses.unwrap_or_else(PoisonError::into_inner)[node] = address;
    }

    /// Starts nodes side by side, and waits until each of them listens.
    pub(crate) async fn start_nodes(&mut self, nodes: &[usize]) {
        let begun: Vec<(usize, u64)> = nodes
            .iter()
            .map(|&node| (node, self.launch(node)))
            .collect();
        for (node, begin) in begun {
            let address = self.nodes[node].listening(begin).await;
            self.set_address(node, Some(address));
        }
    }

    fn launch(&mut self, node: usize) -> u64 {
        let begin = self.nodes[node].launch();
        self.wire(node);
        begin
    }

    /// Tells the wires whether a node's process is there.
    fn wire(&self, node: usize) {
        if let Some(wires) = &self.wires {
            wires.set_process(node, self.nodes[node].process_id());
        }
    }

    /// SIGKILL; clients keep the address, as they can't know.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
        self.wire(node);
    }

    /// Nothing passes between two nodes any more, in either direction.
    pub(crate) fn cut(&self, one: usize, other: usize) {
        self.wires.as_ref().expect("wires").cut(one, other);
    }

    pub(crate) fn mend(&self) {
        self.wires.as_ref().expect("wires").mend_all();
    }

    /// SIGSTOP, at a moment when the node does not write to a file that it shares with others: SQLite
    /// has one lock for all of them, which a stopped process would keep.
    pub(crate) async fn pause(&self, node: usize) {
        loop {
            self.nodes[node].signal(Signal::STOP);
            let data_dir = self.data_dir();
            let is_free = self.postgres().is_some() || can_write(&data_dir.join("faktor.db")).await;
            if is_free && can_write(&data_dir.join("sandbox.db")).await {
                return;
            }
            self.resume(node);
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn resume(&self, node: usize) {
        self.nodes[node].signal(Signal::CONT);
    }

    /// SIGTERM: the node hands over what it has, and leaves.
    pub(crate) async fn stop(&mut self, node: usize) {
        self.nodes[node].signal(Signal::TERM);
        let status = self.nodes[node].ended().await;
        self.wire(node);
        assert!(status.success(), "{}: {status}", self.nodes[node].name);
        self.set_address(node, None);
    }

    pub(crate) async fn stop_all(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].is_running() {
                self.stop(node).await;
            }
        }
    }

    /// Those whose process is there.
    pub(crate) fn running(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|&node| self.nodes[node].is_running())
            .collect()
    }

    async fn sign_in(&self) -> String {
        let url = format!("{}/v1/auth/token", self.address(0).expect("an address"));
        let credentials = json!({"email": EMAIL, "password": PASSWORD});
        let answer = Client::new().post(url).json(&credentials).send().await;
        let answer: Value = answer.expect("an answer").json().await.expect("JSON");
        let token = answer["access_token"].as_str();
        token.expect("a token").to_owned()
    }

    /// How many shards a node owns, as another one reads it in the book.
    pub(crate) async fn shards_of(&self, node: usize) -> u64 {
        let asked = self.running().into_iter().find(|other| *other != node);
        let asked = self.address(asked.expect("another node"));
        let url = format!("{}/v1/cluster", asked.expect("an address"));
        let request = Client::new().get(url).bearer_auth(&self.token);
        let answer = request.send().await.expect("an answer");
        let body: Value = answer.json().await.expect("JSON");
        let nodes = body["nodes"].as_array().expect("nodes");
        nodes
            .iter()
            .filter(|member| member["name"] == self.nodes[node].name && member["state"] != "gone")
            .filter_map(|member| member["shards"].as_u64())
            .sum()
    }

    /// Waits until every running node says that it takes requests.
    pub(crate) async fn ready(&self) {
        let client = Client::new();
        let deadline = Instant::now() + Duration::from_mins(1);
        for node in self.running() {
            let url = format!(
                "{}/health/readiness",
                self.address(node).expect("an address")
            );
            loop {
                let answer = client.get(&url).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    break;
                }
                assert!(Instant::now() < deadline, "n{} is not ready", node + 1);
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Whether the write lock of an SQLite file can be had.
async fn can_write(file: &Path) -> bool {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .busy_timeout(Duration::from_millis(700));
    if !file.exists() {
        return true;
    }
    let Ok(mut connection) = options.connect().await else {
        return false;
    };
    let locked = connection.execute("BEGIN IMMEDIATE; ROLLBACK").await;
    let _ = connection.close().await;
    locked.is_ok()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.kill();
        }
        if std::thread::panicking() {
            for node in &self.nodes {
                eprintln!("--- the end of {}'s log\n{}", node.name, node.tail());
            }
            self.directory.disable_cleanup(true);
            eprintln!("--- all is kept in {}", self.directory.path().display());
            // Once more: of a long output often only the end is looked at.
            let said = FAILURE.lock().unwrap_or_else(PoisonError::into_inner);
            eprintln!("--- it failed because\n{said}");
        }
    }
}
