//! The played Stripe, and nodes that use it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;

use faktor::clock::{Clock, new_uuid};
use faktor::config::{Config, PaymentProvider, Secret};
use faktor::domain::ids::{EffectId, InvoiceId, OrganizationId};
use faktor::domain::invoice::effect::EffectKindName;
use faktor::domain::money::Money;
use faktor::outbound::payment::ChargeRequest;
use faktor::outbound::payment::stripe::{StripeOptions, StripeProvider};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::backends::backend;
use crate::support::{Answer, TestApp, read};

pub(crate) const KEY: &str = "sk_test_0f0f0f0f0f0f0f0f";
pub(crate) const SECRET: &str = "whsec_of_the_test_and_long_enough";
pub(crate) const OLD_SECRET: &str = "whsec_before_it_and_long_enough";

/// The played Stripe, which other tests use at the same time.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) url: String,
    http: reqwest::Client,
}

impl Fake {
    pub(crate) fn found() -> Option<Self> {
        Some(Self {
            url: backend("STRIPE")?,
            http: reqwest::Client::new(),
        })
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let request = self.http.get(format!("{}{path}", self.url));
        let answer = read(request.bearer_auth(KEY).send().await.unwrap()).await;
        answer.expect(200)
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let request = self.http.post(format!("{}{path}", self.url));
        read(request.bearer_auth(KEY).form(form).send().await.unwrap()).await
    }

    /// The customer pays on the session's page.
    pub(crate) async fn pay_session(&self, session: &str, method: &str) -> Answer {
        let path = format!("/_config/checkout/sessions/{session}/complete");
        self.post(&path, &[("payment_method", method)]).await
    }

    pub(crate) async fn session(&self, id: &str) -> Value {
        self.get(&format!("/v1/checkout/sessions/{id}")).await
    }

    /// Every payment intent of an invoice.
    pub(crate) async fn intents(&self, invoice: &str) -> Vec<Value> {
        let all = self.get("/v1/payment_intents?limit=1000000").await;
        let all = all["data"].as_array().unwrap().iter();
        all.filter(|intent| intent["metadata"]["invoice"] == invoice)
            .cloned()
            .collect()
    }

    /// The events of a type that concern an invoice.
    pub(crate) async fn events(&self, kind: &str, invoice: &str) -> Vec<Value> {
        let all = self
            .get(&format!("/v1/events?limit=1000000&type={kind}"))
            .await;
        let all = all["data"].as_array().unwrap().iter();
        all.filter(|event| event["data"]["object"]["metadata"]["invoice"] == invoice)
            .cloned()
            .collect()
    }

    pub(crate) async fn resend(&self, event: &Value) {
        let id = event["id"].as_str().unwrap();
        let resent = self
            .post(&format!("/_config/events/{id}/resend"), &[])
            .await;
        resent.expect(200);
    }

