//! Checkout sessions and their page.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use faktor::outbound::payment::sandbox::web::{plain_page, router};
use faktor::outbound::payment::sandbox::{ChargeStatus, SandboxProvider, SessionState};
use faktor::outbound::payment::{CreatedLink, LinkEnd, ProviderError};
use tower::ServiceExt;

use crate::setting::{PUBLIC_URL, charge, euros, invoice, link, sandbox};

struct Answer {
    status: StatusCode,
    location: Option<String>,
    body: String,
}

async fn call(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let location = response.headers().get(header::LOCATION);
    let location = location.map(|value| value.to_str().unwrap().to_owned());
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20)
        .await
        .unwrap();
    Answer {
        status,
        location,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn get(router: &Router, path: &str) -> Answer {
    call(router, Request::get(path).body(Body::empty()).unwrap()).await
}

async fn pay(router: &Router, link: &CreatedLink, payment_method: &str) -> Answer {
    let path = format!("{}/pay", link.url.strip_prefix(PUBLIC_URL).unwrap());
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(format!("payment_method={payment_method}")))
        .unwrap();
    call(router, request).await
}

async fn state(sandbox: &SandboxProvider, link: &CreatedLink) -> SessionState {
    sandbox.session(&link.id).await.unwrap().unwrap().state
}

#[tokio::test]
async fn the_same_key_gives_the_same_page_also_at_once_and_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let first = sandbox(directory.path());
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let first = first.clone();
        calls.spawn(async move { first.create_link(&link(1)).await.unwrap() });
    }
    let mut links = calls.join_all().await;
    links.push(
        sandbox(directory.path())
            .create_link(&link(1))
            .await
            .unwrap(),
    );
    links.dedup();
    assert_eq!(links.len(), 1, "{links:?}");
    assert!(links[0].id.starts_with("cs_"));
    assert_eq!(
        links[0].url,
        format!("{PUBLIC_URL}/sandbox/checkout/{}", links[0].id)
    );
    let other = first.create_link(&link(2)).await.unwrap();
    assert_ne!(other, links[0]);
}

