//! A cluster, and somebody who talks to any of its nodes.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use faktor::cluster::placement::desired_owner;
use faktor::domain::ids::InvoiceId;
use faktor::store::{SHARDS, ShardId};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, Setup};
use crate::node::Node;

/// How long anything may take on a busy machine, unless a test says less.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const LOOK: Duration = Duration::from_millis(20);

pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) http: Client,
}

/// An answer, whatever it says.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }
}

pub(crate) fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found
        .unwrap_or_else(|| panic!("no {pointer} in {value}"))
        .to_owned()
}

impl Site {
    pub(crate) async fn start(setup: Setup) -> Self {
        Self::start_with(setup, |_| {}).await
    }

    /// Starts the nodes, and waits until each has its share.
    pub(crate) async fn start_with(setup: Setup, arrange: impl FnOnce(&mut [Node])) -> Self {
        let http = Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        let cluster = Cluster::start_with(setup, arrange).await;
        let site = Self { cluster, http };
        if site.cluster.nodes.len() > 1 {
            site.settled().await;
        }
        site
    }

    pub(crate) fn base(&self, node: usize) -> String {
        self.cluster.address(node).expect("an address")
    }

    pub(crate) async fn call_as(
        &self,
        token: &str,
        node: usize,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        self.try_call(token, node, method, path, body)
            .await
            .expect("an answer")
    }

    pub(crate) async fn try_call(
        &self,
        token: &str,
        node: usize,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, reqwest::Error> {
        let url = format!("{}{path}", self.base(node));
        let mut request = self.http.request(method, url).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await?.to_vec();
        Ok(Answer {
            status,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
            bytes,
        })
    }

    pub(crate) async fn call(
        &self,
        node: usize,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let token = &self.cluster.token;
        self.call_as(token, node, method, path, body).await
    }

    pub(crate) async fn get(&self, node: usize, path: &str) -> Answer {
        self.call(node, Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, node: usize, path: &str, body: Value) -> Answer {
        self.call(node, Method::POST, path, Some(body)).await
    }

    pub(crate) async fn patch(&self, node: usize, path: &str, body: Value) -> Answer {
        self.call(node, Method::PATCH, path, Some(body)).await
    }

    pub(crate) async fn sign_in(&self, node: usize, email: &str, password: &str) -> String {
        let credentials = json!({"email": email, "password": password});
        let answer = self.post(node, "/v1/auth/token", credentials).await;
        text(&answer.expect(200), "/access_token")
    }

    /// A draft over 119.00 €, which `node` owns while it has its share.
    pub(crate) async fn draft(&self, node: usize) -> String {
        let draft = self.post(node, "/v1/invoices", draft_body()).await;
        text(&draft.expect(201), "/id")
    }

    pub(crate) async fn open_invoice(&self, node: usize) -> String {
        let id = self.draft(node).await;
        let path = format!("/v1/invoices/{id}/finalize");
        self.post(node, &path, json!({})).await.expect(200);
        id
    }

    pub(crate) async fn invoice(&self, node: usize, id: &str) -> Value {
        self.get(node, &format!("/v1/invoices/{id}"))
            .await
            .expect(200)
    }

    /// Reads an invoice at a node until it is as it should be.
    pub(crate) async fn until(
        &self,
        node: usize,
        id: &str,
        within: Duration,
        is_so: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + within;
        loop {
            let path = format!("/v1/invoices/{id}");
            let answer = self.get(node, &path).await;
            if answer.status == 200 && is_so(&answer.body) {
                return answer.body;
            }
            assert!(
                Instant::now() < deadline,
                "not within {within:?}: {}",
                answer.body
            );
            sleep(LOOK).await;
        }
    }

    /// The types of an invoice's public events, as a node's stored feed has them.
    pub(crate) async fn kinds(&self, node: usize, id: &str) -> Vec<String> {
        let feed = self.feed(node).await;
        let of_it = feed.iter().filter(|event| event["subject"] == id);
        of_it.map(|event| text(event, "/type")).collect()
    }

    /// The whole feed.
    pub(crate) async fn feed(&self, node: usize) -> Vec<Value> {
        let mut events = Vec::new();
        let mut path = "/v1/events?limit=100".to_owned();
        loop {
            let page = self.get(node, &path).await.expect(200);
            events.extend(page["data"].as_array().expect("a list").iter().cloned());
            if page["has_more"] != true {
                return events;
            }
            path = format!("/v1/events?limit=100&after={}", text(&page, "/next"));
        }
    }

    /// The node that owns an invoice, as another one says.
    pub(crate) async fn owner(&self, id: &str) -> usize {
        let shard = shard(id);
        let asked = self.cluster.running()[0];
        let book = self.get(asked, "/v1/cluster").await.expect(200);
        let name = text(&book, &format!("/leases/{}/node", shard.0));
        self.named(&name)
    }

    pub(crate) fn named(&self, name: &str) -> usize {
        let found = self.cluster.nodes.iter().position(|node| node.name == name);
        found.expect("a node of the test")
    }

    /// Waits until every running node owns what it should, and all of them know that, and are linked.
    pub(crate) async fn settled(&self) {
        let running = self.cluster.running();
        let names: Vec<&str> = running
            .iter()
            .map(|&node| self.cluster.nodes[node].name.as_str())
            .collect();
        self.shared_by(&names).await;
    }

    /// As [`Self::settled`], with these as the owners of everything.
    pub(crate) async fn shared_by(&self, names: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        for node in self.cluster.running() {
            loop {
                let answer = self.get(node, "/v1/cluster").await;
                if answer.status == 200 && is_shared_by(&answer.body, names) {
                    break;
                }
                assert!(
                    Instant::now() < deadline,
                    "the shards are not where they belong: {}",
                    answer.body["nodes"]
                );
                sleep(LOOK).await;
            }
        }
    }

    /// The Message-IDs of the mails in the spool.
    pub(crate) fn mails(&self) -> Vec<String> {
        let Ok(spool) = std::fs::read_dir(self.cluster.data_dir().join("mail")) else {
            return Vec::new();
        };
        let mails = spool
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|kind| kind == "eml"));
        mails.map(|path| message_id(&path)).collect()
    }

