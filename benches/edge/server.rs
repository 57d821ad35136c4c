//! Servers as processes of their own: started, watched from outside, stopped.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use super::client::{Connection, request};
use super::measure;

pub(crate) const EMAIL: &str = "admin@faktor.example";
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A server's process; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts `faktor serve` with its default settings; its log goes to a file, as a service's does.
    pub(crate) fn faktor(data: &Path, settings: &[(&str, &str)]) -> Self {
        let address = free_address();
        let log = File::create(data.with_extension("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_faktor"))
            .arg("serve")
            .env("FAKTOR__SERVER__LISTEN", address.to_string())
            .env("FAKTOR__STORAGE__DATA_DIR", data)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, address }
    }

    /// Starts this program again as the bare server of `arguments`, which prints its address.
    pub(crate) fn bare(arguments: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(super::bare::ARGUMENT)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().parse().unwrap();
        Self { child, address }
    }

    /// Waits until the server says that it is ready.
    pub(crate) async fn ready(&self) {
        let readiness = request("GET", "/health/readiness", None, "");
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Ok(mut connection) = Connection::open(self.address).await
                && let Ok((200, _)) = connection.ask(&readiness).await
            {
                return;
            }
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
        panic!("the server does not get ready");
    }

    /// An access token of the first user.
    pub(crate) async fn login(&self) -> String {
        let mut connection = Connection::open(self.address).await.unwrap();
        let (status, body) = connection.ask(&login_request()).await.unwrap();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// Ends the server as a service manager does, and waits for it.
    pub(crate) fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// Processor time so far, user and system.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        measure::cpu_seconds(self.child.id())
    }

    pub(crate) fn resident_kib(&self) -> f64 {
        measure::resident_kib(self.child.id())
    }
}

/// What makes the first user.
pub(crate) const FIRST_USER: &[(&str, &str)] = &[
    ("FAKTOR_ADMIN_EMAIL", EMAIL),
    ("FAKTOR_ADMIN_PASSWORD", PASSWORD),
];

pub(crate) fn login_request() -> std::sync::Arc<[u8]> {
    let body = serde_json::json!({"email": EMAIL, "password": PASSWORD}).to_string();
    request("POST", "/v1/auth/token", None, &body)
}

/// An address nobody listens on at the moment.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
}
