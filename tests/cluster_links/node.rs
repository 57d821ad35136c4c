//! A node with nothing but links: in this process, or in one of its own that this test program
//! starts from itself.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use faktor::clock::new_uuid;
use faktor::cluster::gateway::Inbound;
use faktor::cluster::links::{Link, LinkEvent, LinkTls, Links, LinksConfig, LinksError, Peer};
use faktor::config::Secret;
use faktor::store::cluster::BootId;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::broadcast;
use tokio::time::{Duration, sleep, timeout};

/// Set for a child: its configuration.
const NODE: &str = "FAKTOR_TEST_LINKS_NODE";
const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const ANYWHERE: &str = "127.0.0.1:0";

/// What a call's first byte asks for.
pub(crate) const ECHO: u8 = b'e';
/// The number of casts so far.
pub(crate) const COUNT: u8 = b'c';
/// No answer.
pub(crate) const HANG: u8 = b'h';
pub(crate) const PANIC: u8 = b'p';
/// An answer of 17 MiB.
pub(crate) const FLOOD: u8 = b'f';

#[derive(Default)]
pub(crate) struct Playground {
    casts: AtomicUsize,
}

#[async_trait]
impl Inbound for Playground {
    async fn call(&self, payload: Vec<u8>) -> Vec<u8> {
        match payload.first() {
            Some(&COUNT) => self.casts.load(Ordering::SeqCst).to_string().into_bytes(),
            Some(&HANG) => std::future::pending().await,
            Some(&PANIC) => panic!("as asked"),
            Some(&FLOOD) => vec![0; 17 * 1024 * 1024],
            _ => payload,
        }
    }

    fn cast(&self, payload: Vec<u8>) {
        assert_ne!(payload[0], PANIC, "as asked");
        self.casts.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn config(name: &str) -> LinksConfig {
    let cookie = Secret::new("a cookie for tests".to_owned());
    LinksConfig::new(
        ANYWHERE.parse().unwrap(),
        BootId(new_uuid()),
        name.to_owned(),
        cookie,
    )
}

pub(crate) async fn start(config: LinksConfig) -> Result<Links, LinksError> {
    Links::start(config, Arc::new(Playground::default())).await
}

/// Waits for an event that fits.
pub(crate) async fn event(
    events: &mut broadcast::Receiver<LinkEvent>,
    fits: impl Fn(&LinkEvent) -> bool,
) -> LinkEvent {
    let found = async {
        loop {
            let event = events.recv().await.unwrap();
            if fits(&event) {
                return event;
            }
        }
    };
    timeout(PATIENCE, found).await.unwrap()
}

/// Waits for the condition, asking often.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("not in time: {what}"));
}

pub(crate) async fn linked(links: &Links, boot: BootId) -> Link {
    until("a link", || links.link(boot).is_some()).await;
    links.link(boot).unwrap()
}

/// A node in a process of its own. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    commands: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
    pub(crate) boot: BootId,
    name: String,
    pub(crate) addr: SocketAddr,
}

impl Process {
    pub(crate) async fn start(config: &LinksConfig) -> Self {
        let tls = config.tls.as_ref().map_or(String::new(), |tls| {
            [&tls.cert, &tls.key, &tls.ca]
                .map(|path| path.display().to_string())
                .join("|")
        });
        let (listen, boot, name) = (config.listen, config.boot, &config.name);
        let cookie = config.cookie.expose();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["node::node_process", "--exact", "--nocapture"])
            .env(NODE, format!("{listen}\n{boot}\n{name}\n{cookie}\n{tls}"))
            // Naming a trace's functions takes a panicking node longer than its peers wait for a ping.
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let addr = answer(&mut said).await.parse().unwrap();
        Self {
            child,
            commands,
            said,
            boot: config.boot,
            name: config.name.clone(),
            addr,
        }
    }

    pub(crate) fn peer(&self) -> Peer {
        peer(self.boot, &self.name, self.addr)
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap()
    }

    async fn ask(&mut self, command: &str) -> String {
        self.commands.write_all(command.as_bytes()).await.unwrap();
        self.commands.write_all(b"\n").await.unwrap();
        answer(&mut self.said).await
    }

    pub(crate) async fn set_peers(&mut self, peers: &[Peer]) {
        let peers: Vec<_> = peers
            .iter()
            .map(|peer| format!("{} {} {}", peer.boot, peer.name, peer.address))
            .collect();
        self.ask(&format!("peers {}", peers.join(","))).await;
    }

    /// How many links it has.
    pub(crate) async fn links(&mut self) -> usize {
        self.ask("links").await.parse().unwrap()
    }

    /// Open files of the process.
    pub(crate) fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id().unwrap());
        std::fs::read_dir(folder).unwrap().count()
    }

    pub(crate) fn memory_mib(&self) -> usize {
        memory_mib(&self.child.id().unwrap().to_string())
    }

    /// The ports on which it listens.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let pid = self.child.id().unwrap();
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let sockets: Vec<_> = files
            .filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
            .map(|target| target.display().to_string())
            .collect();
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
        let rows = table.lines().map(|row| row.split_whitespace().collect());
        rows.filter(|row: &Vec<_>| {
            // Listening, and this process's.
            row[3] == "0A" && sockets.contains(&format!("socket:[{}]", row[9]))
        })
        .map(|row| u16::from_str_radix(row[1].split_once(':').unwrap().1, 16).unwrap())
        .collect()
    }

    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

/// Resident memory of a process; `self` is this one.
pub(crate) fn memory_mib(pid: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}

pub(crate) fn peer(boot: BootId, name: &str, addr: SocketAddr) -> Peer {
    Peer {
        boot,
        name: name.to_owned(),
        address: format!("localhost:{}", addr.port()),
    }
}

async fn answer(said: &mut Lines<BufReader<ChildStdout>>) -> String {
    let marked = async {
        loop {
            let line = said.next_line().await.unwrap().expect("the node is gone");
            if let Some((_, answer)) = line.split_once('@') {
                return answer.to_owned();
            }
        }
    };
    timeout(PATIENCE, marked).await.unwrap()
}

/// The node process: does nothing unless it is started by [`Process::start`].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_process() {
    let Ok(settings) = std::env::var(NODE) else {
        return;
    };
    let settings: Vec<_> = settings.split('\n').collect();
    let [listen, boot, name, cookie, tls] = settings.try_into().unwrap();
    let mut config = LinksConfig::new(
        listen.parse().unwrap(),
        BootId(boot.parse().unwrap()),
        name.to_owned(),
        Secret::new(cookie.to_owned()),
    );
    if let [cert, key, ca] = tls.split('|').collect::<Vec<_>>()[..] {
        let (cert, key, ca) = (cert.into(), key.into(), ca.into());
        config.tls = Some(LinkTls { cert, key, ca });
    }
    let links = start(config).await.unwrap();
    println!("@{}", links.local_addr());
    // Its end is the test's.
    tokio::task::block_in_place(|| obey(&links));
}

fn obey(links: &Links) {
    for command in std::io::stdin().lines().map_while(Result::ok) {
        if let Some(peers) = command.strip_prefix("peers ") {
            let peers = peers.split(',').filter(|peer| !peer.is_empty());
            links.set_peers(peers.map(parse).collect());
            println!("@done");
        } else {
            println!("@{}", links.status().len());
        }
    }
}

fn parse(peer: &str) -> Peer {
    let parts: Vec<_> = peer.split(' ').collect();
    let [boot, name, address] = parts.try_into().unwrap();
    Peer {
        boot: BootId(boot.parse().unwrap()),
        name: name.to_owned(),
        address: address.to_owned(),
    }
}
