//! The real binary, killed at every step between a draft and a paid invoice. After a restart the
//! invoice ends paid once, numbered once, mailed under one Message-ID, and no number is skipped.

#![expect(clippy::expect_used, reason = "what a test relies on ends the test")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

const EMAIL: &str = "admin@faktor.test";
const PASSWORD: &str = "correct horse battery";
const PATIENCE: Duration = Duration::from_mins(1);

/// Every place at which the process can die on the way, in about the order of the way.
const CRASH_POINTS: &[&str] = &[
    "before_commit:created",
    "after_commit:created",
    "before_commit:finalize_requested",
    "after_commit:finalize_requested",
    "after_effect:number",
    "before_commit:send_requested",
    "after_commit:send_requested",
    "before_effect:document",
    "after_effect:document",
    "before_commit:document_stored",
    "after_commit:document_stored",
    "before_effect:payment_link",
    "after_effect:payment_link",
    "before_commit:payment_link_created",
    "after_commit:payment_link_created",
    "before_commit:effect_claimed",
    "after_commit:effect_claimed",
    "before_effect:mail",
    "after_effect:mail",
    "before_commit:mail_sent",
    "after_commit:mail_sent",
    "before_commit:charge_requested",
    "after_commit:charge_requested",
    "before_effect:charge",
    "after_effect:charge",
    "before_commit:paid",
    "after_commit:paid",
    "after_inbox:receive",
    "before_effect:expire_payment_link",
    "after_effect:expire_payment_link",
    "before_commit:payment_link_expired",
    "after_commit:payment_link_expired",
];

/// A running `faktor serve`; killed when dropped.
struct Process {
    child: Child,
    base: String,
}

impl Process {
    fn start(data_dir: &Path, crash_at: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_faktor"));
        command
            .arg("serve")
            .current_dir(data_dir)
            .env("FAKTOR__SERVER__LISTEN", "127.0.0.1:0")
            .env("FAKTOR__STORAGE__DATA_DIR", data_dir.join("data"))
            .env("FAKTOR__EFFECTS__FIRST_DELAY_MS", "20")
            .env("FAKTOR__ACTORS__SWEEP_INTERVAL_MS", "50")
            .env("FAKTOR__LOG__FORMAT", "json")
            .env("FAKTOR_ADMIN_EMAIL", EMAIL)
            .env("FAKTOR_ADMIN_PASSWORD", PASSWORD)
            .env_remove("FAKTOR_CRASH_AT")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if let Some(crash_at) = crash_at {
            command.env("FAKTOR_CRASH_AT", crash_at);
        }
        let mut child = command.spawn().expect("the binary starts");
        let stderr = BufReader::new(child.stderr.take().expect("its log"));
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut seen = Vec::new();
            for line in stderr.lines().map_while(Result::ok) {
                if let Some(base) = address_in(&line) {
                    let _ = sender.send(Ok(base));
                }
                seen.push(line);
            }
            let _ = sender.send(Err(seen.join("\n")));
        });
        match receiver.recv_timeout(PATIENCE) {
            Ok(Ok(base)) => Self { child, base },
            Ok(Err(log)) => panic!("the node ended before it listened:\n{log}"),
            Err(elapsed) => panic!("the node did not start in time: {elapsed}"),
        }
    }

    /// SIGKILL, if it still lives.
    fn end(&mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("its end can be awaited");
    }

    /// Whether it ended by itself.
    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a status").is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in the line that says where the node listens.
fn address_in(line: &str) -> Option<String> {
    let at = line.find("http://127.0.0.1:")?;
    let rest = &line[at..];
    let end = rest["http://127.0.0.1:".len()..]
        .find(|c: char| !c.is_ascii_digit())
        .map_or(rest.len(), |end| end + "http://127.0.0.1:".len());
    Some(rest[..end].to_owned())
}

/// A client that goes on over restarts: every step is asked for under a key of its own.
struct Walk<'a> {
    client: Client,
    data_dir: &'a Path,
    process: Process,
    token: String,
}

impl<'a> Walk<'a> {
    async fn begin(data_dir: &'a Path, crash_at: Option<&str>) -> Self {
        let process = Process::start(data_dir, crash_at);
        let client = Client::builder()
            .timeout(Duration::from_secs(30))
            .build()
            .expect("a client");
        let mut walk = Self {
            client,
            data_dir,
            process,
            token: String::new(),
        };
        walk.sign_in().await;
        walk
    }

