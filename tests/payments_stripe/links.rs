//! The payment page: Checkout.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use faktor::clock::Clock;
use serde_json::{Value, json};

use crate::fake::{Fake, issued, paid_once, path_of, session_at, session_of, start};
use crate::support::read;

#[tokio::test]
async fn an_invoice_that_is_sent_is_paid_on_stripes_page() {
    let Some(fake) = Fake::found() else { return };
    let app = start(&fake.url).await;
    let webhooks = fake.send_webhooks_to(&app, "/v1/webhooks/stripe").await;
    // 3 × 40.00, which must be asked for as 120.00 once.
    let id = issued(&app, "EUR", "40", "3").await;
    app.post(&format!("{}/send", path_of(&id)), json!({}))
        .await
        .expect(202);
    let sent = app.until(&id, "sent", |invoice| {
        invoice["delivery"]["status"] == "sent" && invoice["payment"]["url"].is_string()
    });
    let sent = sent.await;
    let session = fake.session(&session_of(&sent)).await;
    assert_eq!(session["amount_total"], 12_000);
    assert_eq!(session["client_reference_id"], id);
    assert_eq!(session["metadata"]["invoice"], id);
    assert_eq!(session["success_url"], sent["page_url"]);
    let page = app.client.get(sent["page_url"].as_str().unwrap());
    let page = read(page.send().await.unwrap()).await;
    assert_eq!(page.status, 200);
    assert!(!page.text().to_lowercase().contains("sandbox"));
    let mails = app.mails().await;
    assert_eq!(mails.len(), 1);
    assert!(!mails[0].to_lowercase().contains("sandbox"));

    let session = session_of(&sent);
    assert_eq!(
        fake.pay_session(&session, "pm_card_visa_chargeDeclined")
            .await
            .status,
        402
    );
    fake.pay_session(&session, "pm_card_visa").await.expect(200);
    let paid = paid_once(&app, &id).await;
    assert_eq!(paid["totals"]["paid"], "120.00");
    assert_eq!(paid["payment"]["url"], json!(null));
    let history = app
        .get(&format!("{}/history?limit=100", path_of(&id)))
        .await
        .expect(200);
    let entries = history["data"].as_array().unwrap().iter();
    let payments = entries.filter(|entry| entry["what"] == "payment_received");
    assert_eq!(payments.count(), 1, "{history:#}");
    webhooks.end().await;
}

#[tokio::test]
async fn the_page_is_taken_down_when_the_money_came_otherwise() {
    let Some(fake) = Fake::found() else { return };
    let app = start(&fake.url).await;
    let id = app.open_invoice().await;
    app.post(&format!("{}/send", path_of(&id)), json!({}))
        .await
        .expect(202);
    let sent = app.until(&id, "sent", |invoice| {
        invoice["payment"]["url"].is_string() && invoice["pending"] == json!([])
    });
    let session = session_of(&sent.await);
    app.post(
        &format!("{}/payments", path_of(&id)),
        json!({"amount": "119.00", "method": "bank_transfer"}),
    )
    .await
    .expect(200);
    app.until(&id, "quiet", |invoice| invoice["pending"] == json!([]))
        .await;
    assert_eq!(fake.session(&session).await["status"], "expired");
}

#[tokio::test]
async fn a_page_that_closes_soon_is_replaced_when_the_customer_wants_to_pay() {
    let Some(fake) = Fake::found() else { return };
    let sessions = AtomicUsize::new(0);
    let proxy = fake.behind(move |what, answer| {
        let is_first =
            what == "POST /v1/checkout/sessions" && sessions.fetch_add(1, Ordering::SeqCst) == 0;
        if !is_first {
            return Some(answer);
        }
        // As it is for the customer who comes after 23 hours and 50 minutes.
        let mut session: Value = serde_json::from_slice(&answer).unwrap();
        session["expires_at"] = json!(Clock::System.now().as_second() + 600);
        Some(session.to_string().into())
    });
    let app = start(&proxy.await).await;
    let id = app.open_invoice().await;
    let page = app.invoice(&id).await["page_url"]
        .as_str()
        .unwrap()
        .to_owned();
    app.post(&format!("{}/send", path_of(&id)), json!({}))
        .await
        .expect(202);
    let sent = app.until(&id, "sent", |invoice| {
        invoice["payment"]["url"].is_string() && invoice["pending"] == json!([])
    });
    let first = session_of(&sent.await);
    let pay = async || {
        let answer = app.client.post(format!("{page}/pay")).send().await.unwrap();
        let answer = read(answer).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        session_at(answer.header("location"))
    };
    let second = pay().await;
    assert_ne!(second, first, "ten minutes are too short to pay in");
    assert_eq!(pay().await, second);
    // The old one, should it still be open, is taken down: it must not be paid twice.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while fake.session(&first).await["status"] == "open" {
        assert!(tokio::time::Instant::now() < deadline, "it stays open");
        tokio::task::yield_now().await;
    }
    assert_eq!(fake.session(&second).await["status"], "open");
}

#[tokio::test]
async fn an_amount_that_stripe_can_not_take_does_not_hold_up_the_mail() {
    let Some(fake) = Fake::found() else { return };
    let app = start(&fake.url).await;
    let id = issued(&app, "KWD", "5.124", "1").await;
    app.post(&format!("{}/send", path_of(&id)), json!({}))
        .await
        .expect(202);
    let sent = app.until(&id, "sent", |invoice| {
        invoice["delivery"]["status"] == "sent"
    });
    let sent = sent.await;
    let pending = sent["pending"].as_array().unwrap();
    assert_eq!(pending.len(), 1, "{pending:?}");
    assert_eq!(pending[0]["kind"], "payment_link");
    assert_eq!(pending[0]["last_error"]["code"], "provider_rejected");
    assert_eq!(app.mails().await.len(), 1);
}
