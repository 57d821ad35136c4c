//! Stripe's answers, as its documentation has them, given by a server of the test's own.

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

#[tokio::test]
async fn a_charge_is_one_confirmed_intent_under_the_effects_key() {
    let (stripe, script) = stripe([method(), answer(200, &intent("succeeded"))]).await;
    assert_eq!(stripe.charge(&charge()).await.unwrap(), succeeded());
    assert_eq!(script.asked(), [METHOD, CREATE]);
    let asked = script.request(1);
    assert_eq!(asked.key.as_deref(), Some(&*format!("{INVOICE}-charge-4")));
    assert_eq!(asked.version, API_VERSION);
    for (name, value) in [
        ("amount", "11900"),
        ("currency", "eur"),
        ("payment_method", "pm_card_visa"),
        ("confirm", "true"),
        ("automatic_payment_methods[enabled]", "true"),
        ("automatic_payment_methods[allow_redirects]", "never"),
        ("description", "2026-0001"),
        ("metadata[invoice]", INVOICE),
        (
            "metadata[organization]",
            "org_00000000000000000000000000000001",
        ),
        ("metadata[effect]", &format!("{INVOICE}-charge-4")),
    ] {
        assert_eq!(asked.value(name), Some(value), "{name}");
    }
    assert_eq!(asked.value("customer"), None);
}

#[tokio::test]
async fn a_saved_method_is_charged_with_its_customer() {
    let saved = answer(200, &json!({"id": "pm_1", "customer": "cus_7"}));
    let (stripe, script) = stripe([saved, answer(200, &intent("succeeded"))]).await;
    stripe.charge(&charge()).await.unwrap();
    assert_eq!(script.request(1).value("customer"), Some("cus_7"));
}

