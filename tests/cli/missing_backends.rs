//! A node whose backends are all missing at its start.

use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use tokio::net::TcpSocket;

use crate::{faktor, texts};

const START_TIMEOUT_S: &str = "1";
/// That, and what the longest single attempt takes (Kafka's, five seconds), on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// In every address and key that can hold a secret.
const SECRET: &str = "hunter2_0123456789";

/// A backend as the operator configures it, and as the last words of the start name it.
struct Missing {
    settings: Vec<(&'static str, String)>,
    line: String,
    /// Keeps the port from everybody, and does not listen.
    _port: TcpSocket,
}

/// A backend at a port of its own, with the settings and the words that `at` makes of the address.
fn missing(at: impl FnOnce(&str) -> (Vec<(&'static str, String)>, String)) -> Missing {
    let port = TcpSocket::new_v4().unwrap();
    port.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = port.local_addr().unwrap().to_string();
    let (settings, words) = at(&address);
    Missing {
        settings,
        line: format!("  {words}: "),
        _port: port,
    }
}

/// Everything that a node can be pointed at, at once.
fn all() -> Vec<Missing> {
    let login = format!("faktor:{SECRET}");
    vec![
        missing(|at| {
            let url = format!("postgres://{login}@{at}/faktor");
            let line = format!("store (PostgreSQL) at postgres://{at}/faktor");
            (vec![("STORAGE__RELATIONAL", url)], line)
        }),
        missing(|at| {
            let url = format!("mongodb://{login}@{at}/faktor");
            let line = format!("invoices (MongoDB) at mongodb://{at}/faktor");
            (vec![("STORAGE__INVOICES", url)], line)
        }),
        missing(|at| {
            let url = format!("redis://{login}@{at}/0");
            let line = format!("cache (Redis) at redis://{at}/0");
            (vec![("CACHE__URL", url)], line)
        }),
        missing(|at| {
            let url = format!("smtp://{login}@{at}");
            let line = format!("mail (SMTP) at smtp://{at}");
            (vec![("MAIL__URL", url)], line)
        }),
        missing(|at| {
            let url = format!(
                "s3://bucket?endpoint=http://{at}&access_key_id=a&secret_access_key={SECRET}"
            );
            let line = "documents (S3) at s3://bucket".to_owned();
            (vec![("STORAGE__DOCUMENTS", url)], line)
        }),
        missing(|at| {
            let settings = vec![
                ("PAYMENTS__PROVIDER", "stripe".to_owned()),
                ("PAYMENTS__API_URL", format!("http://{at}")),
                ("PAYMENTS__SECRET_KEY", format!("sk_test_{SECRET}")),
                ("PAYMENTS__WEBHOOK_SECRET", format!("whsec_{SECRET}")),
            ];
            (settings, format!("payments (Stripe) at http://{at}"))
        }),
        missing(|at| {
            let url = format!("kafka://{at}");
            let line = format!("events (Kafka) at {url}");
            (vec![("EVENTS__URL", url)], line)
        }),
        missing(|at| {
            let url = format!("http://{at}/realms/faktor");
            let line = format!("identity (OpenID Connect) at {url}");
            let audience = ("OIDC__AUDIENCE", "faktor-api".to_owned());
            (vec![("OIDC__ISSUER", url), audience], line)
        }),
    ]
}

#[test]
fn backends_that_are_missing_at_the_start_get_a_line_each_and_end_it_with_1() {
    let directory = tempfile::tempdir().unwrap();
    let missing = all();
    let mut command = faktor(directory.path(), &["serve"]);
    let settings = missing.iter().flat_map(|backend| &backend.settings);
    let child = command
        .envs(settings.map(|(key, value)| (format!("FAKTOR__{key}"), value)))
        .env("FAKTOR__SERVER__LISTEN", "127.0.0.1:0")
        .env("FAKTOR__SERVER__START_TIMEOUT_S", START_TIMEOUT_S)
        .env("FAKTOR__STORAGE__CONNECT_TIMEOUT_MS", "500")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let output = ended.recv_timeout(PATIENCE).expect("it ends in time");

    let (code, out, error) = texts(&output.unwrap());
    assert_eq!((code, out.as_str()), (Some(1), ""), "{error}");
    assert!(!error.contains(SECRET), "{error}");
    let (_, last_words) = error
        .rsplit_once("faktor: a backend can't be used:\n")
        .unwrap();
    let lines: Vec<_> = last_words.lines().collect();
    assert_eq!(lines.len(), missing.len(), "{error}");
    for backend in &missing {
        let begin = backend.line.as_str();
        let named = lines.iter().find_map(|line| line.strip_prefix(begin));
        let reason = named.unwrap_or_else(|| panic!("no line begins with {begin:?}: {error}"));
        assert!(!reason.is_empty(), "no reason: {error}");
    }
}

#[test]
fn an_address_that_no_waiting_makes_right_ends_the_start_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("postgres://faktor:{SECRET}@127.0.0.1:1/faktor?sslmod={SECRET}");
    let output = faktor(directory.path(), &["serve"])
        .env("FAKTOR__STORAGE__RELATIONAL", url)
        .env("FAKTOR__SERVER__LISTEN", "127.0.0.1:0")
        .env("FAKTOR__SERVER__START_TIMEOUT_S", "60")
        .output()
        .unwrap();
    let (code, out, error) = texts(&output);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{error}");
    let told = "faktor: a backend can't be used:\n  store (PostgreSQL) at postgres://127.0.0.1:1/faktor: \
                the address is not understood: it has an unknown option, `sslmod`\n";
    assert!(error.ends_with(told), "{error}");
    assert!(!error.contains("does not answer yet"), "{error}");
    assert!(!error.contains(SECRET), "{error}");
}
