//! The `faktor` command as a person or a script uses it.

#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

mod missing_backends;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const PASSWORD: &str = "correct horse battery staple";

fn faktor(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faktor"));
    command.args(arguments).current_dir(directory);
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("FAKTOR_"))
        {
            command.env_remove(name);
        }
    }
    command
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    faktor(directory, arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn piped(directory: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = faktor(directory, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [
        &["nonsense"][..],
        &["config"],
        &["user", "add", "a@x.example"],
        &["--port"],
    ] {
        let (code, out, error) = texts(&run(directory.path(), arguments));
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(error.contains("--help"), "{error}");
    }
    let (code, out, _) = texts(&run(directory.path(), &["--help"]));
    assert!(code == Some(0) && out.contains("config"));
}

#[test]
fn the_version_is_the_crates() {
    let directory = tempfile::tempdir().unwrap();
    let (code, out, _) = texts(&run(directory.path(), &["version"]));
    assert_eq!(
        (code, out),
        (Some(0), format!("faktor {}\n", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn a_wrong_configuration_ends_with_1_and_every_problem_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    std::fs::write(
        &file,
        "[server]\nlistn = \"x\"\n[effects]\nmax_attempts = 0\n",
    )
    .unwrap();
    for arguments in [
        &["config", "check"][..],
        &["config", "print"],
        &["serve"],
        &[],
    ] {
        let (code, out, error) = texts(&run(directory.path(), arguments));
        assert_eq!((code, out.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(
            error.starts_with("faktor: the configuration has 2 problems:\n"),
            "{error}"
        );
        assert!(error.contains("did you mean server.listen?"), "{error}");
    }
    let (code, _, error) = texts(&run(
        directory.path(),
        &["config", "check", "--config", "no.toml"],
    ));
    assert_eq!(code, Some(1));
    assert!(error.contains("no.toml: No such file"), "{error}");
    std::fs::remove_file(file).unwrap();
    let (code, out, error) = texts(&run(directory.path(), &["config", "check"]));
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert_eq!(out, "The configuration is fine.\n");
}

#[test]
fn the_configurations_of_the_deployments_are_fine() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["deploy/all-real.toml", "deploy/compose/faktor.toml"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let file = file.to_str().unwrap();
        let (code, _, error) = texts(&run(
            directory.path(),
            &["config", "check", "--config", file],
        ));
        assert_eq!((code, error.as_str()), (Some(0), ""), "{file}");
    }
}

#[test]
fn what_is_printed_is_a_configuration_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let output = faktor(directory.path(), &["config", "print"])
        .env("FAKTOR__PAYMENTS__WEBHOOK_SECRET", PASSWORD)
        .output()
        .unwrap();
    let (code, out, _) = texts(&output);
    assert!(code == Some(0) && !out.contains(PASSWORD));
    std::fs::write(directory.path().join("printed.toml"), out).unwrap();
    let checked = run(
        directory.path(),
        &["--config", "printed.toml", "config", "check"],
    );
    // "***" is shorter than a secret may be: what was hidden can't come back as a secret.
    let (code, _, error) = texts(&checked);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("1 problem:\n  payments.webhook_secret"),
        "{error}"
    );
}

#[test]
fn users_are_added_and_get_passwords_from_a_pipe() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let add = |more: &[&str], password: &str| {
        let person = [
            "user",
            "add",
            more[0],
            "--first-name",
            "Ada",
            "--last-name",
            "Lovelace",
        ];
        texts(&piped(here, &[&person, &more[1..]].concat(), password))
    };
    let (code, out, error) = add(
        &["ada@x.example", "--new-organization", "Ada Ltd"],
        PASSWORD,
    );
    assert_eq!(code, Some(0), "{error}");
    let (_, rest) = out.split_once("Organization Ada Ltd is ").unwrap();
    let (id, rest) = rest.split_once(".\n").unwrap();
    assert!(rest.starts_with("User ada@x.example is usr_") && rest.contains("administrator"));

    let member = [
        "bob@x.example",
        "--organization",
        id,
        "--role",
        "accountant",
    ];
    let (code, _, error) = add(&member, PASSWORD);
    assert_eq!(code, Some(0), "{error}");
    for (arguments, password, sentence) in [
        (&member[..], PASSWORD, "already in use"),
        (
            &["eve@x.example", "--organization", id],
            "short",
            "at least 12",
        ),
        (&["eve@x.example", "--organization", id], "", "no password"),
        (
            &["eve@x.example", "--organization", id, "--role", "king"],
            PASSWORD,
            "no role king",
        ),
    ] {
        let (code, out, error) = add(arguments, password);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(
            error.contains("faktor: ") && error.contains(sentence),
            "{error}"
        );
    }

    let changed = texts(&piped(
        here,
        &["user", "passwd", "bob@x.example"],
        "another long one\n",
    ));
    assert_eq!(changed.0, Some(0), "{changed:?}");
    let (code, _, error) = texts(&piped(here, &["user", "passwd", "eve@x.example"], PASSWORD));
    assert_eq!(code, Some(1));
    assert!(error.contains("no user"), "{error}");
}

#[test]
fn a_node_can_be_asked_whether_it_takes_requests() {
    let directory = tempfile::tempdir().unwrap();
    let node = LimitedNode::start("-n 256");
    let line = node.wait_for("listening on http://");
    let address = line.split_whitespace().next().unwrap();
    let url = format!("http://{address}");
    let (code, out, error) = texts(&run(directory.path(), &["health", &url]));
    assert_eq!((code, out.as_str(), error.as_str()), (Some(0), "ok\n", ""));
    let listens_there = faktor(directory.path(), &["health"])
        .env("FAKTOR__SERVER__LISTEN", address)
        .output()
        .unwrap();
    assert_eq!(listens_there.status.code(), Some(0));
    drop(node);
    let (code, out, error) = texts(&run(directory.path(), &["health", &url]));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(error.contains("does not answer"), "{error}");
    let (code, _, error) = texts(&run(directory.path(), &["health", "here"]));
    assert_eq!(code, Some(1));
    assert!(error.contains("here is no web address"), "{error}");
}

#[test]
fn what_is_no_node_or_takes_no_requests_is_not_healthy() {
    let directory = tempfile::tempdir().unwrap();
    for (answer, sentence) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
            "no node of Faktor",
        ),
        (
            "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n\
             {\"status\":\"unavailable\",\"dependencies\":[{\"name\":\"store\",\"ok\":false}]}",
            "takes no requests: unavailable (down: store)",
        ),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answering = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let _ = connection.read(&mut head).unwrap();
            connection.write_all(answer.as_bytes()).unwrap();
        });
        let (code, out, error) = texts(&run(directory.path(), &["health", &url]));
        assert_eq!((code, out.as_str()), (Some(1), ""));
        assert!(error.contains(sentence), "{error}");
        answering.join().unwrap();
    }
}

