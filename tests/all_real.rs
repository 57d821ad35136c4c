//! `faktor demo` with a real server behind every seam, and what each of them has to show for it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it can't go on"
)]

#[path = "events_kafka/broker.rs"]
#[expect(dead_code, reason = "a fixture of which this suite needs a part")]
mod broker;
mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use broker::Topic;
use faktor::config::Config;
use futures_util::AsyncReadExt as _;
use mongodb::options::GridFsBucketOptions;
use reqwest::Client;
use serde_json::Value;
use support::backends::backend;
use support::profile;

/// The demo's process, which goes with the test.
struct Demo {
    process: Child,
    /// Kept open: it goes on until it can't be heard any more.
    output: BufReader<ChildStdout>,
    /// What it said.
    said: Vec<String>,
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Demo {
    /// Runs it until it has said where the events are, which it says last.
    fn run(config: &Config) -> Self {
        let storage = &config.storage;
        let stripe = backend("STRIPE").unwrap();
        let settings = [
            ("SERVER__LISTEN", "127.0.0.1:0"),
            ("STORAGE__DATA_DIR", storage.data_dir.to_str().unwrap()),
            ("STORAGE__RELATIONAL", storage.relational.expose()),
            ("STORAGE__INVOICES", storage.invoices.expose()),
            ("STORAGE__DOCUMENTS", storage.documents.expose()),
            ("CACHE__URL", config.cache.url.expose()),
            ("CACHE__KEY_PREFIX", &config.events.topic_prefix),
            ("EVENTS__URL", config.events.url.expose()),
            ("EVENTS__TOPIC_PREFIX", &config.events.topic_prefix),
            ("MAIL__URL", config.mail.url.expose()),
            ("MAIL__FROM", &config.mail.from),
            ("PAYMENTS__API_URL", &stripe),
            ("OIDC__ISSUER", &backend("KEYCLOAK").unwrap()),
        ];
        let mut command = Command::new(env!("CARGO_BIN_EXE_faktor"));
        command
            .args(["--config", "deploy/all-real.toml", "demo"])
            .env("FAKTOR_ADMIN_EMAIL", "admin@faktor.test")
            .env("FAKTOR_ADMIN_PASSWORD", "correct horse battery")
            .stdout(Stdio::piped());
        for (key, value) in settings {
            command.env(format!("FAKTOR__{key}"), value);
        }
        let mut process = command.spawn().expect("the demo runs");
        let output = process.stdout.take().expect("its output");
        let mut demo = Self {
            process,
            output: BufReader::new(output),
            said: Vec::new(),
        };
        loop {
            let mut line = String::new();
            let read = demo.output.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "the demo ended early: {:#?}", demo.said);
            let is_last = line.contains("Kafka's topic");
            demo.said.push(line);
            if is_last {
                return demo;
            }
        }
    }

