//! A node whose configuration names a Redis.

use faktor::app::App;
use faktor::clock::Clock;
use faktor::config::Secret;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::backends::backend;
use crate::nodes::{host_and_port, unique_prefix, until};
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::{self, TestApp};

async fn cache_is_ok(app: &TestApp) -> bool {
    let health = app.get("/health/readiness").await.expect(200);
    let found = health["dependencies"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["name"] == "cache").cloned());
    let cache = found.unwrap_or_else(|| panic!("no cache in {health}"));
    assert_eq!(cache["required"], false);
    cache["ok"] == true
}

#[tokio::test]
async fn a_node_stays_ready_and_answers_while_redis_is_gone() {
    let Some(url) = backend("REDIS") else { return };
    let proxy = FaultProxy::before(&host_and_port(&url)).await;
    let app = TestApp::start_with(|config| {
        config.cache.url = Secret::new(format!("redis://{}", proxy.address()));
        config.cache.key_prefix = unique_prefix();
    })
    .await;
    assert!(cache_is_ok(&app).await);
    proxy.set(Fault::Refuse);
    until("seen as gone", async || !cache_is_ok(&app).await).await;
    let id = app.open_invoice().await;
    app.sign_in(support::EMAIL, support::PASSWORD).await;
    let metrics = app.get("/metrics").await.text();
    for line in [
        "faktor_auth_cache_total{layer=\"redis\",result=\"miss\"}",
        "faktor_redis_errors_total{command=",
        "faktor_redis_seconds_bucket{command=\"recall\"",
    ] {
        assert!(metrics.contains(line), "no {line}");
    }

    proxy.set(Fault::Pass);
    until("found again", || cache_is_ok(&app)).await;
    app.invoice(&id).await;
    app.post("/v1/auth/revoke", json!({})).await.expect(204);
    assert_eq!(app.get("/v1/invoices").await.status, 401);
    app.stop().await;
}

#[tokio::test]
async fn a_node_does_not_start_without_its_redis_and_says_so_without_the_password() {
    let proxy = FaultProxy::before("127.0.0.1:1").await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = support::config(&dir);
    let address = proxy.address();
    config.cache.url = Secret::new(format!("redis://faktor:hidden@{address}/0"));
    config.server.start_timeout_s = 1;
    let error = App::start(config, Clock::System)
        .await
        .err()
        .unwrap()
        .to_string();
    let line = format!("cache (Redis) at redis://{address}/0: ");
    assert!(error.contains(&line), "{error}");
    assert!(!error.contains("hidden"), "{error}");
}

#[tokio::test]
async fn mails_to_one_domain_keep_their_rate_over_two_nodes() {
    let Some(url) = backend("REDIS") else { return };
    let key_prefix = unique_prefix();
    let start = || {
        TestApp::start_with(|config| {
            config.cache.url = Secret::new(url.clone());
            config.cache.key_prefix.clone_from(&key_prefix);
            config.mail.per_domain_per_minute = 2;
        })
    };
    let (one, other) = (start().await, start().await);
    let send = async |app: &TestApp| {
        let id = app.draft().await;
        app.post(&format!("/v1/invoices/{id}/send"), json!({}))
            .await
            .expect(202);
    };
    send(&one).await;
    send(&one).await;
    until("two mails sent", async || one.mails().await.len() == 2).await;
    send(&other).await;
    let list = other.get("/v1/invoices").await.expect(200);
    let id = list["data"][0]["id"].as_str().unwrap();
    let postponed = |invoice: &Value| {
        let mail = &invoice["pending"][0];
        let at = mail["next_attempt_at"].as_str().unwrap_or_default();
        let soon = Clock::System.now() + SignedDuration::from_secs(5);
        mail["kind"] == "mail"
            && mail["attempts"] == 0
            && at.parse::<Timestamp>().is_ok_and(|at| at > soon)
    };
    other.until(id, "postponed", postponed).await;
    assert_eq!(
        other.mails().await.len(),
        0,
        "its domain had its two of this minute"
    );
    one.stop().await;
    other.stop().await;
}