    async fn sign_in(&mut self) {
        let credentials = json!({"email": EMAIL, "password": PASSWORD});
        let url = format!("{}/v1/auth/token", self.process.base);
        let answer = self
            .client
            .post(url)
            .json(&credentials)
            .send()
            .await
            .expect("an answer");
        let answer: Value = answer.json().await.expect("a token answer");
        let token = answer["access_token"].as_str().expect("a token");
        token.clone_into(&mut self.token);
    }

    fn restart(&mut self) {
        self.process.end();
        // The token stays good: the signing keys are in the store.
        self.process = Process::start(self.data_dir, None);
    }

    /// Asks until there is an answer; starts the process again when it has died.
    async fn ask(&mut self, method: Method, path: &str, key: &str, body: &Value) -> (u16, Value) {
        loop {
            let mut request = self
                .client
                .request(method.clone(), format!("{}{path}", self.process.base))
                .bearer_auth(&self.token);
            if method == Method::POST {
                request = request.header("idempotency-key", key).json(body);
            }
            if let Ok(answer) = request.send().await {
                let status = answer.status().as_u16();
                if let Ok(text) = answer.text().await {
                    return (
                        status,
                        serde_json::from_str(&text).unwrap_or(Value::String(text)),
                    );
                }
            }
            self.process.child.wait().expect("the process has died");
            self.restart();
        }
    }

    async fn until(&mut self, id: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (status, invoice) = self
                .ask(Method::GET, &format!("/v1/invoices/{id}"), "", &Value::Null)
                .await;
            assert_eq!(status, 200, "{invoice}");
            if holds(&invoice) {
                return invoice;
            }
            assert!(Instant::now() < deadline, "not {what}: {invoice:#}");
            tokio::task::yield_now().await;
        }
    }

    /// From nothing to a paid invoice with everything settled.
    async fn finish(&mut self, key: &str) -> Value {
        let draft = json!({
            "bill_to": {"name": "Ada GmbH", "email": "ap@ada.example"}, "currency": "EUR",
            "lines": [{"description": "Consulting", "quantity": "1", "unit_price": "100",
                       "tax": {"category": "S", "rate": "19"}}],
        });
        let (status, created) = self
            .ask(
                Method::POST,
                "/v1/invoices",
                &format!("{key}-create"),
                &draft,
            )
            .await;
        assert_eq!(status, 201, "{created}");
        let id = created["id"].as_str().expect("an id").to_owned();
        let path = format!("/v1/invoices/{id}/send");
        let (status, sent) = self
            .ask(Method::POST, &path, &format!("{key}-send"), &json!({}))
            .await;
        assert_eq!(status, 202, "{sent}");
        self.until(&id, "sent", |invoice| {
            invoice["delivery"]["status"] == "sent"
        })
        .await;
        let path = format!("/v1/invoices/{id}/pay");
        let method = json!({"payment_method": "pm_ok"});
        let (status, paid) = self
            .ask(Method::POST, &path, &format!("{key}-pay"), &method)
            .await;
        assert!(matches!(status, 200 | 202), "{status} {paid}");
        self.until(&id, "paid and settled", |invoice| {
            invoice["status"] == "paid"
                && invoice["document"]["status"] == "ready"
                && invoice["pending"].as_array().is_some_and(Vec::is_empty)
        })
        .await
    }
}

