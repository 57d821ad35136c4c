//! A client: asks, and asks the same again somewhere else while it does not know what came of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use faktor::domain::ids::InvoiceId;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::cluster::{Addresses, Cluster};
use crate::recording::{Attempt, Kind, Operation, Reply, Shown};

/// Longer than a node takes to answer that it can't.
const ATTEMPT: Duration = Duration::from_secs(15);
/// How long a client goes on with one request.
const DEADLINE: Duration = Duration::from_secs(90);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What all clients share.
pub(crate) struct Clients {
    http: Client,
    addresses: Addresses,
    token: String,
    began: Instant,
    recording: Mutex<Vec<Operation>>,
}

/// What a client wants.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) key: String,
    pub(crate) kind: Kind,
    pub(crate) invoice: Option<InvoiceId>,
    /// `If-Match`.
    pub(crate) version: Option<u64>,
    /// Whether the key is told, so that the same can be asked again.
    pub(crate) is_keyed: bool,
    pub(crate) body: Value,
}

impl Wish {
    pub(crate) fn create(key: String) -> Self {
        let body = draft(&key, 100);
        Self {
            key,
            kind: Kind::Create,
            invoice: None,
            version: None,
            is_keyed: true,
            body,
        }
    }

    /// A change that any draft takes.
    pub(crate) fn edit(key: String, invoice: InvoiceId) -> Self {
        let body = json!({"reference": key});
        Self {
            key,
            kind: Kind::Edit,
            invoice: Some(invoice),
            version: None,
            is_keyed: false,
            body,
        }
    }

    pub(crate) fn read(key: String, invoice: InvoiceId) -> Self {
        Self {
            key,
            kind: Kind::Read,
            invoice: Some(invoice),
            version: None,
            is_keyed: false,
            body: json!({}),
        }
    }

    /// Whether it may be asked for again when nobody knows what came of it: without a key only what
    /// does no harm twice.
    fn can_be_repeated(&self) -> bool {
        self.is_keyed || self.version.is_some() || self.kind == Kind::Read
    }
}

impl Clients {
    pub(crate) fn of(cluster: &Cluster) -> Arc<Self> {
        let http = Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .build()
            .expect("a client");
        Arc::new(Self {
            http,
            addresses: Arc::clone(&cluster.addresses),
            token: cluster.token.clone(),
            began: Instant::now(),
            recording: Mutex::default(),
        })
    }

