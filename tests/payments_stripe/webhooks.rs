//! What Stripe tells, and what is asked for when it could not.

use serde_json::{Value, json};

use crate::fake::{
    Fake, OLD_SECRET, SECRET, paid_once, path_of, session_of, start, tell, through_stripe,
};
use crate::support::TestApp;

/// An event as Stripe's documentation shows it, with more fields than are read.
fn intent_event(id: &str, kind: &str, invoice: &str) -> Value {
    json!({
        "id": id, "object": "event", "api_version": "2019-02-19", "created": 1_686_089_970,
        "data": {"object": {
            "id": format!("pi_{id}"), "object": "payment_intent", "amount": 11_900,
            "amount_capturable": 0, "amount_received": 11_900, "application": null,
            "capture_method": "automatic", "currency": "eur", "customer": null,
            "last_payment_error": null, "latest_charge": "ch_1", "livemode": false,
            "metadata": {"invoice": invoice}, "next_action": null, "on_behalf_of": null,
            "payment_method": "pm_1", "payment_method_types": ["card", "link"],
            "status": "succeeded"}},
        "livemode": false, "pending_webhooks": 1,
        "request": {"id": null, "idempotency_key": "pi_1-payatt_1"}, "type": kind,
    })
}

fn session_event(id: &str, kind: &str, invoice: &str, payment_status: &str) -> Value {
    json!({
        "id": id, "object": "event", "type": kind, "created": 1_686_089_970,
        "data": {"object": {
            "id": "cs_1", "object": "checkout.session", "amount_subtotal": 11_900,
            "amount_total": 11_900, "client_reference_id": invoice, "currency": "eur",
            "metadata": {"invoice": invoice}, "mode": "payment", "payment_intent": "pi_of_cs_1",
            "payment_status": payment_status, "status": "complete", "url": null}},
    })
}

/// A node that no test needs a played Stripe for: only its webhooks are used.
async fn node() -> Option<TestApp> {
    let fake = Fake::found()?;
    Some(start(&fake.url).await)
}

#[tokio::test]
async fn either_secret_is_taken_while_one_replaces_the_other_and_no_third() {
    let Some(app) = node().await else { return };
    let id = app.open_invoice().await;
    let event = intent_event("evt_a", "payment_intent.succeeded", &id);
    let path = "/v1/webhooks/stripe";
    tell(&app, path, &event, "whsec_of_someone_else")
        .await
        .expect_problem(400, "bad_signature");
    assert_eq!(app.invoice(&id).await["status"], "open");
    let other = intent_event("evt_b", "charge.refunded", &id);
    tell(&app, path, &other, SECRET).await.expect(200);
    tell(&app, path, &event, OLD_SECRET).await.expect(200);
    paid_once(&app, &id).await;
    // At the address that Envoice had, too; and not as another provider's.
    tell(&app, "/webhook/stripe", &event, SECRET)
        .await
        .expect(200);
    tell(&app, "/v1/webhooks/sandbox", &event, SECRET)
        .await
        .expect_problem(404, "unknown_provider");
}

#[tokio::test]
async fn types_that_mean_nothing_here_are_taken_and_change_nothing() {
    let Some(app) = node().await else { return };
    let id = app.open_invoice().await;
    let version = app.invoice(&id).await["version"].clone();
    for kind in [
        "charge.succeeded",
        "charge.refunded",
        "payment_intent.created",
        "checkout.session.expired",
        "a.type.of.next.year",
    ] {
        let event = intent_event(&format!("evt_{kind}"), kind, &id);
        tell(&app, "/v1/webhooks/stripe", &event, SECRET)
            .await
            .expect(200);
    }
    // Of a payment that has nothing to do with us.
    let mut foreign = intent_event("evt_foreign", "payment_intent.succeeded", &id);
    foreign["data"]["object"]["metadata"] = json!({"order": "17"});
    tell(&app, "/v1/webhooks/stripe", &foreign, SECRET)
        .await
        .expect(200);
    // The inbox works in order of arrival: once this one is through, so are those.
    let paid = intent_event("evt_paid", "payment_intent.succeeded", &id);
    tell(&app, "/v1/webhooks/stripe", &paid, SECRET)
        .await
        .expect(200);
    let paid = paid_once(&app, &id).await;
    assert_ne!(paid["version"], version);
    assert_eq!(paid["payment"]["last_failure"], json!(null));
}

#[tokio::test]
async fn a_debit_that_is_under_way_is_no_payment_until_it_arrives() {
    let Some(app) = node().await else { return };
    let id = app.open_invoice().await;
    let path = "/v1/webhooks/stripe";
    let completed = session_event("evt_1", "checkout.session.completed", &id, "unpaid");
    tell(&app, path, &completed, SECRET).await.expect(200);
    let failed = intent_event("evt_2", "payment_intent.payment_failed", &id);
    tell(&app, path, &failed, SECRET).await.expect(200);
    let second = app.open_invoice().await;
    let arrived = "checkout.session.async_payment_succeeded";
    let arrived = session_event("evt_3", arrived, &second, "paid");
    tell(&app, path, &arrived, SECRET).await.expect(200);
    paid_once(&app, &second).await;
    assert_eq!(app.invoice(&id).await["status"], "open");
}

#[tokio::test]
async fn a_webhook_told_twice_and_listed_counts_once() {
    let Some(fake) = Fake::found() else { return };
    let app = TestApp::start_with(|config| {
        through_stripe(config, &fake.url);
        config.payments.reconcile_interval_s = 1;
    })
    .await;
    let webhooks = fake.send_webhooks_to(&app, "/webhook/stripe").await;
    let id = sent(&app).await;
    let session = session_of(&app.invoice(&id).await);
    fake.pay_session(&session, "pm_card_visa").await.expect(200);
    paid_once(&app, &id).await;
    for kind in ["payment_intent.succeeded", "checkout.session.completed"] {
        let events = fake.events(kind, &id).await;
        assert_eq!(events.len(), 1, "{kind}");
        fake.resend(&events[0]).await;
        tell(&app, "/v1/webhooks/stripe", &events[0], SECRET)
            .await
            .expect(200);
    }
    // A later payment of another invoice is through only after those.
    let other = app.open_invoice().await;
    let event = intent_event("evt_later", "payment_intent.succeeded", &other);
    tell(&app, "/v1/webhooks/stripe", &event, SECRET)
        .await
        .expect(200);
    paid_once(&app, &other).await;
    paid_once(&app, &id).await;
    webhooks.end().await;
}

#[tokio::test]
async fn a_payment_whose_webhook_got_lost_is_found_by_asking() {
    let Some(fake) = Fake::found() else { return };
    let app = TestApp::start_with(|config| {
        through_stripe(config, &fake.url);
        config.payments.reconcile_interval_s = 1;
    })
    .await;
    let id = sent(&app).await;
    let session = session_of(&app.invoice(&id).await);
    fake.pay_session(&session, "pm_card_visa").await.expect(200);
    let paid = paid_once(&app, &id).await;
    let payment = &paid["payment"]["received"][0]["provider_payment"];
    assert_eq!(fake.session(&session).await["payment_intent"], *payment);
}

/// An invoice with its payment page, and nothing left to do.
async fn sent(app: &TestApp) -> String {
    let id = app.open_invoice().await;
    let send = format!("{}/send", path_of(&id));
    app.post(&send, json!({})).await.expect(202);
    app.until(&id, "sent", |invoice| {
        invoice["payment"]["url"].is_string() && invoice["pending"] == json!([])
    })
    .await;
    id
}