    /// The address of a proxy before it, through which each answer goes: `change` has the request
    /// (`POST /v1/path`) and the body, and gives another body or loses the answer.
    pub(crate) async fn behind(
        &self,
        change: impl Fn(&str, Bytes) -> Option<Bytes> + Send + Sync + 'static,
    ) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (fake, change) = (self.clone(), Arc::new(change));
        let router = Router::new().fallback(async move |request: Request| {
            let what = format!("{} {}", request.method(), request.uri().path());
            let (status, body) = fake.pass(request).await;
            match change(&what, body) {
                Some(body) => (status, body).into_response(),
                // The connection ends in the middle of the body.
                None => Body::from_stream(futures_util::stream::iter([
                    Ok(Bytes::from_static(b"{")),
                    Err(std::io::Error::other("lost")),
                ]))
                .into_response(),
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    async fn pass(&self, request: Request) -> (StatusCode, Bytes) {
        let (mut parts, body) = request.into_parts();
        parts.headers.remove("host");
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let passed = self
            .http
            .request(parts.method, format!("{}{}", self.url, parts.uri))
            .headers(parts.headers)
            .body(body);
        let answer = passed.send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap())
    }

    /// Sends the events of every test to this node. Call [`Webhooks::end`] when done.
    pub(crate) async fn send_webhooks_to(&self, app: &TestApp, path: &str) -> Webhooks {
        let webhooks = Webhooks {
            fake: self.clone(),
            name: format!("test-{}", new_uuid().simple()),
            url: format!("{}{path}", app.base),
        };
        webhooks.register(&[]).await;
        webhooks
    }
}

/// A registration that ends with its test.
pub(crate) struct Webhooks {
    fake: Fake,
    name: String,
    url: String,
}

impl Webhooks {
    async fn register(&self, more: &[(&str, &str)]) {
        let mut form = vec![("url", self.url.as_str()), ("secret", SECRET)];
        form.extend_from_slice(more);
        let path = format!("/_config/webhooks/{}", self.name);
        assert_eq!(self.fake.post(&path, &form).await.status, 200);
    }

    pub(crate) async fn end(self) {
        self.register(&[("events[0]", "of.no.such.type")]).await;
    }
}

/// A node that takes payments through Stripe at an address.
pub(crate) fn through_stripe(config: &mut Config, api_url: &str) {
    config.payments.provider = PaymentProvider::Stripe;
    api_url.clone_into(&mut config.payments.api_url);
    config.payments.secret_key = Secret::new(KEY.to_owned());
    config.payments.webhook_secret = Secret::new(SECRET.to_owned());
    config.payments.previous_webhook_secret = Secret::new(OLD_SECRET.to_owned());
    config.payments.timeout_ms = 10_000;
    // Only the tests of the sweep want it.
    config.payments.reconcile_interval_s = 86_400;
}

pub(crate) async fn start(api_url: &str) -> TestApp {
    TestApp::start_with(|config| through_stripe(config, api_url)).await
}

/// The provider by itself.
pub(crate) fn provider(api_url: &str) -> StripeProvider {
    StripeProvider::new(StripeOptions {
        api_url: api_url.to_owned(),
        secret_key: Secret::new(KEY.to_owned()),
        webhook_secrets: vec![Secret::new(SECRET.to_owned())],
        webhook_tolerance_s: 300,
        timeout: Duration::from_secs(20),
        clock: Clock::System,
    })
    .unwrap()
}

/// A charge of a new invoice.
pub(crate) fn charge(amount: Money) -> ChargeRequest {
    let invoice = InvoiceId::new(new_uuid());
    ChargeRequest {
        effect: EffectId {
            invoice,
            kind: EffectKindName::Charge,
            sequence: 1,
        },
        organization: OrganizationId::new(new_uuid()),
        invoice,
        amount,
        payment_method: "pm_card_visa".to_owned(),
        description: "2026-0001".to_owned(),
        requested_at: Clock::System.now(),
    }
}

pub(crate) fn path_of(id: &str) -> String {
    format!("/v1/invoices/{id}")
}

/// The id of the session that an invoice's payment page is.
pub(crate) fn session_of(invoice: &Value) -> String {
    session_at(invoice["payment"]["url"].as_str().unwrap())
}

pub(crate) fn session_at(url: &str) -> String {
    url.rsplit_once('/').unwrap().1.to_owned()
}

/// An issued invoice with one line; its id.
pub(crate) async fn issued(
    app: &TestApp,
    currency: &str,
    unit_price: &str,
    quantity: &str,
) -> String {
    let body = json!({
        "bill_to": {"name": "Ada GmbH", "email": "ap@ada.example"},
        "currency": currency,
        "lines": [{"description": "Consulting", "quantity": quantity, "unit_price": unit_price,
                   "tax": {"category": "Z", "rate": "0"}}],
    });
    let draft = app.post("/v1/invoices", body).await.expect(201);
    let id = draft["id"].as_str().unwrap().to_owned();
    let finalize = format!("{}/finalize", path_of(&id));
    app.post(&finalize, json!({})).await.expect(200);
    id
}

/// The invoice once it is paid and nothing is left to do; it was paid by one payment of Stripe's.
pub(crate) async fn paid_once(app: &TestApp, id: &str) -> Value {
    let paid = app.until(id, "paid", |invoice| {
        invoice["status"] == "paid" && invoice["pending"] == json!([])
    });
    let paid = paid.await;
    let received = paid["payment"]["received"].as_array().unwrap();
    assert_eq!(received.len(), 1, "{paid:#}");
    paid
}

/// A signature header as Stripe makes it.
pub(crate) fn signature(body: &str, at: i64, secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{at}.{body}").as_bytes());
    format!("t={at},v1={}", hex::encode(mac.finalize().into_bytes()))
}

/// Tells an event as Stripe does.
pub(crate) async fn tell(app: &TestApp, path: &str, event: &Value, secret: &str) -> Answer {
    let body = event.to_string();
    let now = app.app.services.clock.now().as_second();
    let request = app
        .client
        .post(format!("{}{path}", app.base))
        .header("stripe-signature", signature(&body, now, secret))
        .body(body);
    read(request.send().await.unwrap()).await
}
