//! Starting with Stripe, and with one that does not answer.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use faktor::app::App;
use faktor::clock::Clock;
use serde_json::json;

use crate::fake::{Fake, KEY, start, through_stripe};
use crate::support::config;

async fn refusal(api_url: &str, patience_s: u64) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir);
    through_stripe(&mut config, api_url);
    config.server.start_timeout_s = patience_s;
    match App::start(config, Clock::System).await {
        Ok(_) => panic!("the node started"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_key_that_stripe_does_not_take_ends_the_start_at_once_with_a_line() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api_url = format!("http://{}", listener.local_addr().unwrap());
    let body = json!({"error": {"type": "invalid_request_error",
        "message": format!("Invalid API Key provided: {KEY}")}});
    let router = Router::new().fallback(async move || (StatusCode::UNAUTHORIZED, body.to_string()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let refused = tokio::time::timeout(Duration::from_secs(20), refusal(&api_url, 3_600));
    let line = refused.await.expect("it does not wait for patience");
    assert!(
        line.contains(&format!(
            "payments (Stripe) at {api_url}: Stripe does not accept the secret key"
        )),
        "{line}"
    );
    assert!(!line.contains(KEY), "{line}");
}

#[tokio::test]
async fn a_stripe_that_can_not_be_reached_ends_the_start_after_its_patience() {
    let line = refusal("http://127.0.0.1:1", 0).await;
    assert!(
        line.contains("payments (Stripe) at http://127.0.0.1:1: Stripe can't be reached"),
        "{line}"
    );
}

#[tokio::test]
async fn readiness_names_the_payments_and_goes_on_without_them() {
    let Some(fake) = Fake::found() else { return };
    let app = start(&fake.url).await;
    let health = app.get("/health/readiness").await;
    assert_eq!(health.status, 200, "{}", health.text());
    assert!(health.text().contains("payments"), "{}", health.text());
}
