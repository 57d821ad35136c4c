//! A server of one test's own, which can be killed without harm to others.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::time::{Duration, Instant, sleep};

/// Started by `scripts/services` in a directory of its own, where it keeps what it is given over a
/// kill; stopped when it goes.
pub(crate) struct OwnServer {
    name: String,
    home: TempDir,
    /// By the script's names. They stay ours while nobody listens there.
    ports: Vec<(&'static str, TcpSocket)>,
    /// The script's switches, besides.
    switches: Vec<(&'static str, String)>,
}

/// Where a server listens, by the script's names.
fn ports_of(name: &str) -> &'static [&'static str] {
    match name {
        "POSTGRES" => &["POSTGRES"],
        "MONGO" => &["MONGO"],
        "REDIS" => &["REDIS"],
        // On the last one the test itself does.
        "KAFKA" => &["KAFKA", "KAFKA_CTL", "KAFKA_UP", "KAFKA_FAULT"],
        "SMTP" => &["SMTP", "SMTP_API"],
        // The script starts Stripe's mock beside it, which tells it the shapes of Stripe's objects.
        "STRIPE" => &["STRIPE", "STRIPE_MOCK", "STRIPE_MOCK_TLS"],
        other => panic!("{other} is no server that a test can start"),
    }
}

/// A port at which others can listen who may use it again (`SO_REUSEADDR`), and nobody gets it by
/// chance.
fn reserve() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    let any = ([127, 0, 0, 1], 0).into();
    socket.bind(any).expect("a free port");
    socket
}

impl OwnServer {
    /// `name` as the script's variables have it.
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_with(name, Vec::new()).await
    }

    /// With switches that the script has for it.
    pub(crate) async fn start_with(name: &str, switches: Vec<(&'static str, String)>) -> Self {
        let server = Self {
            name: name.to_owned(),
            home: tempfile::tempdir().expect("a directory"),
            ports: ports_of(name)
                .iter()
                .map(|port| (*port, reserve()))
                .collect(),
            switches,
        };
        // PostgreSQL runs as another user.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(server.home.path(), open).expect("rights");
        server.start_again().await;
        server
    }

    /// As it was started by.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) async fn start_again(&self) {
        let mut command = self.script(&["up", &self.name.to_lowercase()]);
        let started = tokio::task::spawn_blocking(move || command.status()).await;
        assert!(started.expect("a run").expect("bash").success());
    }

    /// One of its addresses, as the tests' variables name them.
    pub(crate) fn address(&self, name: &str) -> String {
        let lines = self
            .script(&["env"])
            .stdout(Stdio::piped())
            .output()
            .expect("bash");
        let lines = String::from_utf8_lossy(&lines.stdout).into_owned();
        let begin = format!("export FAKTOR_TEST_{name}_URL=\"");
        let url = lines.lines().find_map(|line| line.strip_prefix(&begin));
        url.expect("its address").trim_end_matches('"').to_owned()
    }

    /// As a loss of power to the process: no farewell.
    pub(crate) async fn kill(&self) {
        let pid = self.home.path().join(self.name.to_lowercase()).join("pid");
        let pid = std::fs::read_to_string(pid).expect("its process id");
        let pid = pid.split_whitespace().next().expect("a number");
        let group = format!("-{pid}");
        let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
        assert!(killed.expect("kill").success());
        // A new one does not start beside what is left of it.
        let process = Path::new("/proc").join(pid);
        let deadline = Instant::now() + Duration::from_secs(10);
        while process.exists() && Instant::now() < deadline {
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn script(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("bash");
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/services"))
            .args(arguments)
            .env("SERVICES_HOME", self.home.path())
            .env("SERVICES_PORT_SHIFT", "0")
            .env("SERVICES_KEEP", "1")
            .envs(self.switches.iter().cloned())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        for (name, socket) in &self.ports {
            let port = socket.local_addr().expect("an address").port();
            command.env(format!("SERVICES_PORT_{name}"), port.to_string());
        }
        command
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // What does not stop goes with the machine.
        let _ = self.script(&["down"]).status();
    }
}
