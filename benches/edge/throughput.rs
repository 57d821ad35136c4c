//! Creating and reading, in turns with a bare server.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{ConnectOptions, Connection as _, Row};

use super::Figure;
use super::bare::Template;
use super::client::{Connection, Load, Plan, Requests, load, request};
use super::measure::{create_body, median};
use super::server::{FIRST_USER, Server};

const CONNECTIONS: usize = 32;
const ROUND: Duration = Duration::from_secs(3);
const ROUNDS: usize = 7;
const WARM_UP: Duration = Duration::from_secs(1);
/// Live invoices that are read in turn.
const READ_INVOICES: usize = 64;

/// What one server did in one round.
pub(crate) struct Round {
    pub(crate) per_second: f64,
    pub(crate) cpu_us: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

pub(crate) async fn round(server: &Server, requests: &Requests) -> Round {
    let cpu = server.cpu_seconds();
    let plan = Plan::full(CONNECTIONS, ROUND);
    let mut load: Load = load(server.address, plan, Arc::clone(requests)).await;
    Round {
        per_second: load.per_second(),
        cpu_us: (server.cpu_seconds() - cpu) / load.answered as f64 * 1e6,
        p50_ms: load.percentile_ms(50),
        p99_ms: load.percentile_ms(99),
    }
}

/// Rounds of ours and of the bare server in turn.
async fn rounds(ours: (&Server, Requests), bare: (&Server, Requests)) -> (Vec<Round>, Vec<Round>) {
    for (server, requests) in [&ours, &bare] {
        let plan = Plan::full(CONNECTIONS, WARM_UP);
        load(server.address, plan, Arc::clone(requests)).await;
    }
    let (mut of_ours, mut of_bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        of_ours.push(round(ours.0, &ours.1).await);
        of_bare.push(round(bare.0, &bare.1).await);
    }
    (of_ours, of_bare)
}

/// The medians of both servers and of their ratio, round by round.
fn compare(ours: &[Round], bare: &[Round], of: impl Fn(&Round) -> f64) -> (f64, f64, f64) {
    let ratios = ours.iter().zip(bare).map(|(a, b)| of(a) / of(b)).collect();
    let middle = |rounds: &[Round]| median(rounds.iter().map(&of).collect());
    (median(ratios), middle(ours), middle(bare))
}

pub(crate) async fn create() -> Vec<Figure> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = directory.path().join("ours");
    let ours = Server::faktor(&data, FIRST_USER);
    ours.ready().await;
    let token = ours.login().await;
    let body = create_body();
    let creation = request("POST", "/v1/invoices", Some(&token), &body);
    let mut connection = Connection::open(ours.address).await.unwrap();
    let (status, answer) = connection.ask(&creation).await.unwrap();
    assert_eq!(status, 201, "{}", String::from_utf8_lossy(&answer));

    let template = template(&data, String::from_utf8(answer).unwrap()).await;
    let file = directory.path().join("template.json");
    std::fs::write(&file, serde_json::to_vec(&template).unwrap()).unwrap();
    let bare_server = |kind: &str| {
        let data = directory.path().join(kind);
        Server::bare(&[kind, data.to_str().unwrap(), file.to_str().unwrap()])
    };
    let requests: Requests = Arc::new(move |_, _| Arc::clone(&creation));
    let server = ours;
    let of_bare = (&bare_server("create"), Arc::clone(&requests));
    let (ours, bare) = rounds((&server, Arc::clone(&requests)), of_bare).await;
    let of_bare = (&bare_server("create-json"), Arc::clone(&requests));
    let (beside, with_json) = rounds((&server, requests), of_bare).await;
    let (json_cpu, ..) = compare(&beside, &with_json, |round| round.cpu_us);
    let (json_rate, ..) = compare(&beside, &with_json, |round| round.per_second);
    let (cpu, our_cpu, bare_cpu) = compare(&ours, &bare, |round| round.cpu_us);
    let (rate, our_rate, bare_rate) = compare(&ours, &bare, |round| round.per_second);
    let (p99, our_p99, bare_p99) = compare(&ours, &bare, |round| round.p99_ms);
    let (_, our_p50, bare_p50) = compare(&ours, &bare, |round| round.p50_ms);
    vec![
        Figure::at_most(
            "create: CPU per request / bare",
            1.6,
            cpu,
            format!(
                "{our_cpu:.0} µs / {bare_cpu:.0} µs; body {} B; of one that reads and writes JSON {json_cpu:.2}",
                body.len()
            ),
        ),
        Figure::at_least(
            "create: throughput / bare",
            0.6,
            rate,
            format!(
                "{our_rate:.0}/s / {bare_rate:.0}/s; of one that reads and writes JSON {json_rate:.2}"
            ),
        ),
        Figure::at_most(
            "create: p99 / bare",
            3.0,
            p99,
            format!("{our_p99:.1} ms / {bare_p99:.1} ms; p50 {our_p50:.1} ms / {bare_p50:.1} ms"),
        ),
    ]
}

/// What the only create so far wrote.
async fn template(data: &std::path::Path, answer: String) -> Template {
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(data.join("faktor.db"))
        .read_only(true)
        .connect()
        .await
        .unwrap();
    let invoice = sqlx::query("SELECT snapshot FROM invoices")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let history = sqlx::query("SELECT body, event FROM history")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let template = Template {
        invoice: serde_json::from_str(invoice.get(0)).unwrap(),
        recorded: history
            .iter()
            .map(|row| serde_json::from_str(row.get(0)).unwrap())
            .collect(),
        events: history
            .iter()
            .filter_map(|row| row.get::<Option<&str>, _>(1))
            .map(|event| serde_json::from_str(event).unwrap())
            .collect(),
        answer,
    };
    connection.close().await.unwrap();
    template
}

pub(crate) async fn read() -> Vec<Figure> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ours = Server::faktor(&directory.path().join("ours"), FIRST_USER);
    ours.ready().await;
    let token = ours.login().await;
    let creation = request("POST", "/v1/invoices", Some(&token), &create_body());
    let mut connection = Connection::open(ours.address).await.unwrap();
    let mut reads = Vec::new();
    let mut bytes = Vec::new();
    for _ in 0..READ_INVOICES {
        let (_, answer) = connection.ask(&creation).await.unwrap();
        let invoice: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        let path = format!("/v1/invoices/{}", invoice["id"].as_str().unwrap());
        reads.push(request("GET", &path, Some(&token), ""));
        bytes = answer;
    }
    let file = directory.path().join("answer.json");
    std::fs::write(&file, &bytes).unwrap();
    let bare = Server::bare(&["read", file.to_str().unwrap()]);
    let requests: Requests =
        Arc::new(move |connection, sent| Arc::clone(&reads[(connection + sent) % reads.len()]));
    let (ours, bare) = rounds((&ours, Arc::clone(&requests)), (&bare, requests)).await;
    let (rate, our_rate, bare_rate) = compare(&ours, &bare, |round| round.per_second);
    let (cpu, our_cpu, bare_cpu) = compare(&ours, &bare, |round| round.cpu_us);
    vec![Figure::at_least(
        "read of a live invoice: throughput / bare",
        0.6,
        rate,
        format!(
            "{our_rate:.0}/s / {bare_rate:.0}/s; {} B; CPU {our_cpu:.1} µs / {bare_cpu:.1} µs = {cpu:.2}",
            bytes.len()
        ),
    )]
}
