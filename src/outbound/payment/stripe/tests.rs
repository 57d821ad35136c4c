//! Stripe's answers, as its documentation has them, given by a server of the test's own.

mod charges;
mod pages;

use std::collections::VecDeque;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::*;
use crate::domain::invoice::effect::EffectKindName;
use crate::domain::money::{Currency, Money};

const INVOICE: &str = "inv_00000000000000000000000000000007";
const NOW: &str = "2026-11-21T12:00:00Z";
const KEY: &str = "sk_test_0123456789abcdef";

/// What the server answers to one request.
#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    body: String,
    replayed: bool,
    /// The connection is closed instead.
    lost: bool,
}

fn answer(status: u16, body: &Value) -> Answer {
    Answer {
        status,
        body: body.to_string(),
        replayed: false,
        lost: false,
    }
}

fn replayed(status: u16, body: &Value) -> Answer {
    Answer {
        replayed: true,
        ..answer(status, body)
    }
}

fn lost() -> Answer {
    Answer {
        lost: true,
        ..answer(200, &Value::Null)
    }
}

/// What was asked, as `POST /v1/path` with query or body decoded.
#[derive(Debug, Clone)]
struct Asked {
    what: String,
    key: Option<String>,
    version: String,
    form: Vec<(String, String)>,
}

impl Asked {
    fn value(&self, name: &str) -> Option<&str> {
        let mut values = self.form.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is given twice: {self:?}");
        value
    }
}

#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Script {
    async fn answer(State(script): State<Self>, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let form = parts
            .uri
            .query()
            .map_or(body, |query| Bytes::copy_from_slice(query.as_bytes()));
        let url = format!("http://x/?{}", String::from_utf8_lossy(&form));
        let header = |name: &str| {
            let value = parts.headers.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        assert_eq!(header("authorization").unwrap(), format!("Bearer {KEY}"));
        script.asked.lock().unwrap().push(Asked {
            what: format!("{} {}", parts.method, parts.uri.path()),
            key: header("idempotency-key"),
            version: header("stripe-version").unwrap(),
            form: reqwest::Url::parse(&url)
                .unwrap()
                .query_pairs()
                .into_owned()
                .collect(),
        });
        let answer = script.answers.lock().unwrap().pop_front();
        let answer = answer.expect("a request that the test does not expect");
        if answer.lost {
            // The connection ends in the middle of the body.
            let broken = futures_util::stream::iter([
                Ok(Bytes::from_static(b"{")),
                Err(std::io::Error::other("lost")),
            ]);
            return axum::body::Body::from_stream(broken).into_response();
        }
        let status = StatusCode::from_u16(answer.status).unwrap();
        let mut response = (status, answer.body).into_response();
        if answer.replayed {
            let replayed = "true".parse().unwrap();
            response
                .headers_mut()
                .insert("idempotent-replayed", replayed);
        }
        response
    }

    /// Each request in order: `POST /v1/payment_intents`.
    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|asked| asked.what.clone()).collect()
    }

    fn request(&self, at: usize) -> Asked {
        self.asked.lock().unwrap()[at].clone()
    }
}

