//! Invoices on their way from draft to paid, by clients that ask again when they got no answer.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
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
/// Between two requests of a client, so that a fault meets invoices at each step.
const PAUSE: Duration = Duration::from_millis(250);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a client goes on asking.
const PATIENCE: Duration = Duration::from_mins(2);

/// What the clients were told.
#[derive(Debug)]
pub(crate) struct Made {
    /// Id and number.
    pub(crate) invoices: Vec<(String, String)>,
    pub(crate) requests: u64,
    pub(crate) failures: Vec<Failure>,
}

/// An answer 5xx, or to a charge that the provider could not make at once.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) path: String,
}

pub(crate) struct Load {
    clients: JoinSet<(String, String)>,
    shared: Arc<Shared>,
}

struct Shared {
    http: reqwest::Client,
    base: String,
    method: &'static str,
    /// One for each invoice that may begin.
    begun: Semaphore,
    turns: Semaphore,
    /// Made, and not paid yet.
    under_way: AtomicUsize,
    /// The ids of those whose payment was asked for.
    asked_to_pay: Mutex<Vec<String>>,
    requests: AtomicU64,
    failures: Mutex<Vec<Failure>>,
}

impl Load {
    /// Each invoice has a caller, with a token: `bearer` of the invoice's number.
    pub(crate) fn start(app: &TestApp, bearer: impl Fn(usize) -> String) -> Self {
        let is_stripe = app.app.services.payments.name() == "stripe";
        let shared = Arc::new(Shared {
            http: app.client.clone(),
            base: app.base.clone(),
            method: if is_stripe { "pm_card_visa" } else { "pm_ok" },
            begun: Semaphore::new(0),
            turns: Semaphore::new(CLIENTS),
            under_way: AtomicUsize::new(0),
            asked_to_pay: Mutex::default(),
            requests: AtomicU64::new(0),
            failures: Mutex::default(),
        });
        let mut clients = JoinSet::new();
        for number in 0..INVOICES {
            let caller = Caller {
                shared: Arc::clone(&shared),
                bearer: bearer(number),
                number,
            };
            clients.spawn(caller.invoice());
        }
        Self { clients, shared }
    }

    /// Lets one more invoice begin; the id of the next one whose payment was asked for.
    pub(crate) async fn next_one(&self) -> String {
        let before = self.shared.asked_to_pay().len();
        self.shared.begun.add_permits(1);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(id) = self.shared.asked_to_pay().get(before) {
                return id.clone();
            }
            assert!(Instant::now() < deadline, "no invoice comes to its payment");
            sleep(LOOK_EVERY).await;
        }
    }

    /// Lets so many more invoices begin, and waits until some are made and not paid: a fault that comes
    /// now meets them in the middle of things.
    pub(crate) async fn get_under_way(&self, invoices: usize) {
        self.shared.begun.add_permits(invoices);
        let deadline = Instant::now() + PATIENCE;
        while self.shared.under_way.load(Ordering::Relaxed) < CLIENTS / 2 {
            assert!(Instant::now() < deadline, "no invoice is under way");
            sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) async fn finish(self) -> Made {
        self.shared.begun.add_permits(INVOICES);
        let invoices = self.clients.join_all().await;
        let mut failures = self.shared.failures.lock().expect("no panic");
        Made {
            invoices,
            requests: self.shared.requests.load(Ordering::Relaxed),
            failures: std::mem::take(&mut failures),
        }
    }
}

impl Shared {
    fn asked_to_pay(&self) -> MutexGuard<'_, Vec<String>> {
        self.asked_to_pay.lock().expect("no panic")
    }
}

struct Caller {
    shared: Arc<Shared>,
    bearer: String,
    number: usize,
}

impl Caller {
    /// One invoice, from draft to a payment that was asked for; what was acknowledged of it.
    async fn invoice(self) -> (String, String) {
        let shared = &self.shared;
        shared.begun.acquire().await.expect("a start").forget();
        let turn = shared.turns.acquire().await.expect("a turn");
        let created = self.ask("/v1/invoices", draft_body()).await;
        shared.under_way.fetch_add(1, Ordering::Relaxed);
        let id = text(&created, "id");
        let path = format!("/v1/invoices/{id}");
        let issued = self.ask(&format!("{path}/finalize"), json!({})).await;
        let given = text(&issued, "number");
        self.ask(&format!("{path}/send"), json!({})).await;
        let pay = json!({"payment_method": shared.method});
        self.ask(&format!("{path}/pay"), pay).await;
        shared.under_way.fetch_sub(1, Ordering::Relaxed);
        shared.asked_to_pay().push(id.clone());
        drop(turn);
        (id, given)
    }

    /// Asks until there is an answer that is not about the moment.
    async fn ask(&self, path: &str, body: Value) -> Value {
        let step = path.rsplit('/').next().unwrap_or_default();
        let key = format!("{step}-{}", self.number);
        let deadline = Instant::now() + PATIENCE;
        loop {
            sleep(PAUSE).await;
            let (status, answered) = self.ask_once(path, &body, &key).await;
            match status {
                200..300 => return answered,
                500.. => self.note(status, path, &answered),
                429 => {}
                // The charge goes on by itself: asking again under the same key gives this answer.
                424 if path.ends_with("/pay") => {
                    self.note(status, path, &answered);
                    return answered;
                }
                _ => panic!("{status} {path}: {answered}"),
            }
            assert!(
                Instant::now() < deadline,
                "{path} was not done in time: {answered}"
            );
        }
    }

    async fn ask_once(&self, path: &str, body: &Value, key: &str) -> (u16, Value) {
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        let url = format!("{}{path}", self.shared.base);
        let answer = self
            .shared
            .http
            .request(Method::POST, url)
            .bearer_auth(&self.bearer)
            .header("idempotency-key", key)
            .json(body)
            .send()
            .await
            .expect("the node itself is never away");
        let status = answer.status().as_u16();
        (status, answer.json().await.expect("JSON"))
    }

    fn note(&self, status: u16, path: &str, answered: &Value) {
        println!("{status} {path}: {}", answered["detail"]);
        let path = path.to_owned();
        let mut failures = self.shared.failures.lock().expect("no panic");
        failures.push(Failure { status, path });
    }
}

fn text(answer: &Value, field: &str) -> String {
    answer[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {answer}"))
        .to_owned()
}