#[tokio::test]
async fn amounts_without_decimals_and_with_three_are_sent_as_stripe_writes_them() {
    for (minor, currency, sent) in [
        (500, "JPY", "500"),
        (5_120, "KWD", "5120"),
        (5, "ISK", "500"),
    ] {
        let (stripe, script) = stripe([method(), answer(200, &intent("succeeded"))]).await;
        stripe.charge(&charge_of(minor, currency)).await.unwrap();
        assert_eq!(script.request(1).value("amount"), Some(sent), "{currency}");
    }
    let (stripe, script) = stripe([]).await;
    assert!(is_rejected(&stripe.charge(&charge_of(5_124, "KWD")).await));
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn a_decline_names_the_banks_reason() {
    let error = json!({"error": {"type": "card_error", "code": "card_declined",
        "decline_code": "insufficient_funds", "message": "Your card has insufficient funds."}});
    let (stripe, _) = stripe([method(), answer(402, &error)]).await;
    assert_eq!(
        stripe.charge(&charge()).await.unwrap(),
        ChargeOutcome::Declined {
            code: "insufficient_funds".to_owned(),
            detail: "Your card has insufficient funds.".to_owned(),
        }
    );
}

#[tokio::test]
async fn a_method_that_stripe_does_not_know_is_declined_and_never_charged() {
    let missing = refusal("invalid_request_error", "resource_missing");
    let (stripe, script) = stripe([answer(404, &missing)]).await;
    assert_eq!(
        declined_with(stripe.charge(&charge()).await),
        "invalid_payment_method"
    );
    let mut elsewhere = charge();
    elsewhere.payment_method = "../events".to_owned();
    assert_eq!(
        declined_with(stripe.charge(&elsewhere).await),
        "invalid_payment_method"
    );
    assert_eq!(script.asked(), [METHOD]);
}

#[tokio::test]
async fn a_payment_that_wants_its_payer_is_canceled_so_that_it_can_not_succeed_later() {
    let (stripe, script) = stripe([
        method(),
        answer(200, &intent("requires_action")),
        answer(200, &intent("canceled")),
    ])
    .await;
    assert_eq!(
        declined_with(stripe.charge(&charge()).await),
        "authentication_required"
    );
    assert_eq!(script.asked(), [METHOD, CREATE, CANCEL]);
}

#[tokio::test]
async fn a_payment_that_can_not_be_canceled_is_what_it_has_become() {
    let refused = answer(
        400,
        &refusal("invalid_request_error", "payment_intent_unexpected_state"),
    );
    let (stripe, _) = stripe([
        method(),
        answer(200, &intent("requires_action")),
        refused,
        answer(200, &intent("succeeded")),
    ])
    .await;
    assert_eq!(stripe.charge(&charge()).await.unwrap(), succeeded());
}

#[tokio::test]
async fn while_a_cancellation_is_not_sure_the_outcome_is_unknown() {
    for second in [
        answer(429, &refusal("rate_limit", "rate_limit")),
        lost(),
        answer(500, &json!({})),
    ] {
        let (stripe, _) = stripe([method(), answer(200, &intent("requires_action")), second]).await;
        assert!(is_unknown(&stripe.charge(&charge()).await));
    }
}

#[tokio::test]
async fn a_kept_answer_that_is_not_final_is_asked_for_anew() {
    for (kept, now, settled) in [
        ("processing", "succeeded", Some(succeeded())),
        ("processing", "processing", None),
        ("requires_action", "succeeded", Some(succeeded())),
    ] {
        let (stripe, script) = stripe([
            method(),
            replayed(200, &intent(kept)),
            answer(200, &intent(now)),
        ])
        .await;
        let outcome = stripe.charge(&charge()).await;
        assert_eq!(script.asked(), [METHOD, CREATE, RETRIEVE]);
        match settled {
            Some(settled) => assert_eq!(outcome.unwrap(), settled),
            None => assert!(is_unknown(&outcome), "{outcome:?}"),
        }
    }
    let (stripe, _) = stripe([
        method(),
        replayed(200, &intent("requires_action")),
        answer(200, &intent("canceled")),
    ])
    .await;
    assert_eq!(
        declined_with(stripe.charge(&charge()).await),
        "authentication_required"
    );
}

#[tokio::test]
async fn the_outcome_is_unknown_once_the_request_may_have_arrived() {
    for unclear in [
        lost(),
        answer(409, &refusal("idempotency_error", "idempotency_key_in_use")),
        answer(500, &json!({})),
        answer(502, &json!("a proxy's page")),
        answer(200, &json!({"unreadable": true})),
        answer(200, &intent("processing")),
        answer(200, &intent("a_status_of_next_year")),
    ] {
        let told = format!("{unclear:?}");
        let (stripe, _) = stripe([method(), unclear]).await;
        let outcome = stripe.charge(&charge()).await;
        assert!(is_unknown(&outcome), "{told}: {outcome:?}");
    }
}

#[tokio::test]
async fn what_surely_did_nothing_is_unavailable() {
    for refused in [
        answer(401, &refusal("invalid_request_error", "api_key_expired")),
        answer(403, &refusal("invalid_request_error", "permission")),
        answer(429, &refusal("rate_limit_error", "rate_limit")),
    ] {
        let (stripe, _) = stripe([method(), refused]).await;
        assert!(is_unavailable(&stripe.charge(&charge()).await));
    }
    // A lost answer to a question that moves no money.
    let (stripe, _) = stripe([lost()]).await;
    assert!(is_unavailable(&stripe.charge(&charge()).await));
    // No one listens. (With TLS, too: a client for the real address can be made.)
    provider("https://api.stripe.com");
    let nowhere = provider("http://127.0.0.1:1");
    assert!(is_unavailable(&nowhere.create_link(&link()).await));
}

#[tokio::test]
async fn a_wrong_request_is_rejected_with_stripes_reason_and_without_the_key() {
    let error = json!({"error": {"type": "invalid_request_error", "code": "amount_too_small",
        "message": "Amount must be at least €0.50 eur"}});
    let (stripe, _) = stripe([method(), answer(400, &error)]).await;
    let Err(error @ ProviderError::Rejected { .. }) = stripe.charge(&charge()).await else {
        panic!("not rejected");
    };
    assert_eq!(
        error.to_string(),
        "the payment provider refused the request: Stripe answered 400, amount_too_small: \
         Amount must be at least €0.50 eur"
    );
    let echo = json!({"error": {"message": format!("Invalid API Key provided: {KEY}")}});
    let (stripe, _) = self::stripe([answer(401, &echo)]).await;
    let Err(PingError::BadKey(sentence)) = stripe.ask().await else {
        panic!("the key is taken");
    };
    assert!(!sentence.contains(KEY), "{sentence}");
    assert!(!format!("{stripe:?}").contains(KEY));
}

fn page(intents: &[Value], has_more: bool) -> Answer {
    answer(
        200,
        &json!({"object": "list", "data": intents, "has_more": has_more}),
    )
}

fn foreign(id: &str) -> Value {
    json!({"id": id, "status": "succeeded", "metadata": {"effect": "of another one"}})
}

#[tokio::test]
async fn a_charge_older_than_its_key_is_looked_for_before_it_is_sent_again() {
    let mut old = charge();
    old.requested_at = "2026-11-20T13:00:00Z".parse().unwrap();
    let (stripe, script) = stripe([
        page(&[foreign("pi_9"), foreign("pi_8")], true),
        page(&[intent("succeeded")], false),
    ])
    .await;
    assert_eq!(stripe.charge(&old).await.unwrap(), succeeded());
    assert_eq!(script.asked(), [LIST, LIST]);
    assert_eq!(script.request(0).value("created[gte]"), Some("1795179300"));
    assert_eq!(script.request(1).value("starting_after"), Some("pi_8"));
    // It was never made: then it may be.
    let (stripe, script) = self::stripe([
        page(&[foreign("pi_9")], false),
        method(),
        answer(200, &intent("succeeded")),
    ])
    .await;
    assert_eq!(stripe.charge(&old).await.unwrap(), succeeded());
    assert_eq!(script.asked(), [LIST, METHOD, CREATE]);
    // It can't be looked for: then it must not be.
    for unclear in [lost(), answer(429, &json!({})), answer(400, &json!({}))] {
        let (stripe, script) = self::stripe([unclear]).await;
        assert!(is_unknown(&stripe.charge(&old).await));
        assert_eq!(script.asked(), [LIST]);
    }
    // Just before that age, it is sent.
    old.requested_at = "2026-11-20T13:00:01Z".parse().unwrap();
    let (stripe, script) = self::stripe([method(), answer(200, &intent("succeeded"))]).await;
    stripe.charge(&old).await.unwrap();
    assert_eq!(script.asked(), [METHOD, CREATE]);
}

#[tokio::test]
async fn a_key_used_with_another_request_and_a_kept_failure_are_settled_by_looking() {
    let other = answer(400, &refusal("idempotency_error", "idempotency_error"));
    let kept_failure = replayed(500, &refusal("api_error", "api_error"));
    for unclear in [other.clone(), kept_failure.clone()] {
        let (stripe, script) =
            stripe([method(), unclear, page(&[intent("succeeded")], false)]).await;
        assert_eq!(stripe.charge(&charge()).await.unwrap(), succeeded());
        assert_eq!(script.asked(), [METHOD, CREATE, LIST]);
    }
    let nothing = page(&[], false);
    let (stripe, _) = stripe([method(), other, nothing.clone()]).await;
    assert!(is_rejected(&stripe.charge(&charge()).await));
    let (stripe, _) = self::stripe([method(), kept_failure, nothing]).await;
    assert!(is_unknown(&stripe.charge(&charge()).await));
}

#[tokio::test]
async fn looking_for_a_charge_has_an_end() {
    let mut old = charge();
    old.requested_at = "2026-11-01T00:00:00Z".parse().unwrap();
    let pages = (0..20).map(|_| page(&[foreign("pi_9")], true));
    let (stripe, script) = stripe(pages).await;
    assert!(is_unknown(&stripe.charge(&old).await));
    assert_eq!(script.asked().len(), 20);
}

#[tokio::test]
async fn a_payment_page_asks_for_what_is_due_once() {
    let session = json!({"id": "cs_1", "url": "https://checkout.stripe.com/c/pay/cs_1",
        "status": "open", "expires_at": 1_795_348_800});
    let (stripe, script) = stripe([answer(200, &session)]).await;
    let created = stripe.create_link(&link()).await.unwrap();
    assert_eq!(
        created,
        CreatedLink {
            id: "cs_1".to_owned(),
            url: "https://checkout.stripe.com/c/pay/cs_1".to_owned(),
            expires_at: Some("2026-11-22T12:00:00Z".parse().unwrap()),
        }
    );
    let asked = script.request(0);
    assert_eq!(asked.what, "POST /v1/checkout/sessions");
    let key = format!("{INVOICE}-payment_link-4");
    assert_eq!(asked.key.as_deref(), Some(&*key));
    for (name, value) in [
        ("mode", "payment"),
        ("line_items[0][quantity]", "1"),
        ("line_items[0][price_data][unit_amount]", "11900"),
        ("line_items[0][price_data][currency]", "eur"),
        ("client_reference_id", INVOICE),
        ("success_url", "https://pay.example/i/token"),
        ("cancel_url", "https://pay.example/i/token"),
        ("metadata[invoice]", INVOICE),
        ("payment_intent_data[metadata][invoice]", INVOICE),
        ("payment_intent_data[metadata][effect]", &key),
    ] {
        assert_eq!(asked.value(name), Some(value), "{name}");
    }
    assert!(
        !asked
            .form
            .iter()
            .any(|(name, _)| name.starts_with("line_items[1]"))
    );
}

#[tokio::test]
async fn a_page_to_return_to_must_be_a_web_address() {
    let (stripe, script) = stripe([]).await;
    for return_url in ["", "javascript:alert(1)", "https://x/\n"] {
        let nowhere = LinkRequest {
            return_url: return_url.to_owned(),
            ..link()
        };
        assert!(is_rejected(&stripe.create_link(&nowhere).await));
    }
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn taking_down_a_page_that_is_closed_or_gone_is_fine() {
    let closed = answer(400, &refusal("invalid_request_error", "none"));
    let session = |status: &str| answer(200, &json!({"id": "cs_1", "status": status}));
    for (answers, done) in [
        (vec![session("expired")], true),
        (vec![closed.clone(), session("expired")], true),
        (vec![closed, session("open")], false),
        (
            vec![answer(
                404,
                &refusal("invalid_request_error", "resource_missing"),
            )],
            true,
        ),
        (vec![answer(500, &json!({}))], false),
    ] {
        let (stripe, _) = stripe(answers.clone()).await;
        let result = stripe.expire_link("cs_1").await;
        assert_eq!(result.ok(), done.then_some(LinkEnd::Closed), "{answers:?}");
    }
}

#[tokio::test]
async fn taking_down_a_page_that_was_paid_says_by_what() {
    let refused = answer(400, &refusal("invalid_request_error", "none"));
    let session = |paid: &str| {
        answer(
            200,
            &json!({"id": "cs_1", "status": "complete", "payment_status": paid,
                    "payment_intent": "pi_1", "amount_total": 119, "currency": "jpy"}),
        )
    };
    let payment = |status: &str| answer(200, &json!({"id": "pi_1", "status": status}));
    let paid = Some(LinkEnd::Paid {
        payment_id: "pi_1".to_owned(),
        amount: Money::new(119, "JPY".parse().unwrap()),
        method: "card".to_owned(),
    });
    for (answers, end) in [
        (vec![refused.clone(), session("paid")], paid.clone()),
        // A debit takes days: it is under way, then there or not.
        (
            vec![refused.clone(), session("unpaid"), payment("processing")],
            None,
        ),
        (
            vec![refused.clone(), session("unpaid"), payment("succeeded")],
            paid,
        ),
        (
            vec![
                refused,
                session("unpaid"),
                payment("requires_payment_method"),
            ],
            Some(LinkEnd::Closed),
        ),
    ] {
        let (stripe, _) = stripe(answers.clone()).await;
        let result = stripe.expire_link("cs_1").await;
        assert_eq!(result.ok(), end, "{answers:?}");
    }
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
