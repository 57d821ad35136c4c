//! The same node with real servers behind its seams, in turns with the embedded one.
//!
//! The servers run on the same machine and share its processors, and MongoDB's stand-in carries out
//! one command at a time: the figures say what a node spends, not what those servers can do.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::time::Instant;

use super::client::{Connection, Requests, request};
use super::measure::{create_body, median};
use super::server::{FIRST_USER, Server};
use super::throughput::{Round, round};

const ROUNDS: usize = 5;
/// Invoices that go from draft to paid, one after another.
const PAID: usize = 15;

/// A node of one kind, with its caller signed in.
struct Node {
    name: &'static str,
    server: Server,
    token: String,
    rounds: Vec<Round>,
    paid_ms: Vec<f64>,
}

fn address(name: &str) -> Option<String> {
    std::env::var(format!("FAKTOR_TEST_{name}_URL")).ok()
}

/// The settings of each kind beyond the defaults; none when the servers are not there.
async fn kinds() -> Option<Vec<(&'static str, Vec<(&'static str, String)>)>> {
    let postgres = address("POSTGRES")?;
    let mongo = address("MONGO")?;
    let database = |server: &str, name: &str| {
        let (server, _) = server.rsplit_once('/').unwrap();
        format!("{server}/{name}")
    };
    let run = faktor::clock::random_hex::<6>();
    let (sql_only, beside) = (format!("bench_sql_{run}"), format!("bench_all_{run}"));
    let mut server = PgConnection::connect(&postgres).await.unwrap();
    for name in [&sql_only, &beside] {
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        server.execute(create).await.unwrap();
    }
    let everything = vec![
        ("FAKTOR__STORAGE__RELATIONAL", database(&postgres, &beside)),
        ("FAKTOR__STORAGE__INVOICES", database(&mongo, &beside)),
        ("FAKTOR__STORAGE__DOCUMENTS", database(&mongo, &beside)),
        ("FAKTOR__CACHE__URL", address("REDIS")?),
        ("FAKTOR__CACHE__KEY_PREFIX", beside.clone()),
        (
            "FAKTOR__EVENTS__URL",
            format!("kafka://{}", address("KAFKA")?),
        ),
        ("FAKTOR__EVENTS__TOPIC_PREFIX", beside),
        (
            "FAKTOR__MAIL__URL",
            format!("{}?tls=none", address("SMTP")?),
        ),
    ];
    Some(vec![
        ("embedded", Vec::new()),
        (
            "PostgreSQL",
            vec![(
                "FAKTOR__STORAGE__RELATIONAL",
                database(&postgres, &sql_only),
            )],
        ),
        ("everything real", everything),
    ])
}

pub(crate) async fn real() {
    let Some(kinds) = kinds().await else {
        println!("\nskipped: the servers of scripts/services are not there");
        return;
    };
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut nodes = Vec::new();
    for (name, settings) in kinds {
        let data = directory.path().join(name.replace(' ', "-"));
        let mut all = FIRST_USER.to_vec();
        all.extend(settings.iter().map(|(key, value)| (*key, value.as_str())));
        // Mails of one domain are held back beyond this.
        all.push(("FAKTOR__MAIL__PER_DOMAIN_PER_MINUTE", "1000000"));
        let server = Server::faktor(&data, &all);
        server.ready().await;
        let token = server.login().await;
        nodes.push(Node {
            name,
            server,
            token,
            rounds: Vec::new(),
            paid_ms: Vec::new(),
        });
    }
    for turn in 0..=ROUNDS {
        for node in &mut nodes {
            let creation = request("POST", "/v1/invoices", Some(&node.token), &create_body());
            let requests: Requests = Arc::new(move |_, _| Arc::clone(&creation));
            let seen = round(&node.server, &requests).await;
            // The first one is the warm-up.
            if turn > 0 {
                node.rounds.push(seen);
            }
        }
    }
    for _ in 0..PAID {
        for node in &mut nodes {
            let took = send_to_paid(node).await;
            node.paid_ms.push(took.as_secs_f64() * 1e3);
        }
    }
    print(&nodes);
}

/// From a new draft over send and pay to paid, with document, link and mail, as its client sees it.
async fn send_to_paid(node: &Node) -> Duration {
    let mut connection = Connection::open(node.server.address).await.unwrap();
    let mut draft: Value = serde_json::from_str(&create_body()).unwrap();
    draft["bill_to"]["email"] = json!("ap@ada.example");
    let begun = Instant::now();
    let made = ask(
        &mut connection,
        node,
        "POST",
        "/v1/invoices",
        &draft.to_string(),
    )
    .await;
    let path = format!("/v1/invoices/{}", made["id"].as_str().unwrap());
    ask(&mut connection, node, "POST", &format!("{path}/send"), "{}").await;
    let pay = json!({"payment_method": "pm_ok"}).to_string();
    ask(&mut connection, node, "POST", &format!("{path}/pay"), &pay).await;
    loop {
        let invoice = ask(&mut connection, node, "GET", &path, "").await;
        if invoice["status"] == "paid" && invoice["pending"] == json!([]) {
            return begun.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn ask(
    connection: &mut Connection,
    node: &Node,
    method: &str,
    path: &str,
    body: &str,
) -> Value {
    let asked = request(method, path, Some(&node.token), body);
    let (status, answer) = connection.ask(&asked).await.unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert!(
        (200..300).contains(&status),
        "{} {path}: {status} {text}",
        node.name
    );
    serde_json::from_slice(&answer).unwrap()
}

fn print(nodes: &[Node]) {
    let middle = |node: &Node, of: fn(&Round) -> f64| median(node.rounds.iter().map(of).collect());
    println!(
        "\n| node | creates/s | of embedded | CPU of the node, µs | of embedded | p50, ms | p99, ms | draft to paid, ms | of embedded |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let embedded = &nodes[0];
    for node in nodes {
        let rate = middle(node, |round| round.per_second);
        let cpu = middle(node, |round| round.cpu_us);
        let paid = median(node.paid_ms.clone());
        println!(
            "| {} | {rate:.0} | {:.2} | {cpu:.0} | {:.2} | {:.1} | {:.1} | {paid:.0} | {:.2} |",
            node.name,
            rate / middle(embedded, |round| round.per_second),
            cpu / middle(embedded, |round| round.cpu_us),
            middle(node, |round| round.p50_ms),
            middle(node, |round| round.p99_ms),
            paid / median(embedded.paid_ms.clone()),
        );
    }
}