    /// What stands behind a word at the beginning of a line.
    fn value(&self, what: &str) -> &str {
        self.said
            .iter()
            .find_map(|line| line.trim_start_matches([' ', '✓']).strip_prefix(what))
            .unwrap_or_else(|| panic!("no {what} in {:#?}", self.said))
            .trim()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_ends_paid_and_every_server_has_its_part() {
    for name in [
        "POSTGRES", "MONGO", "REDIS", "KAFKA", "SMTP", "SMTP_API", "STRIPE", "KEYCLOAK",
    ] {
        if backend(name).is_none() {
            return;
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut config = support::config(&dir);
    profile::make_real(&mut config);
    profile::prepare(&config).await;
    let settings = config.clone();
    let demo = tokio::task::spawn_blocking(move || Demo::run(&settings))
        .await
        .unwrap();
    let (id, _) = demo.value("draft").split_once(',').unwrap();
    let base = demo.value("node").strip_prefix("listens on ").unwrap();
    assert!(demo.value("paid").ends_with("is paid"));
    let client = Client::new();

    // Kafka: the last word of this invoice, under its key.
    let topic = Topic {
        prefix: config.events.topic_prefix.clone(),
        ..Topic::new().unwrap()
    };
    let records = topic
        .read_until(|records| {
            let last = records.last().map(broker::Record::json);
            last.is_some_and(|event| event["type"] == "invoice.paid")
        })
        .await;
    assert!(records.iter().all(|record| record.key == id));
    broker::assert_in_order(&records);

    // The mail's server, with the document attached.
    let mails = profile::caught_mails(&config.mail.from).await;
    assert_eq!(mails.len(), 1);
    assert!(mails[0].contains("application/pdf"));

    // GridFS: the very bytes that the customer's page gives.
    let page = demo.value("the PDF");
    let shown = client
        .get(page)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert!(shown.starts_with(b"%PDF"));
    assert!(
        stored_files(&config, id)
            .await
            .iter()
            .any(|file| file[..] == shown[..])
    );

    // Stripe: one payment, of what was due.
    let intents = client
        .get(format!(
            "{}/v1/payment_intents?limit=1000000",
            backend("STRIPE").unwrap()
        ))
        .bearer_auth("sk_test_development_only");
    let intents: Value = intents.send().await.unwrap().json().await.unwrap();
    let ours: Vec<&Value> = intents["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|intent| intent["metadata"]["invoice"] == id && intent["status"] == "succeeded")
        .collect();
    assert_eq!(ours.len(), 1);
    assert_eq!(ours[0]["amount"], 83_274);

    // Keycloak: its token opens the node.
    let form = [
        ("grant_type", "password"),
        ("client_id", "faktor-api"),
        ("client_secret", "faktor-api-secret"),
        ("username", "admin@faktor.test"),
        ("password", "admin-password"),
    ];
    let url = format!(
        "{}/protocol/openid-connect/token",
        backend("KEYCLOAK").unwrap()
    );
    let tokens: Value = client
        .post(url)
        .form(&form)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let me = client
        .get(format!("{base}/v1/me"))
        .bearer_auth(tokens["access_token"].as_str().unwrap());
    let me: Value = me.send().await.unwrap().json().await.unwrap();
    assert_eq!(me["user"]["email"], "admin@faktor.test");

    // Redis: whoever called is remembered there. PostgreSQL is where the demo's user is, and MongoDB
    // where its invoice is; without them it had not come here.
    assert!(redis_keys(&config.events.topic_prefix) > 0);
    topic.remove().await;
}

async fn stored_files(config: &Config, id: &str) -> Vec<Vec<u8>> {
    let url = config.storage.documents.expose();
    let (_, database) = url.rsplit_once('/').unwrap();
    let client = mongodb::Client::with_uri_str(url).await.unwrap();
    let options = GridFsBucketOptions::builder()
        .bucket_name("documents".to_owned())
        .build();
    let bucket = client.database(database).gridfs_bucket(options);
    let mut found = bucket.find(bson::doc! {}).await.unwrap();
    let mut files = Vec::new();
    while found.advance().await.unwrap() {
        let file = found.deserialize_current().unwrap();
        if file
            .filename
            .as_deref()
            .is_some_and(|name| name.contains(id))
        {
            let mut bytes = Vec::new();
            let mut stream = bucket.open_download_stream(file.id).await.unwrap();
            stream.read_to_end(&mut bytes).await.unwrap();
            files.push(bytes);
        }
    }
    files
}

/// How many keys begin so.
fn redis_keys(prefix: &str) -> usize {
    let url = backend("REDIS").unwrap();
    let host = url
        .trim_start_matches("redis://")
        .split('/')
        .next()
        .unwrap();
    let mut redis = TcpStream::connect(host).unwrap();
    write!(redis, "KEYS {prefix}*\r\nQUIT\r\n").unwrap();
    let mut answer = String::new();
    redis.read_to_string(&mut answer).unwrap();
    let count = answer
        .strip_prefix('*')
        .and_then(|rest| rest.lines().next());
    count.unwrap().parse().unwrap()
}