    /// How many charges of an invoice the sandbox has carried out.
    pub(crate) async fn charges(&self, node: usize, id: &str) -> usize {
        let path = format!("/sandbox/charges?invoice={id}");
        let charges = self.get(node, &path).await.expect(200);
        let charges = charges["data"].as_array().expect("charges");
        let succeeded = charges
            .iter()
            .filter(|charge| charge["status"] == "succeeded");
        succeeded.count()
    }
}

pub(crate) fn shard(id: &str) -> ShardId {
    ShardId::of(id.parse::<InvoiceId>().expect("an id"))
}

pub(crate) fn draft_body() -> Value {
    json!({
        "bill_to": {"name": "Ada GmbH", "email": "ap@ada.example"},
        "currency": "EUR",
        "lines": [{"description": "Consulting", "quantity": "1", "unit_price": "100",
                   "tax": {"category": "S", "rate": "19"}}],
    })
}

fn is_shared_by(book: &Value, names: &[&str]) -> bool {
    let is_placed = |shard: u16| {
        let owner = book["leases"][usize::from(shard)]["node"].as_str();
        owner == desired_owner(ShardId(shard), names.iter().copied())
    };
    let up: HashSet<&str> = book["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .filter(|node| node["this"] == true || !node["link"].is_null())
        .filter_map(|node| node["name"].as_str())
        .collect();
    (0..SHARDS).all(is_placed) && names.iter().all(|name| up.contains(name))
}

fn message_id(mail: &Path) -> String {
    let mail = std::fs::read_to_string(mail).expect("a mail");
    let id = mail
        .lines()
        .find_map(|line| line.strip_prefix("Message-ID: "));
    id.expect("a Message-ID").trim().to_owned()
}
