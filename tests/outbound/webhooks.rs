//! Events on their way to the webhook route, as a receiver sees them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use faktor::clock::Clock;
use faktor::config::Secret;
use faktor::outbound::payment::sandbox::{SandboxOptions, SandboxProvider};
use faktor::outbound::payment::{Payments, ProviderEvent, ProviderEventKind, WebhookError};
use jiff::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::setting::{charge, effect, euros, invoice, link, options, payment_id, sandbox};

/// An event as it came in.
struct Received {
    signature: String,
    body: Bytes,
}

impl Received {
    fn verified(&self, sandbox: &SandboxProvider) -> ProviderEvent {
        let payments = Payments::Sandbox(sandbox.clone());
        let now = Clock::System.now();
        payments
            .verify_webhook(Some(&self.signature), &self.body, now)
            .unwrap()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A webhook route that refuses the first requests and tells of every one.
struct Receiver {
    base_url: String,
    received: mpsc::UnboundedReceiver<Received>,
}

#[derive(Clone)]
struct Route {
    tell: mpsc::UnboundedSender<Received>,
    refuse: Arc<AtomicUsize>,
}

impl Receiver {
    async fn start(refuse_first: usize) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, received) = mpsc::unbounded_channel();
        let route = Route {
            tell,
            refuse: Arc::new(AtomicUsize::new(refuse_first)),
        };
        let router = Router::new()
            .route("/v1/webhooks/sandbox", post(receive))
            .with_state(route);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base_url, received }
    }

    async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(Duration::from_secs(30), self.received.recv());
        next.await.unwrap().unwrap()
    }
}

async fn receive(State(route): State<Route>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let signature = headers["faktor-signature"].to_str().unwrap().to_owned();
    let less = |left: usize| left.checked_sub(1);
    let refused = route
        .refuse
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
        .is_ok();
    route.tell.send(Received { signature, body }).unwrap();
    if refused {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    }
}

struct Running {
    sandbox: SandboxProvider,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(data_dir: &Path, receiver: &Receiver) -> Self {
        let sandbox = sandbox(data_dir);
        sandbox.send_webhooks_to(&receiver.base_url);
        let cancel = CancellationToken::new();
        let task = sandbox.start_delivery(cancel.clone());
        Self {
            sandbox,
            cancel,
            task,
        }
    }