#[tokio::test]
async fn a_link_for_another_amount_or_to_no_web_address_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = sandbox(directory.path());
    sandbox.create_link(&link(1)).await.unwrap();
    let mut more = link(1);
    more.amount = euros(1);
    let mut nothing = link(2);
    nothing.amount = euros(0);
    let mut script = link(3);
    script.return_url = "javascript:alert(1)".to_owned();
    let mut header = link(4);
    header.return_url = "http://shop.test/\r\nSet-Cookie: a=b".to_owned();
    for request in [more, nothing, script, header] {
        let answer = sandbox.create_link(&request).await;
        assert!(
            matches!(answer, Err(ProviderError::Rejected { .. })),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn the_page_shows_the_amount_and_paying_leads_back_to_the_shop() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = sandbox(directory.path());
    let router = router(sandbox.clone(), plain_page);
    let link = sandbox.create_link(&link(1)).await.unwrap();
    let page = get(&router, link.url.strip_prefix(PUBLIC_URL).unwrap()).await;
    assert_eq!(page.status, StatusCode::OK);
    for text in ["SANDBOX", "118.88 EUR", "pm_ok", "&lt;Ada &amp; Söhne&gt;"] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    let paid = pay(&router, &link, "pm_ok").await;
    assert_eq!(paid.status, StatusCode::SEE_OTHER);
    assert_eq!(
        paid.location.as_deref(),
        Some("http://shop.test/thanks?a=1&b=2")
    );
    let charges = sandbox.charges(invoice()).await.unwrap();
    assert_eq!(charges.len(), 1);
    assert_eq!(charges[0].session.as_deref(), Some(link.id.as_str()));
    assert_eq!(
        (charges[0].amount, &charges[0].status),
        (euros(11_888), &ChargeStatus::Succeeded)
    );
}

#[tokio::test]
async fn a_paid_or_expired_page_cannot_be_paid_again() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = sandbox(directory.path());
    let router = router(sandbox.clone(), plain_page);
    let paid = sandbox.create_link(&link(1)).await.unwrap();
    pay(&router, &paid, "pm_ok").await;
    assert_eq!(
        pay(&router, &paid, "pm_ok").await.status,
        StatusCode::CONFLICT
    );
    let expired = sandbox.create_link(&link(2)).await.unwrap();
    for _ in 0..2 {
        sandbox.expire_link(&expired.id).await.unwrap();
    }
    let refused = pay(&router, &expired, "pm_ok").await;
    assert_eq!(refused.status, StatusCode::GONE);
    assert!(
        refused.body.contains("expired") && !refused.body.contains("<form"),
        "{}",
        refused.body
    );
    // Expiring a paid one leaves it paid, and says so; one that is not known is as good as closed.
    let charge = sandbox.charges(invoice()).await.unwrap().remove(0);
    let end = LinkEnd::Paid {
        payment_id: charge.id,
        amount: euros(11_888),
        method: "card".to_owned(),
    };
    assert_eq!(sandbox.expire_link(&paid.id).await.unwrap(), end);
    for closed in [&expired.id, "cs_unknown"] {
        assert_eq!(sandbox.expire_link(closed).await.unwrap(), LinkEnd::Closed);
    }
    assert_eq!(state(&sandbox, &paid).await, SessionState::Paid);
    assert_eq!(sandbox.charges(invoice()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_page_paid_a_hundred_times_at_once_is_charged_once() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = sandbox(directory.path());
    let router = router(sandbox.clone(), plain_page);
    let link = sandbox.create_link(&link(1)).await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (router, link) = (router.clone(), link.clone());
        calls.spawn(async move { pay(&router, &link, "pm_ok").await.status });
    }
    let statuses = calls.join_all().await;
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!(
        (count(StatusCode::SEE_OTHER), count(StatusCode::CONFLICT)),
        (1, 99)
    );
    assert_eq!(sandbox.charges(invoice()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_declined_card_leaves_the_page_open_for_another() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = sandbox(directory.path());
    let router = router(sandbox.clone(), plain_page);
    let link = sandbox.create_link(&link(1)).await.unwrap();
    let declined = pay(&router, &link, "pm_declined").await;
    assert_eq!(declined.status, StatusCode::PAYMENT_REQUIRED);
    assert!(declined.body.contains("declined") && declined.body.contains("<form"));
    let unknown = pay(&router, &link, "pm_nonsense").await;
    assert_eq!(unknown.status, StatusCode::PAYMENT_REQUIRED);
    let outage = pay(&router, &link, "pm_unavailable").await;
    assert_eq!(outage.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(state(&sandbox, &link).await, SessionState::Open);
    assert_eq!(
        pay(&router, &link, "pm_slow").await.status,
        StatusCode::SEE_OTHER
    );
    assert_eq!(state(&sandbox, &link).await, SessionState::Paid);
    assert_eq!(sandbox.charges(invoice()).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_lost_reply_on_the_page_has_charged() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = sandbox(directory.path());
    let router = router(sandbox.clone(), plain_page);
    let link = sandbox.create_link(&link(1)).await.unwrap();
    let answer = pay(&router, &link, "pm_lost_reply").await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(state(&sandbox, &link).await, SessionState::Paid);
}

#[tokio::test]
async fn pages_that_are_not_there_are_not_found() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = sandbox(directory.path());
    let router = router(sandbox.clone(), plain_page);
    let nowhere = CreatedLink {
        id: "cs_1".to_owned(),
        url: format!("{PUBLIC_URL}/sandbox/checkout/cs_1"),
        expires_at: None,
    };
    assert_eq!(
        get(&router, "/sandbox/checkout/cs_1").await.status,
        StatusCode::NOT_FOUND
    );
    for method in ["pm_ok", "pm_unavailable"] {
        assert_eq!(
            pay(&router, &nowhere, method).await.status,
            StatusCode::NOT_FOUND
        );
    }
}

#[tokio::test]
async fn the_books_of_an_invoice_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = sandbox(directory.path());
    let router = router(sandbox.clone(), plain_page);
    sandbox.charge(&charge("pm_ok", 1)).await.unwrap();
    sandbox.charge(&charge("pm_declined", 2)).await.unwrap();
    let answer = get(&router, &format!("/sandbox/charges?invoice={}", invoice())).await;
    let list: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    assert_eq!(list["data"][0]["amount"], 11_888);
    assert_eq!(list["data"][0]["status"], "succeeded");
    assert_eq!(list["data"][1]["code"], "card_declined");
    let wrong = get(&router, "/sandbox/charges?invoice=cus_1").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}
