//! Which backends a test's node stands on: embedded, or, with `FAKTOR_TEST_PROFILE=real`, everything
//! real. Then each node has databases, topics and a sender of its own on the servers that
//! `scripts/services env` names.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::LazyLock;

use faktor::config::{Config, Secret};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::backends::backend;

/// Whether nodes stand on real servers.
pub(crate) fn is_real() -> bool {
    match std::env::var("FAKTOR_TEST_PROFILE").as_deref() {
        Ok("real") => true,
        Ok("embedded" | "") | Err(_) => false,
        Ok(other) => panic!("FAKTOR_TEST_PROFILE is {other}; use embedded or real"),
    }
}

/// The same for the same data directory in this process, and for no other.
fn name_of(data_dir: &Path) -> String {
    static RUN: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let mut hasher = RUN.build_hasher();
    hasher.write(data_dir.as_os_str().as_encoded_bytes());
    format!("faktor_test_{:016x}", hasher.finish())
}

fn address(name: &str) -> String {
    backend(name).unwrap_or_else(|| panic!("the real profile needs {name}: scripts/services up"))
}

/// The address of another database on the same server.
fn database(server: &str, name: &str) -> String {
    let (server, _) = server.rsplit_once('/').expect("a database in the address");
    format!("{server}/{name}")
}

/// Puts a node on the real servers.
pub(crate) fn make_real(config: &mut Config) {
    let name = name_of(&config.storage.data_dir);
    let mongo = database(&address("MONGO"), &name);
    config.storage.relational = Secret::new(database(&address("POSTGRES"), &name));
    config.storage.invoices = Secret::new(mongo.clone());
    config.storage.documents = Secret::new(mongo);
    config.storage.max_connections = 4;
    config.cache.url = Secret::new(address("REDIS"));
    config.events.url = Secret::new(format!("kafka://{}", address("KAFKA")));
    config.events.topic_prefix.clone_from(&name);
    config.mail.url = Secret::new(format!("{}?tls=none", address("SMTP")));
    config.mail.from = format!("{name}@faktor.local");
}

/// Makes the node's relational database, if it has one on a server and it is not there yet.
pub(crate) async fn prepare(config: &Config) {
    let url = config.storage.relational.expose();
    let Some((_, name)) = url.rsplit_once('/') else {
        return;
    };
    let mut server = PgConnection::connect(&address("POSTGRES"))
        .await
        .expect("PostgreSQL");
    let made = server
        .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .await;
    if let Err(error) = made {
        // 42P04: it is there, for the node was started before.
        let code = error
            .as_database_error()
            .and_then(|error| error.code().map(std::borrow::Cow::into_owned));
        assert_eq!(code.as_deref(), Some("42P04"), "{error}");
    }
}

/// The mails that the catcher has from a node's sender, as they came.
pub(crate) async fn caught_mails(from: &str) -> Vec<String> {
    mails_caught_at(&address("SMTP_API"), from).await
}

/// As [`caught_mails`], of the catcher whose interface for tests is at `api`.
pub(crate) async fn mails_caught_at(api: &str, from: &str) -> Vec<String> {
    // One client: each of them reads all of the machine's certificates.
    let client = reqwest::Client::new();
    let all: Vec<serde_json::Value> = client
        .get(format!("{api}/messages"))
        .send()
        .await
        .expect("the catcher's answer")
        .json()
        .await
        .expect("the catcher's list");
    let mut mails = Vec::new();
    for mail in all.iter().filter(|mail| mail["envelope_from"] == from) {
        let id = mail["id"].as_str().expect("an id");
        let mail = client.get(format!("{api}/messages/{id}.eml")).send().await;
        let mail = mail.expect("a mail");
        mails.push(mail.text().await.expect("a text"));
    }
    mails
}