    async fn stop(self) {
        self.cancel.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn a_charge_by_the_api_is_told_with_a_good_signature() {
    let directory = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(0).await;
    let running = Running::start(directory.path(), &receiver);
    let request = charge("pm_ok", 1);
    let paid = payment_id(running.sandbox.charge(&request).await.unwrap());
    let told = receiver.next().await;
    let event = told.verified(&running.sandbox);
    assert!(event.id.starts_with("evt_sbx_"), "{event:?}");
    assert_eq!(
        event.what,
        ProviderEventKind::PaymentSucceeded {
            invoice: invoice(),
            effect: Some(request.effect.clone()),
            payment_id: paid,
            amount: euros(11_888),
            method: "card".to_owned(),
        }
    );
    let metadata = &told.json()["data"]["object"]["metadata"];
    assert_eq!(metadata["organization"], request.organization.to_string());
    running
        .sandbox
        .charge(&charge("pm_declined", 2))
        .await
        .unwrap();
    let declined = receiver.next().await.verified(&running.sandbox).what;
    assert!(
        matches!(&declined, ProviderEventKind::PaymentFailed { effect: Some(effect), code, .. }
            if effect.sequence == 2 && code == "card_declined"),
        "{declined:?}"
    );
    running.stop().await;
}

#[tokio::test]
async fn a_payment_on_the_page_is_told_by_two_events_with_one_payment_id() {
    let directory = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(0).await;
    let running = Running::start(directory.path(), &receiver);
    let created = running.sandbox.create_link(&link(3)).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let page = web_page(&running.sandbox).await;
    let url = format!("{page}/sandbox/checkout/{}/pay", created.id);
    let form = [("payment_method", "pm_declined")];
    client.post(&url).form(&form).send().await.unwrap();
    let failed = receiver.next().await.verified(&running.sandbox).what;
    assert!(
        matches!(
            failed,
            ProviderEventKind::PaymentFailed { effect: None, .. }
        ),
        "{failed:?}"
    );
    // The way back leads to a shop that does not exist; the payment is made all the same.
    drop(
        client
            .post(&url)
            .form(&[("payment_method", "pm_ok")])
            .send()
            .await,
    );
    let (one, two) = (receiver.next().await, receiver.next().await);
    let mut types = [one.json()["type"].clone(), two.json()["type"].clone()];
    types.sort_by_key(ToString::to_string);
    assert_eq!(
        types,
        ["checkout.session.completed", "payment_intent.succeeded"]
    );
    let (one, two) = (
        one.verified(&running.sandbox),
        two.verified(&running.sandbox),
    );
    assert_ne!(one.id, two.id);
    assert_eq!(one.what, two.what);
    assert!(matches!(
        one.what,
        ProviderEventKind::PaymentSucceeded { effect: None, .. }
    ));
    running.stop().await;
}

async fn web_page(sandbox: &SandboxProvider) -> String {
    use faktor::outbound::payment::sandbox::web;
    let router = web::router(sandbox.clone(), web::plain_page);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    base_url
}

#[tokio::test]
async fn an_event_that_is_refused_comes_again_with_the_same_id_until_it_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(3).await;
    let running = Running::start(directory.path(), &receiver);
    running.sandbox.charge(&charge("pm_ok", 1)).await.unwrap();
    let mut bodies = Vec::new();
    for _ in 0..4 {
        bodies.push(receiver.next().await.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    // Taken now: the next thing that comes is the next charge's event.
    running.sandbox.charge(&charge("pm_ok", 2)).await.unwrap();
    let next = receiver.next().await.json();
    assert_eq!(
        next["data"]["object"]["metadata"]["effect"],
        charge("pm_ok", 2).effect.to_string()
    );
    running.stop().await;
}

#[tokio::test]
async fn events_that_were_not_delivered_are_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    // Charged while nobody delivers, as when the process is killed right after.
    let before = sandbox(directory.path());
    for sequence in 1..=100 {
        before.charge(&charge("pm_ok", sequence)).await.unwrap();
    }
    let mut receiver = Receiver::start(10).await;
    let running = Running::start(directory.path(), &receiver);
    let mut deliveries: HashMap<String, usize> = HashMap::new();
    while deliveries.values().sum::<usize>() < 110 {
        let event = receiver.next().await.verified(&running.sandbox);
        *deliveries.entry(event.id).or_default() += 1;
    }
    assert_eq!(deliveries.len(), 100);
    running.stop().await;
    assert!(
        receiver.received.try_recv().is_err(),
        "an event came after it was taken"
    );
}

#[tokio::test]
async fn an_event_that_waits_for_its_next_attempt_does_not_wait_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(1).await;
    let patient = SandboxOptions {
        first_retry_delay: Duration::from_hours(1),
        ..options(directory.path())
    };
    let sandbox = SandboxProvider::open(patient).unwrap();
    sandbox.send_webhooks_to(&receiver.base_url);
    let cancel = CancellationToken::new();
    let task = sandbox.start_delivery(cancel.clone());
    sandbox.charge(&charge("pm_ok", 1)).await.unwrap();
    let refused = receiver.next().await;
    // The next round's event comes when the first round has been written down.
    sandbox.charge(&charge("pm_ok", 2)).await.unwrap();
    assert_ne!(receiver.next().await.body, refused.body);
    cancel.cancel();
    task.await.unwrap();
    let running = Running::start(directory.path(), &receiver);
    while receiver.next().await.body != refused.body {}
    running.stop().await;
}

/// The events in the books with their states.
async fn events(data_dir: &Path) -> Vec<(String, String)> {
    let options = SqliteConnectOptions::new().filename(data_dir.join("sandbox.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let events = sqlx::query_as("SELECT id, state FROM sandbox_events ORDER BY sequence")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    events
}

#[tokio::test]
async fn events_that_were_taken_are_forgotten_after_thirty_days() {
    let directory = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(0).await;
    let clock = Clock::manual(Timestamp::constant(1_800_000_000, 0));
    let sandbox = SandboxProvider::open(SandboxOptions {
        clock: clock.clone(),
        ..options(directory.path())
    })
    .unwrap();
    sandbox.send_webhooks_to(&receiver.base_url);
    let cancel = CancellationToken::new();
    let task = sandbox.start_delivery(cancel.clone());
    let mut taken = Vec::new();
    for (sequence, after_days, kept) in [(1, 0, 1), (2, 29, 2), (3, 2, 2)] {
        clock.advance_ms(after_days * 24 * 3_600 * 1_000);
        sandbox.charge(&charge("pm_ok", sequence)).await.unwrap();
        let id = receiver.next().await.json()["id"].clone();
        taken.push((id.as_str().unwrap().to_owned(), "delivered".to_owned()));
        let expected = &taken[taken.len() - kept..];
        let settled = async { while events(directory.path()).await != expected {} };
        tokio::time::timeout(Duration::from_secs(20), settled)
            .await
            .unwrap();
    }
    cancel.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn the_delivery_waits_for_its_address_and_stops_when_told() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = sandbox(directory.path());
    sandbox.charge(&charge("pm_ok", 1)).await.unwrap();
    let cancel = CancellationToken::new();
    let task = sandbox.start_delivery(cancel.clone());
    let mut receiver = Receiver::start(0).await;
    sandbox.send_webhooks_to(&receiver.base_url);
    receiver.next().await;
    cancel.cancel();
    tokio::time::timeout(Duration::from_secs(10), task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn the_secret_is_kept_over_restarts_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let now = Clock::System.now();
    let body = event_body();
    let header = sandbox(directory.path()).sign(&body, now);
    assert!(
        sandbox(directory.path())
            .verify_webhook(Some(&header), &body, now)
            .is_ok()
    );
    let path = directory.path().join("sandbox-webhook.secret");
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // A file that a crash cut short is not a secret.
    std::fs::write(&path, "").unwrap();
    let other = sandbox(directory.path());
    let refused = other.verify_webhook(Some(&header), &body, now);
    assert_eq!(refused, Err(WebhookError::BadSignature));
    assert!(!std::fs::read(&path).unwrap().is_empty());
}

#[test]
fn a_configured_secret_is_used_and_an_old_one_still_verifies() {
    let directory = tempfile::tempdir().unwrap();
    let open = |secrets: &[&str]| {
        SandboxProvider::open(SandboxOptions {
            webhook_secrets: secrets
                .iter()
                .map(|text| Secret::new((*text).to_owned()))
                .collect(),
            ..options(directory.path())
        })
        .unwrap()
    };
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let body = event_body();
    let old = open(&["old"]).sign(&body, now);
    assert!(
        open(&["new", "old"])
            .verify_webhook(Some(&old), &body, now)
            .is_ok()
    );
    assert!(
        open(&["new"])
            .verify_webhook(Some(&old), &body, now)
            .is_err()
    );
    assert!(!directory.path().join("sandbox-webhook.secret").exists());
    let late = now + Duration::from_secs(301);
    let stale = open(&["old"]).verify_webhook(Some(&old), &body, late);
    assert_eq!(stale, Err(WebhookError::TooOld { tolerance_s: 300 }));
}

fn event_body() -> Vec<u8> {
    let effect = effect(faktor::domain::invoice::effect::EffectKindName::Charge, 1);
    let object = serde_json::json!({"id": "pi_1", "amount": 1, "currency": "eur",
        "metadata": {"invoice": invoice(), "effect": effect.to_string()}});
    serde_json::json!({"id": "evt_1", "type": "payment_intent.succeeded",
        "data": {"object": object}})
    .to_string()
    .into_bytes()
}
