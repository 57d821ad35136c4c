//! A server of one test's own, which can be killed without harm to others.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

/// Started by `scripts/services` in a directory of its own; stopped when it goes.
pub(crate) struct OwnServer {
    name: String,
    home: TempDir,
    port: u16,
}

impl OwnServer {
    /// `name` as the script's variables have it: `POSTGRES`, `MONGO` or `REDIS`.
    pub(crate) async fn start(name: &str) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server = Self {
            name: name.to_owned(),
            home: tempfile::tempdir().expect("a directory"),
            port: free.local_addr().expect("an address").port(),
        };
        drop(free);
        // PostgreSQL runs as another user.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(server.home.path(), open).expect("rights");
        server.start_again().await;
        server
    }

    pub(crate) async fn start_again(&self) {
        let mut command = self.script("up");
        let started = tokio::task::spawn_blocking(move || command.status()).await;
        assert!(started.expect("a run").expect("bash").success());
    }

    /// Its address, as the tests' variables have it.
    pub(crate) fn url(&self) -> String {
        let lines = self
            .script("env")
            .stdout(Stdio::piped())
            .output()
            .expect("bash");
        let lines = String::from_utf8_lossy(&lines.stdout).into_owned();
        let begin = format!("export FAKTOR_TEST_{}_URL=\"", self.name);
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

    fn script(&self, what: &str) -> Command {
        let mut command = Command::new("bash");
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/services"))
            .arg(what)
            .env("SERVICES_HOME", self.home.path())
            .env("SERVICES_PORT_SHIFT", "0")
            .env(
                format!("SERVICES_PORT_{}", self.name),
                self.port.to_string(),
            )
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if what != "env" {
            command.arg(self.name.to_lowercase());
        }
        command
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // What does not stop goes with the machine.
        let _ = self.script("down").status();
    }
}