    pub(crate) fn recording(&self) -> Vec<Operation> {
        let recording = self.recording.lock();
        recording.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Time as the recording has it.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Asks until it knows, at `first` and then at the others in turn.
    pub(crate) async fn ask(&self, wish: Wish, first: usize) -> Operation {
        let deadline = Instant::now() + DEADLINE;
        let mut operation = Operation {
            key: wish.key.clone(),
            kind: wish.kind.clone(),
            invoice: wish.invoice,
            attempts: Vec::new(),
        };
        let mut pause = FIRST_PAUSE;
        let mut turn = first;
        loop {
            let Some((node, base)) = self.node(turn) else {
                sleep(pause).await;
                assert!(Instant::now() < deadline, "there is no node to ask");
                continue;
            };
            let (attempt, made) = self.attempt(&wish, node, &base, ATTEMPT).await;
            operation.invoice = operation.invoice.or(made);
            let reply = attempt.reply.clone();
            operation.attempts.push(attempt);
            match reply {
                Reply::Done { .. } | Reply::Refused { .. } => break,
                Reply::Unknown { .. } if !wish.can_be_repeated() => break,
                Reply::Unknown { .. } | Reply::NotTaken { .. } if Instant::now() >= deadline => {
                    break;
                }
                // The next one may be well: no need to wait, the first time around.
                Reply::NotTaken { .. } if operation.attempts.len() < self.count() => {}
                Reply::Unknown { .. } | Reply::NotTaken { .. } => {
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            turn += 1;
        }
        self.note(operation.clone());
        operation
    }

    /// Asks one node once, whatever comes of it, and waits for its answer for so long.
    pub(crate) async fn ask_once(&self, wish: Wish, node: usize, patience: Duration) -> Operation {
        let base = self.at(node).expect("an address");
        let (attempt, made) = self.attempt(&wish, node, &base, patience).await;
        let operation = Operation {
            key: wish.key,
            kind: wish.kind,
            invoice: wish.invoice.or(made),
            attempts: vec![attempt],
        };
        self.note(operation.clone());
        operation
    }

    /// What the node whose turn it is says to a GET; none unless it is 200.
    pub(crate) async fn look(&self, turn: usize, path: &str, patience: Duration) -> Option<Value> {
        let (_, base) = self.node(turn)?;
        let request = self.http.get(format!("{base}{path}"));
        let request = request.bearer_auth(&self.token).timeout(patience);
        let answer = request.send().await.ok()?;
        if answer.status() != 200 {
            return None;
        }
        answer.json().await.ok()
    }

    fn note(&self, operation: Operation) {
        let mut recording = self
            .recording
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        recording.push(operation);
    }

    fn count(&self) -> usize {
        let addresses = self.addresses.read();
        addresses.unwrap_or_else(PoisonError::into_inner).len()
    }

    fn at(&self, node: usize) -> Option<String> {
        let addresses = self.addresses.read();
        let addresses = addresses.unwrap_or_else(PoisonError::into_inner);
        addresses.get(node).cloned().flatten()
    }

    /// The node whose turn it is, among those that are known.
    pub(crate) fn node(&self, turn: usize) -> Option<(usize, String)> {
        let count = self.count();
        (turn..turn + count)
            .map(|turn| turn % count)
            .find_map(|node| Some((node, self.at(node)?)))
    }

    async fn attempt(
        &self,
        wish: &Wish,
        node: usize,
        base: &str,
        patience: Duration,
    ) -> (Attempt, Option<InvoiceId>) {
        let began = self.now();
        let request = self.request(wish, base).timeout(patience);
        let (reply, made) = match request.send().await {
            Err(error) if error.is_connect() => (
                Reply::NotTaken {
                    why: reason(&error),
                },
                None,
            ),
            Err(error) => (
                Reply::Unknown {
                    why: reason(&error),
                },
                None,
            ),
            Ok(answer) => {
                let status = answer.status().as_u16();
                match answer.json::<Value>().await {
                    Ok(body) => (reply(&wish.kind, status, &body), id(&body)),
                    Err(error) => (
                        Reply::Unknown {
                            why: reason(&error),
                        },
                        None,
                    ),
                }
            }
        };
        let attempt = Attempt {
            node,
            began,
            ended: self.now(),
            reply,
        };
        (attempt, made)
    }

    fn request(&self, wish: &Wish, base: &str) -> reqwest::RequestBuilder {
        let invoice = wish.invoice.map_or_else(String::new, |id| format!("/{id}"));
        let (method, rest) = match wish.kind {
            Kind::Create => (Method::POST, ""),
            Kind::Edit => (Method::PATCH, ""),
            Kind::Read => (Method::GET, ""),
            Kind::Finalize => (Method::POST, "/finalize"),
            Kind::Send => (Method::POST, "/send"),
            Kind::Pay(_) => (Method::POST, "/pay"),
            Kind::RecordPayment => (Method::POST, "/payments"),
            Kind::Void => (Method::POST, "/void"),
        };
        let mut request = self
            .http
            .request(method, format!("{base}/v1/invoices{invoice}{rest}"))
            .bearer_auth(&self.token)
            .header("x-request-id", &wish.key);
        if wish.kind != Kind::Read {
            request = request.json(&wish.body);
        }
        if wish.is_keyed {
            request = request.header("idempotency-key", &wish.key);
        }
        if let Some(version) = wish.version {
            request = request.header("if-match", format!("\"{version}\""));
        }
        request
    }
}

/// What an answer says of the command.
fn reply(kind: &Kind, status: u16, body: &Value) -> Reply {
    let code = body["code"].as_str().unwrap_or_default().to_owned();
    match status {
        200..300 => Reply::Done {
            status,
            shown: shown(body),
        },
        402 | 424 if matches!(kind, Kind::Pay(_)) => Reply::Done {
            status,
            shown: None,
        },
        429 | 500.. => Reply::Unknown {
            why: format!("{status} {code}"),
        },
        _ => Reply::Refused { status, code },
    }
}

fn id(body: &Value) -> Option<InvoiceId> {
    body["id"].as_str()?.parse().ok()
}

fn shown(body: &Value) -> Option<Shown> {
    Some(Shown {
        version: body["version"].as_u64()?,
        status: body["status"].as_str()?.to_owned(),
        number: body["number"].as_str().map(str::to_owned),
        paid: body["totals"]["paid"].as_str()?.to_owned(),
    })
}

/// The innermost reason, which says most.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    innermost.to_string()
}

/// One line with tax of 19 %.
pub(crate) fn draft(reference: &str, unit_price: u64) -> Value {
    json!({
        "bill_to": {"name": "Ada GmbH", "email": "ap@ada.example"},
        "currency": "EUR",
        "reference": reference,
        "lines": [{"description": "Consulting", "quantity": "1",
                   "unit_price": unit_price.to_string(), "tax": {"category": "S", "rate": "19"}}],
    })
}
