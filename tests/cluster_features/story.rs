//! The demo's story, each of its requests at the next node in turn.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::cluster::Setup;
use crate::site::{Answer, LOOK, PATIENCE, Site, draft_body, text};
use crate::turn;

const EMAIL: &str = "ada@faktor.test";
const PASSWORD: &str = "correct horse engine";

/// Somebody whose requests go around.
struct Traveller<'a> {
    site: &'a Site,
    token: String,
    next: usize,
}

impl Traveller<'_> {
    fn turn(&mut self) -> usize {
        self.next += 1;
        self.next % self.site.cluster.nodes.len()
    }

    async fn call(&mut self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let node = self.turn();
        let token = &self.token;
        self.site.call_as(token, node, method, path, body).await
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    async fn post(&mut self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn until(&mut self, id: &str, field: &str, value: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let invoice = self.get(&format!("/v1/invoices/{id}")).await.expect(200);
            if invoice.pointer(field).and_then(Value::as_str) == Some(value) {
                return invoice;
            }
            assert!(Instant::now() < deadline, "not {value} in time: {invoice}");
            sleep(LOOK).await;
        }
    }

    async fn sign_in(&mut self) {
        let credentials = json!({"email": EMAIL, "password": PASSWORD});
        let answer = self.post("/v1/auth/token", credentials).await.expect(200);
        self.token = text(&answer, "/access_token");
    }

    /// From a draft to paid; the invoice's id.
    async fn one_invoice(&mut self) -> String {
        let draft = self.post("/v1/invoices", draft_body()).await.expect(201);
        let id = text(&draft, "/id");
        let path = format!("/v1/invoices/{id}");
        let memo = json!({"memo": "Thank you for working with us."});
        let edited = self
            .call(Method::PATCH, &path, Some(memo))
            .await
            .expect(200);
        assert_eq!(edited["totals"]["total"], "119.00");
        self.post(&format!("{path}/finalize"), json!({}))
            .await
            .expect(200);
        self.until(&id, "/document/status", "ready").await;
        for format in ["pdf", "xlsx", "csv", "json"] {
            let document = self.get(&format!("{path}/document?format={format}")).await;
            assert_eq!(document.status, 200, "{format}");
            assert_eq!(document.bytes.starts_with(b"%PDF"), format == "pdf");
        }
        self.post(&format!("{path}/send"), json!({}))
            .await
            .expect(202);
        let sent = self.until(&id, "/delivery/status", "sent").await;
        self.customer_pays(&sent).await;
        self.until(&id, "/status", "paid").await;
        let paid = self.until(&id, "/document/status", "ready").await;
        assert_eq!(paid["totals"]["paid"], "119.00");
        id
    }

    /// What a customer does: looks at the page, goes on to the provider, and pays there.
    async fn customer_pays(&mut self, invoice: &Value) {
        let page = path_of(&text(invoice, "/page_url"));
        let shown = self.get(&page).await;
        assert_eq!(shown.status, 200);
        let pdf = self.get(&format!("{page}/document.pdf")).await;
        assert!(pdf.bytes.starts_with(b"%PDF"));
        let on = self.post(&format!("{page}/pay"), json!({})).await;
        assert_eq!(on.status, 303);
        let checkout = path_of(&text(invoice, "/payment/url"));
        assert_eq!(self.get(&checkout).await.status, 200);
        let node = self.turn();
        let form = self
            .site
            .http
            .post(format!("{}{checkout}/pay", self.site.base(node)));
        let paid = form.form(&[("payment_method", "pm_ok")]).send().await;
        assert_eq!(paid.expect("an answer").status(), 303);
    }
}

/// Behind the host.
fn path_of(url: &str) -> String {
    let url = reqwest::Url::parse(url).expect("a URL");
    url.path().to_owned()
}

fn assert_told(kinds: &[String], id: &str) {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for kind in kinds {
        *counts.entry(kind).or_default() += 1;
    }
    for kind in [
        "invoice.created",
        "invoice.updated",
        "invoice.finalized",
        "invoice.sent",
        "invoice.viewed",
        "invoice.payment_succeeded",
        "invoice.paid",
    ] {
        assert_eq!(counts.get(kind), Some(&1), "{kind} of {id}: {kinds:?}");
    }
    // The second one has the PAID mark.
    assert_eq!(counts.get("invoice.document_ready"), Some(&2), "{kinds:?}");
    assert_eq!(counts.values().sum::<usize>(), 9, "{id}: {kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invoices_whole_life_can_be_spread_over_three_nodes() {
    let _turn = turn().await;
    let site = Site::start(Setup::of(3)).await;
    let ada = json!({"first_name": "Ada", "last_name": "Lovelace", "email": EMAIL,
                     "roles": ["administrator"], "password": PASSWORD});
    site.post(1, "/v1/users", ada).await.expect(201);
    let mut ada = Traveller {
        site: &site,
        token: String::new(),
        next: 0,
    };
    ada.sign_in().await;
    let mut ids = Vec::new();
    // Each request comes to each node once.
    for round in 0..3 {
        ada.next = round;
        let address = json!({"address": {"line1": format!("{round} St James's Square"),
            "city": "London", "postal_code": "SW1Y 4JH", "country": "GB"}});
        let organization = ada.call(Method::PATCH, "/v1/organization", Some(address));
        organization.await.expect(200);
        let organization = ada.get("/v1/organization").await.expect(200);
        let line = text(&organization, "/address/line1");
        assert!(line.starts_with(&round.to_string()), "{line}");
        ids.push(ada.one_invoice().await);
    }
    let mut numbers = Vec::new();
    for id in &ids {
        let history = ada.get(&format!("/v1/invoices/{id}/history")).await;
        let history = history.expect(200);
        assert!(history["data"].as_array().expect("entries").len() > 8);
        assert_eq!(site.charges(ada.turn(), id).await, 1, "{id}");
        numbers.push(text(&site.invoice(ada.turn(), id).await, "/number"));
        // All nodes tell the same, and each event once.
        let told = site.kinds(0, id).await;
        assert_told(&told, id);
        for node in 1..3 {
            assert_eq!(site.kinds(node, id).await, told);
        }
    }
    numbers.sort();
    let last = |number: &String| number[number.len() - 1..].to_owned();
    assert_eq!(
        numbers.iter().map(last).collect::<Vec<_>>(),
        ["1", "2", "3"]
    );
    let feed = site.feed(2).await;
    assert_eq!(feed.len(), 27, "nothing else is in the feed");
    let listed = ada.get("/v1/invoices?status=paid").await.expect(200);
    assert_eq!(listed["data"].as_array().expect("a list").len(), 3);
    // What would be a second mail comes late.
    sleep(Duration::from_millis(300)).await;
    assert_eq!(site.mails().len(), 3);
}
