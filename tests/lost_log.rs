//! A node whose log can't be written any more: it loses lines, and no answer.

#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const EMAIL: &str = "admin@faktor.test";
const PASSWORD: &str = "correct horse battery";
const PATIENCE: Duration = Duration::from_mins(1);

/// A running `faktor serve`; killed when dropped.
struct Node {
    child: Child,
    /// Its standard output, which ends when it does.
    printed: Receiver<String>,
    _directory: tempfile::TempDir,
}

impl Node {
    fn start(log: Stdio) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_faktor"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FAKTOR_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .arg("serve")
            .current_dir(directory.path())
            .env("FAKTOR__SERVER__LISTEN", "127.0.0.1:0")
            .env("FAKTOR__LOG__FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, printed) = channel();
        std::thread::spawn(move || {
            let mut lines = output.lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(line))
        });
        Self {
            child,
            printed,
            _directory: directory,
        }
    }

    /// A connection of its first administrator. The node tells its address, which its log can't, in
    /// the link that makes one.
    fn connect(&self) -> Connection {
        let link = loop {
            let line = self.printed.recv_timeout(PATIENCE).unwrap();
            if let Some(link) = line.strip_prefix("http://") {
                break link.to_owned();
            }
        };
        let (address, token) = link.split_once("/setup?token=").unwrap();
        let mut connection = Connection::open(address);
        let setup = json!({
            "token": token, "organization_name": "Test GmbH", "first_name": "Ada",
            "last_name": "Admin", "email": EMAIL, "password": PASSWORD,
        });
        connection.send("POST", "/v1/setup", &setup);
        let credentials = json!({"email": EMAIL, "password": PASSWORD});
        let (status, answer) = connection.send("POST", "/v1/auth/token", &credentials);
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let token = answer["access_token"].as_str().unwrap();
        token.clone_into(&mut connection.token);
        connection
    }

    /// Stops it by SIGTERM; the code it ends with.
    fn stop(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        loop {
            match self.printed.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap().code(),
                Err(RecvTimeoutError::Timeout) => panic!("the node did not stop in time"),
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One keep-alive connection, which is never opened anew.
struct Connection {
    stream: BufReader<TcpStream>,
    token: String,
}

impl Connection {
    fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream: BufReader::new(stream),
            token: String::new(),
        }
    }

    fn get(&mut self, path: &str) -> (u16, String) {
        self.exchange("GET", path, "\r\n")
    }

    fn send(&mut self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let body = body.to_string();
        let length = body.len();
        let rest =
            format!("content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}");
        self.exchange(method, path, &rest)
    }

    /// Sends a request, of which `rest` is its own, and reads its answer: the status and the body.
    fn exchange(&mut self, method: &str, path: &str, rest: &str) -> (u16, String) {
        let authorization = if self.token.is_empty() {
            String::new()
        } else {
            format!("authorization: Bearer {}\r\n", self.token)
        };
        let request = format!("{method} {path} HTTP/1.1\r\nhost: faktor\r\n{authorization}{rest}");
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let status_line = self.line();
        assert!(
            !status_line.is_empty(),
            "{method} {path}: the connection ended without an answer"
        );
        let mut length = 0;
        loop {
            let line = self.line();
            if line.trim_end().is_empty() {
                break;
            }
            assert!(!line.starts_with("connection: close"), "{method} {path}");
            if let Some(bytes) = line.strip_prefix("content-length:") {
                length = bytes.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
        (status, String::from_utf8(body).unwrap())
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line
    }

    /// The path of a new draft.
    fn draft(&mut self) -> String {
        let content = json!({
            "bill_to": {"name": "Ada GmbH", "email": "ap@ada.example"}, "currency": "EUR",
            "lines": [{"description": "Consulting", "quantity": "1", "unit_price": "100",
                       "tax": {"category": "S", "rate": "19"}}],
        });
        let (status, draft) = self.send("POST", "/v1/invoices", &content);
        assert_eq!(status, 201, "{draft}");
        let draft: Value = serde_json::from_str(&draft).unwrap();
        format!("/v1/invoices/{}", draft["id"].as_str().unwrap())
    }

    /// Changes a draft, and is told how it reads now.
    fn change(&mut self, draft: &str, memo: &str) {
        let (status, changed) = self.send("PATCH", draft, &json!({"memo": memo}));
        assert_eq!(status, 200, "{changed}");
        let changed: Value = serde_json::from_str(&changed).unwrap();
        assert_eq!(changed["memo"], memo);
    }

    fn lost_lines(&mut self) -> u64 {
        let (status, metrics) = self.get("/metrics");
        assert_eq!(status, 200, "{metrics}");
        let lost = metrics
            .lines()
            .find_map(|line| line.strip_prefix("faktor_log_lines_lost_total "));
        lost.map_or(0, |count| count.parse().unwrap())
    }
}

#[test]
fn a_log_whose_reader_went_away_costs_lines_and_no_answer() {
    let mut node = Node::start(Stdio::piped());
    let mut connection = node.connect();
    let draft = connection.draft();
    assert_eq!(connection.lost_lines(), 0);
    drop(node.child.stderr.take());
    connection.change(&draft, "one");
    connection.change(&draft, "two");
    // Each change writes a line.
    let lost = connection.lost_lines();
    assert!(lost >= 2, "{lost}");
    assert_eq!(node.stop(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_node_whose_log_goes_to_a_full_disk_starts_answers_and_stops() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let node = Node::start(full.into());
    let mut connection = node.connect();
    let (status, state) = connection.get("/health/readiness");
    assert_eq!(status, 200, "{state}");
    let draft = connection.draft();
    connection.change(&draft, "one");
    let lost = connection.lost_lines();
    assert!(lost >= 2, "{lost}");
    assert_eq!(node.stop(), Some(0));
}
