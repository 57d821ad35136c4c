//! The whole life of invoices by HTTP, from draft to paid: what is asked of each is the same in every
//! way, and what a round costs includes what the nodes do by themselves: documents, mails, payment
//! pages, charges, webhooks.
//!
//! An invoice that is paid before its first document is there gets one document less. So none is paid
//! before all of its issue is done, in no way, and a client has several invoices at once and comes back
//! to each when that should be long done. Where it is not, it looks again after a pause; such a look
//! is no request that counts.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::client::request;
use super::load::{Client, Load, Plan, Turns, creation, edit, reading, scatter};
use super::ways::Way;

/// What counts of an invoice's requests: see [`Walk`].
pub(crate) const REQUESTS: usize = 12;
/// Invoices that a client has at once.
pub(crate) const AT_ONCE: usize = 2;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a busy machine may take for what an invoice waits for.
const PATIENCE: Duration = Duration::from_mins(1);

/// Clients take invoices through their lives; what was begun in time is brought to its end.
pub(crate) async fn lives(way: &Way, plan: Plan, turn: usize) -> Load {
    let begun = Instant::now();
    let creations = way.tokens.iter().map(|token| creation(token));
    let creations: Rc<[_]> = creations.collect();
    let walks = (0..plan.clients).map(|number| {
        let walk = Walk {
            way,
            client: Client::new(&way.addresses),
            creations: Rc::clone(&creations),
            next: (turn << 40) + (number << 32),
            load: Load::default(),
        };
        walk.go(plan.turns(number, begun))
    });
    let mut all = Load::default();
    for load in join_all(walks).await {
        all.add(load);
    }
    assert_eq!(all.answered.len() % REQUESTS, 0, "requests of an invoice");
    for side in &way.sides {
        while side.nodes.place.undelivered_webhooks().await > 0 {
            sleep(LOOK_EVERY).await;
        }
    }
    all
}

struct Invoice {
    id: String,
    made_by: usize,
    /// The node to ask; none: any of those that know it.
    node: Option<usize>,
}

/// One client's way through the lives of its invoices.
struct Walk<'a> {
    way: &'a Way,
    client: Client<'a>,
    creations: Rc<[Arc<[u8]>]>,
    /// Chooses the node of the next request.
    next: usize,
    load: Load,
}

impl Walk<'_> {
    async fn go(mut self, mut turns: Turns) -> Load {
        while turns.next().await.is_some() {
            let mut invoices = Vec::new();
            for _ in 0..AT_ONCE {
                invoices.push(self.issue().await);
            }
            for invoice in &invoices {
                self.pay(invoice).await;
            }
            for invoice in &invoices {
                self.close(invoice).await;
            }
        }
        self.load
    }

    /// Six requests.
    async fn issue(&mut self) -> Invoice {
        let made_by = self.scattered(self.way.tokens.len());
        let creation = Arc::clone(&self.creations[made_by]);
        let made = read(&self.ask(made_by, &creation).await);
        let id = made["id"].as_str().unwrap().to_owned();
        let node = self.way.side_of(made_by).node_for(&id);
        let invoice = Invoice { id, made_by, node };
        self.ask_of(&invoice, reading).await;
        let version = self.next;
        self.ask_of(&invoice, |token, id| edit(token, id, version))
            .await;
        self.ask_of(&invoice, reading).await;
        // Finalizes, and all that follows from it.
        self.ask_of(&invoice, |token, id| post(token, id, "send", "{}"))
            .await;
        self.ask_of(&invoice, reading).await;
        invoice
    }

    /// Five requests, once the invoice is issued and its mail sent.
    async fn pay(&mut self, invoice: &Invoice) {
        self.read_until(invoice, "open").await;
        self.ask_of(invoice, |token, id| get(token, id, "history"))
            .await;
        self.ask_of(invoice, |token, id| get(token, id, "document"))
            .await;
        let method = json!({"payment_method": "pm_ok"}).to_string();
        self.ask_of(invoice, |token, id| post(token, id, "pay", &method))
            .await;
        self.ask_of(invoice, reading).await;
    }

    /// One request.
    async fn close(&mut self, invoice: &Invoice) {
        self.read_until(invoice, "paid").await;
    }

    /// One request that counts, and looks at the same node until the invoice has come so far and
    /// nothing of it is under way.
    async fn read_until(&mut self, invoice: &Invoice, status: &str) {
        let deadline = Instant::now() + PATIENCE;
        let node = self.node_of(invoice);
        let request = reading(&self.way.tokens[node], &invoice.id);
        let mut seen = read(&self.ask(node, &request).await);
        while seen["status"] != status || seen["pending"] != json!([]) {
            assert!(Instant::now() < deadline, "not {status} yet: {seen}");
            sleep(LOOK_EVERY).await;
            seen = read(&self.answer(node, &request).await);
            self.load.looks += 1;
        }
        assert_eq!(seen["document"]["status"], "ready", "{seen}");
        assert_eq!(seen["delivery"]["status"], "sent", "{seen}");
    }

    async fn ask_of(
        &mut self,
        invoice: &Invoice,
        what: impl FnOnce(&str, &str) -> Arc<[u8]>,
    ) -> Vec<u8> {
        let node = self.node_of(invoice);
        let request = what(&self.way.tokens[node], &invoice.id);
        self.ask(node, &request).await
    }

    async fn ask(&mut self, node: usize, request: &[u8]) -> Vec<u8> {
        let asked = Instant::now();
        let answer = self.answer(node, request).await;
        self.load.answered.push((asked, asked.elapsed()));
        answer
    }

    async fn answer(&mut self, node: usize, request: &[u8]) -> Vec<u8> {
        let (status, answer) = self.client.ask(node, request).await.unwrap();
        let told = || {
            let head = String::from_utf8_lossy(request);
            let head = head.lines().next().unwrap_or_default().to_owned();
            format!("{head}: {status}: {}", String::from_utf8_lossy(&answer))
        };
        assert!((200..300).contains(&status), "{}", told());
        answer
    }

    fn node_of(&mut self, invoice: &Invoice) -> usize {
        let those = self.way.side_of(invoice.made_by).all();
        let any = those.start + self.scattered(those.len());
        invoice.node.unwrap_or(any)
    }

    fn scattered(&mut self, below: usize) -> usize {
        self.next += 1;
        scatter(self.next, below)
    }
}

fn read(answer: &[u8]) -> Value {
    serde_json::from_slice(answer).unwrap()
}

fn get(token: &str, id: &str, what: &str) -> Arc<[u8]> {
    request("GET", &format!("/v1/invoices/{id}/{what}"), Some(token), "")
}

fn post(token: &str, id: &str, what: &str, body: &str) -> Arc<[u8]> {
    let path = format!("/v1/invoices/{id}/{what}");
    request("POST", &path, Some(token), body)
}