/// A node under a limit of open files, killed when dropped.
struct LimitedNode {
    child: Child,
    lines: mpsc::Receiver<String>,
    _directory: tempfile::TempDir,
}

impl LimitedNode {
    fn start(ulimit: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", &format!("ulimit {ulimit}; exec \"$0\" serve")])
            .arg(env!("CARGO_BIN_EXE_faktor"))
            .current_dir(directory.path())
            .env("FAKTOR__SERVER__LISTEN", "127.0.0.1:0")
            .env("FAKTOR__LOG__FORMAT", "human")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = log.lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(line))
        });
        Self {
            child,
            lines,
            _directory: directory,
        }
    }

    /// The rest of the first line of the log that has `text` in it.
    fn wait_for(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_mins(1)).unwrap();
            if let Some((_, rest)) = line.split_once(text) {
                return rest.to_owned();
            }
        }
    }
}

impl Drop for LimitedNode {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_node_without_a_file_descriptor_left_takes_connections_again_when_it_has_some() {
    let node = LimitedNode::start("-n 64");
    let address = node.wait_for("listening on http://");
    let address = address.split_whitespace().next().unwrap();
    let idle: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    node.wait_for("a connection could not be accepted");
    drop(idle);

    let mut stream = TcpStream::connect(address).unwrap();
    let patience = Some(Duration::from_mins(1));
    stream.set_read_timeout(patience).unwrap();
    let request = "GET /health/liveness HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_node_opens_as_many_files_as_it_may_not_as_many_as_is_usual() {
    let node = LimitedNode::start("-Sn 128");
    node.wait_for("listening on http://");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", node.child.id())).unwrap();
    let files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .unwrap();
    let files: Vec<_> = files.split_whitespace().collect();
    assert_eq!(files[0], files[1], "{files:?}");
    assert_ne!(files[0], "128");
}