async fn stripe(answers: impl IntoIterator<Item = Answer>) -> (StripeProvider, Script) {
    let script = Script::default();
    script.answers.lock().unwrap().extend(answers);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api_url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .fallback(Script::answer)
        .with_state(script.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (provider(&api_url), script)
}

fn provider(api_url: &str) -> StripeProvider {
    StripeProvider::new(StripeOptions {
        api_url: api_url.to_owned(),
        secret_key: Secret::new(KEY.to_owned()),
        webhook_secrets: vec![
            Secret::new("whsec_new".to_owned()),
            Secret::new("whsec_test".to_owned()),
        ],
        webhook_tolerance_s: 300,
        timeout: Duration::from_secs(5),
        clock: Clock::manual(NOW.parse().unwrap()),
    })
    .unwrap()
}

fn effect(kind: EffectKindName) -> EffectId {
    EffectId {
        invoice: INVOICE.parse().unwrap(),
        kind,
        sequence: 4,
    }
}

fn charge_of(minor: i64, currency: &str) -> ChargeRequest {
    ChargeRequest {
        effect: effect(EffectKindName::Charge),
        organization: "org_00000000000000000000000000000001".parse().unwrap(),
        invoice: INVOICE.parse().unwrap(),
        amount: Money::new(minor, currency.parse().unwrap()),
        payment_method: "pm_card_visa".to_owned(),
        description: "2026-0001".to_owned(),
        requested_at: NOW.parse().unwrap(),
    }
}

fn charge() -> ChargeRequest {
    charge_of(11_900, "EUR")
}

fn link() -> LinkRequest {
    LinkRequest {
        effect: effect(EffectKindName::PaymentLink),
        organization: "org_00000000000000000000000000000001".parse().unwrap(),
        invoice: INVOICE.parse().unwrap(),
        amount: Money::new(11_900, Currency::EUR),
        description: "2026-0001".to_owned(),
        return_url: "https://pay.example/i/token".to_owned(),
    }
}

fn method() -> Answer {
    answer(
        200,
        &json!({"id": "pm_1", "object": "payment_method", "customer": null}),
    )
}

fn intent(status: &str) -> Value {
    json!({"id": "pi_1", "object": "payment_intent", "status": status,
           "metadata": {"effect": format!("{INVOICE}-charge-4")}})
}

fn refusal(kind: &str, code: &str) -> Value {
    json!({"error": {"type": kind, "code": code, "message": "Stripe's sentence."}})
}

fn succeeded() -> ChargeOutcome {
    ChargeOutcome::Succeeded {
        payment_id: "pi_1".to_owned(),
        method: "card".to_owned(),
    }
}

fn declined_with(outcome: Result<ChargeOutcome, ProviderError>) -> String {
    match outcome {
        Ok(ChargeOutcome::Declined { code, .. }) => code,
        other => panic!("not declined: {other:?}"),
    }
}

fn is_unknown<T>(result: &Result<T, ProviderError>) -> bool {
    matches!(result, Err(ProviderError::OutcomeUnknown { .. }))
}

fn is_unavailable<T>(result: &Result<T, ProviderError>) -> bool {
    matches!(result, Err(ProviderError::Unavailable { .. }))
}

fn is_rejected<T>(result: &Result<T, ProviderError>) -> bool {
    matches!(result, Err(ProviderError::Rejected { .. }))
}

const METHOD: &str = "GET /v1/payment_methods/pm_card_visa";
const CREATE: &str = "POST /v1/payment_intents";
const LIST: &str = "GET /v1/payment_intents";
const RETRIEVE: &str = "GET /v1/payment_intents/pi_1";
const CANCEL: &str = "POST /v1/payment_intents/pi_1/cancel";

fn page(intents: &[Value], has_more: bool) -> Answer {
    answer(
        200,
        &json!({"object": "list", "data": intents, "has_more": has_more}),
    )
}

#[tokio::test]
async fn past_events_come_in_pages_without_those_that_concern_no_invoice() {
    let event = |id: &str, metadata: Value| {
        json!({"id": id, "type": "payment_intent.succeeded",
            "data": {"object": {"id": "pi_1", "amount": 119, "amount_received": 119,
                "currency": "jpy", "metadata": metadata}}})
    };
    let ours = event("evt_2", json!({"invoice": INVOICE}));
    let unreadable = event("evt_0", json!({"invoice": "inv_1"}));
    let listed = [ours.clone(), event("evt_1", json!({})), unreadable];
    let (stripe, script) = stripe([page(&listed, true), page(&[], false)]).await;
    let mut query = EventsQuery {
        kind: StripeProvider::EVENT_TYPES[0],
        since: NOW.parse().unwrap(),
        after: None,
    };
    let first = stripe.events(&query).await.unwrap();
    assert_eq!(first.next.as_deref(), Some("evt_0"));
    let [found] = &first.events[..] else {
        panic!("{first:?}");
    };
    assert_eq!(serde_json::from_slice::<Value>(&found.body).unwrap(), ours);
    assert!(matches!(
        found.event.what,
        crate::outbound::payment::ProviderEventKind::PaymentSucceeded { amount, .. }
            if amount == Money::new(119, "JPY".parse().unwrap())
    ));
    query.after = first.next;
    assert_eq!(stripe.events(&query).await.unwrap().next, None);
    let (first, second) = (script.request(0), script.request(1));
    assert_eq!(first.value("type"), Some("payment_intent.succeeded"));
    assert_eq!(first.value("created[gte]"), Some("1795262400"));
    assert_eq!(second.value("starting_after"), Some("evt_0"));
}

#[tokio::test]
async fn readiness_asks_stripe_at_most_every_fifteen_seconds() {
    let (stripe, script) = stripe([
        answer(200, &json!({"object": "balance"})),
        answer(500, &json!({})),
    ])
    .await;
    for _ in 0..3 {
        assert_eq!(stripe.ping().await, Ok(()));
    }
    assert_eq!(script.asked(), ["GET /v1/balance"]);
    stripe.inner.clock.advance_ms(15_000);
    assert!(matches!(stripe.ping().await, Err(PingError::Failed(_))));
}

#[tokio::test]
async fn readiness_waits_once_for_a_stripe_that_is_silent() {
    // Connections are made, and nobody takes them up.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stripe = provider(&format!("http://{}", silent.local_addr().unwrap()));
    let failed = Err(PingError::Failed("no answer within 1000 ms".to_owned()));
    assert_eq!(stripe.ping().await, failed);
    let again = timeout(Duration::from_millis(100), stripe.ping());
    assert_eq!(again.await, Ok(failed), "it waits again");
}