/// Everything that must hold of the one invoice of a data directory.
async fn verify(walk: &mut Walk<'_>, invoice: &Value, what: &str) {
    let id = invoice["id"].as_str().expect("an id").to_owned();
    let none = Value::Null;
    assert_eq!(invoice["totals"]["paid"], "119.00", "{what}: {invoice:#}");
    assert_eq!(
        invoice["payment"]["status"], "paid",
        "{what}: paid exactly once"
    );

    let (_, charges) = walk
        .ask(
            Method::GET,
            &format!("/sandbox/charges?invoice={id}"),
            "",
            &none,
        )
        .await;
    let charges = charges
        .get("data")
        .unwrap_or(&charges)
        .as_array()
        .expect("charges")
        .clone();
    assert_eq!(charges.len(), 1, "{what}: one charge, not {charges:?}");

    let mails: Vec<_> = std::fs::read_dir(walk.data_dir.join("data/mail"))
        .expect("a spool")
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "eml"))
        .map(|entry| std::fs::read_to_string(entry.path()).expect("a mail"))
        .collect();
    let ids: BTreeSet<_> = mails
        .iter()
        .flat_map(|mail| mail.lines().filter(|line| line.starts_with("Message-ID:")))
        .collect();
    assert_eq!(
        (mails.len(), ids.len()),
        (1, 1),
        "{what}: one mail under one Message-ID"
    );

    let (_, history) = walk
        .ask(
            Method::GET,
            &format!("/v1/invoices/{id}/history?limit=100"),
            "",
            &none,
        )
        .await;
    let mut versions: Vec<u64> = history["data"]
        .as_array()
        .expect("a history")
        .iter()
        .map(|entry| entry["version"].as_u64().expect("a version"))
        .collect();
    versions.sort_unstable();
    let whole: Vec<u64> = (1..=invoice["version"].as_u64().expect("a version")).collect();
    assert_eq!(
        versions, whole,
        "{what}: the history has every version once"
    );

    let (_, feed) = walk
        .ask(Method::GET, "/v1/events?limit=100", "", &none)
        .await;
    let paid = feed["data"]
        .as_array()
        .expect("a feed")
        .iter()
        .filter(|event| event["type"] == "invoice.paid")
        .count();
    assert_eq!(paid, 1, "{what}: the feed tells of it once");

    let next = walk.finish("next").await;
    let number = invoice["number"].as_str().expect("a number");
    let (series, counter) = number.rsplit_once('-').expect("a counter");
    let following = format!(
        "{series}-{:04}",
        counter.parse::<u32>().expect("a counter") + 1
    );
    assert_eq!(
        (number.ends_with("0001"), next["number"].as_str()),
        (true, Some(following.as_str())),
        "{what}: no number is skipped"
    );
}

async fn crash_at(point: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut walk = Walk::begin(dir.path(), Some(point)).await;
    let invoice = walk.finish("first").await;
    // A point behind the last answer may be reached only now.
    let deadline = Instant::now() + Duration::from_secs(5);
    while point.contains("expire") && !walk.process.has_ended() && Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    let id = invoice["id"].as_str().expect("an id").to_owned();
    let invoice = walk
        .until(&id, "settled", |invoice| {
            invoice["pending"].as_array().is_some_and(Vec::is_empty)
        })
        .await;
    // What is verified is the state a restarted process finds.
    if walk.process.has_ended() {
        walk.restart();
    }
    verify(&mut walk, &invoice, point).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_at_any_step_ends_the_invoice_once() {
    static REACHED: AtomicUsize = AtomicUsize::new(0);
    let points = futures_util::stream::iter(CRASH_POINTS);
    futures_util::StreamExt::for_each_concurrent(points, 4, |point| async move {
        timeout(Duration::from_mins(2), crash_at(point))
            .await
            .unwrap_or_else(|_| panic!("{point}: not done in time"));
        REACHED.fetch_add(1, Ordering::Relaxed);
    })
    .await;
    assert_eq!(REACHED.load(Ordering::Relaxed), CRASH_POINTS.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_again_and_again_at_any_moment_ends_the_invoice_once() {
    const ROUNDS: u64 = 8;
    let dir = tempfile::tempdir().expect("a directory");
    let mut walk = Walk::begin(dir.path(), None).await;
    let draft = json!({
        "bill_to": {"name": "Ada GmbH", "email": "ap@ada.example"}, "currency": "EUR",
        "lines": [{"description": "Consulting", "quantity": "1", "unit_price": "100",
                   "tax": {"category": "S", "rate": "19"}}],
    });
    let (_, created) = walk
        .ask(Method::POST, "/v1/invoices", "first-create", &draft)
        .await;
    let id = created["id"].as_str().expect("an id").to_owned();
    for round in 0..ROUNDS {
        // The moment of death moves through the walk with the rounds.
        let send = format!("{}/v1/invoices/{id}/send", walk.process.base);
        let pay = format!("{}/v1/invoices/{id}/pay", walk.process.base);
        let asked = async {
            let _ = walk
                .client
                .post(send)
                .bearer_auth(&walk.token)
                .header("idempotency-key", "first-send")
                .json(&json!({}))
                .send()
                .await;
            let _ = walk
                .client
                .post(pay)
                .bearer_auth(&walk.token)
                .header("idempotency-key", "first-pay")
                .json(&json!({"payment_method": "pm_ok"}))
                .send()
                .await;
        };
        let _ = timeout(Duration::from_millis(2 + round * 5), asked).await;
        walk.restart();
    }
    let invoice = walk.finish("first").await;
    verify(&mut walk, &invoice, "killed again and again").await;
}
