//! What the provider tells, with a signature of ours.

use faktor::config::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::path_of;
use crate::support::{Answer, TestApp, read};

const SECRET: &str = "whsec_of_the_test_and_long_enough";

pub(crate) async fn start() -> TestApp {
    TestApp::start_with(|config| {
        config.payments.webhook_secret = Secret::new(SECRET.to_owned());
    })
    .await
}

fn signature(body: &str, at: i64, secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{at}.{body}").as_bytes());
    format!("t={at},v1={}", hex::encode(mac.finalize().into_bytes()))
}

async fn post(app: &TestApp, body: &str, signature: Option<&str>) -> Answer {
    let name = app.app.services.payments.signature_header();
    let mut request = app.client.post(format!("{}/v1/webhooks/sandbox", app.base));
    if let Some(signature) = signature {
        request = request.header(name, signature);
    }
    read(request.body(body.to_owned()).send().await.unwrap()).await
}

/// Tells an event as the provider would.
pub(crate) async fn tell(app: &TestApp, event: &Value) -> Answer {
    let body = event.to_string();
    let now = app.app.services.clock.now().as_second();
    post(app, &body, Some(&signature(&body, now, SECRET))).await
}

pub(crate) fn paid(event: &str, payment: &str, invoice: &str, minor: i64, currency: &str) -> Value {
    json!({"id": event, "type": "payment_intent.succeeded", "data": {"object": {
        "id": payment, "amount": minor, "currency": currency, "metadata": {"invoice": invoice}}}})
}

#[tokio::test]
async fn an_event_without_a_good_fresh_signature_is_refused_and_changes_nothing() {
    let app = start().await;
    let id = app.open_invoice().await;
    let body = paid("evt_1", "pi_1", &id, 11_900, "eur").to_string();
    let now = app.app.services.clock.now().as_second();
    for (given, code) in [
        (None, "missing_signature"),
        (Some("nonsense".to_owned()), "missing_signature"),
        (
            Some(signature(&body, now, "another secret")),
            "bad_signature",
        ),
        (
            Some(signature(&format!("{body} "), now, SECRET)),
            "bad_signature",
        ),
        (Some(signature(&body, now - 3_600, SECRET)), ""),
        (Some(signature(&body, now + 3_600, SECRET)), ""),
    ] {
        let answer = post(&app, &body, given.as_deref()).await;
        assert_eq!(answer.status, 400, "{given:?}: {}", answer.text());
        if !code.is_empty() {
            answer.expect_problem(400, code);
        }
    }
    assert_eq!(app.invoice(&id).await["status"], "open");
}

#[tokio::test]
async fn an_event_told_many_times_is_one_payment() {
    let app = start().await;
    let id = app.open_invoice().await;
    let event = paid("evt_1", "pi_1", &id, 11_900, "eur");
    let told = futures_util::future::join_all((0..8).map(|_| tell(&app, &event))).await;
    for answer in told {
        assert_eq!(answer.expect(200), json!({"received": true}));
    }
    tell(&app, &paid("evt_2", "pi_1", &id, 11_900, "eur"))
        .await
        .expect(200);
    app.until(&id, "paid", |invoice| invoice["status"] == "paid")
        .await;
    // One more payment of another invoice shows that those before were all worked on.
    let other = app.open_invoice().await;
    tell(&app, &paid("evt_3", "pi_2", &other, 11_900, "eur"))
        .await
        .expect(200);
    app.until(&other, "paid", |invoice| invoice["status"] == "paid")
        .await;
    let invoice = app.invoice(&id).await;
    assert_eq!(
        invoice["payment"]["received"].as_array().unwrap().len(),
        1,
        "{invoice:#}"
    );
    assert_eq!(invoice["totals"]["paid"], "119.00");
}

#[tokio::test]
async fn an_event_that_means_nothing_to_us_is_taken_and_forgotten() {
    let app = start().await;
    for event in [
        json!({"id": "evt_1", "type": "customer.created", "data": {"object": {}}}),
        json!({"id": "evt_2", "type": "payment_intent.succeeded", "data": {"object": {
            "id": "pi", "amount": 1, "currency": "eur"}}}),
        paid(
            "evt_3",
            "pi",
            "inv_00000000000000000000000000000007",
            100,
            "eur",
        ),
    ] {
        assert_eq!(
            tell(&app, &event).await.expect(200)["received"],
            true,
            "{event}"
        );
    }
    for event in [
        json!({"id": "evt_4"}),
        json!([]),
        paid("evt_5", "pi", "inv_1", -1, "eur"),
    ] {
        let answer = tell(&app, &event).await;
        assert_eq!(answer.status, 400, "{event}: {}", answer.text());
    }
    app.post("/webhook/stripe", json!({}))
        .await
        .expect_problem(404, "unknown_provider");
    app.post("/v1/webhooks/paypal", json!({}))
        .await
        .expect_problem(404, "unknown_provider");
}

#[tokio::test]
async fn a_payment_on_the_providers_page_reaches_the_invoice() {
    let app = TestApp::start().await;
    let id = app.draft().await;
    app.post(&format!("{}/send", path_of(&id)), json!({}))
        .await
        .expect(202);
    let sent = app
        .until(&id, "payable", |invoice| {
            invoice["payment"]["url"].is_string()
        })
        .await;
    let url = sent["payment"]["url"].as_str().unwrap().to_owned();
    let page = read(app.client.get(&url).send().await.unwrap()).await;
    assert!(
        page.status == 200 && page.text().contains("119.00"),
        "{}",
        page.text()
    );
    let form = [("payment_method", "pm_ok")];
    let pay = app
        .client
        .post(format!("{url}/pay"))
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(pay.status(), 303);
    app.until(&id, "paid", |invoice| invoice["status"] == "paid")
        .await;
    let invoice = app
        .until(&id, "quiet", |invoice| invoice["pending"] == json!([]))
        .await;
    assert_eq!(invoice["payment"]["received"].as_array().unwrap().len(), 1);
    assert_eq!(app.charges(&id).await.len(), 1);
}
