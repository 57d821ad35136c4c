//! Invoices on their way from draft to paid, by clients that ask again when they got no answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::{TestApp, draft_body};

pub(crate) const INVOICES: usize = 200;
/// Clients at the same time.
const CLIENTS: usize = 16;
/// How long a client goes on asking.
const PATIENCE: Duration = Duration::from_mins(2);

/// What the clients were told.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// Id and number.
    pub(crate) invoices: Vec<(String, String)>,
    pub(crate) requests: u64,
    /// Answers 5xx, and charges that the provider could not make at once.
    pub(crate) failures: u64,
}

pub(crate) struct Load {
    clients: JoinSet<(String, String)>,
    shared: Arc<Shared>,
}

struct Shared {
    http: reqwest::Client,
    base: String,
    token: String,
    method: &'static str,
    turns: Semaphore,
    requests: AtomicU64,
    failures: AtomicU64,
    done: AtomicU64,
}

impl Load {
    pub(crate) fn start(app: &TestApp) -> Self {
        let is_stripe = app.app.services.payments.name() == "stripe";
        let shared = Arc::new(Shared {
            http: app.client.clone(),
            base: app.base.clone(),
            token: app.token.clone(),
            method: if is_stripe { "pm_card_visa" } else { "pm_ok" },
            turns: Semaphore::new(CLIENTS),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            done: AtomicU64::new(0),
        });
        let mut clients = JoinSet::new();
        for number in 0..INVOICES {
            let shared = Arc::clone(&shared);
            clients.spawn(async move { shared.invoice(number).await });
        }
        Self { clients, shared }
    }

    /// So that a fault meets invoices in the middle of things.
    pub(crate) async fn until_some_are_under_way(&self) {
        let before = self.shared.requests.load(Ordering::Relaxed);
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.shared.requests.load(Ordering::Relaxed) < before + 20
            && self.shared.done.load(Ordering::Relaxed) < INVOICES as u64
            && Instant::now() < deadline
        {
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn finish(self) -> Made {
        let invoices = self.clients.join_all().await;
        Made {
            invoices,
            requests: self.shared.requests.load(Ordering::Relaxed),
            failures: self.shared.failures.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    /// One invoice, from draft to a payment that was asked for; what was acknowledged of it.
    async fn invoice(&self, number: usize) -> (String, String) {
        let turn = self.turns.acquire().await.expect("a turn");
        // Spread over the faults.
        sleep(Duration::from_millis(1_200)).await;
        let created = self
            .ask("/v1/invoices", draft_body(), &format!("create-{number}"))
            .await;
        let id = text(&created, "id");
        let path = format!("/v1/invoices/{id}");
        let issued = self
            .ask(
                &format!("{path}/finalize"),
                json!({}),
                &format!("issue-{number}"),
            )
            .await;
        let given = text(&issued, "number");
        self.ask(
            &format!("{path}/send"),
            json!({}),
            &format!("send-{number}"),
        )
        .await;
        let pay = json!({"payment_method": self.method});
        self.ask(&format!("{path}/pay"), pay, &format!("pay-{number}"))
            .await;
        self.done.fetch_add(1, Ordering::Relaxed);
        drop(turn);
        (id, given)
    }

    /// Asks until there is an answer that is not about the moment.
    async fn ask(&self, path: &str, body: Value, key: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let answer = self
                .http
                .request(Method::POST, format!("{}{path}", self.base))
                .bearer_auth(&self.token)
                .header("idempotency-key", key)
                .json(&body)
                .send()
                .await
                .expect("the node itself is never away");
            let status = answer.status().as_u16();
            let answered: Value = answer.json().await.expect("JSON");
            match status {
                200..300 => return answered,
                500.. => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    println!("{status} {path}: {}", answered["detail"]);
                }
                429 => {}
                // The charge goes on by itself: asking again under the same key gives this answer.
                424 if path.ends_with("/pay") => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    return answered;
                }
                _ => panic!("{status} {path}: {answered}"),
            }
            assert!(
                Instant::now() < deadline,
                "{path} was not done in time: {answered}"
            );
            sleep(Duration::from_millis(300)).await;
        }
    }
}

fn text(answer: &Value, field: &str) -> String {
    answer[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {answer}"))
        .to_owned()
}
