//! The first start: no default password, one link, one administrator.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::edge::{Answer, EMAIL, Edge, PASSWORD, empty_with};

async fn empty() -> (Edge, String) {
    let edge = empty_with(|_| {}).await;
    let token = edge.services.auth.open_setup().await.unwrap().unwrap();
    (edge, token)
}

fn body(token: &str) -> Value {
    json!({
        "token": token, "organization_name": "Ada GmbH", "first_name": "Ada",
        "last_name": "Lovelace", "email": EMAIL, "password": PASSWORD,
    })
}

async fn set_up(edge: &Edge, body: Value) -> Answer {
    edge.send("", "POST", "/v1/setup", Some(body), &[]).await
}

async fn post_form(edge: &Edge, form: String) -> Answer {
    let request = Request::post("/setup")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap();
    edge.answer(request).await
}

#[tokio::test]
async fn there_is_no_default_password() {
    let (edge, _) = empty().await;
    for (email, password) in [
        ("admin", "admin"),
        ("admin@example.com", "password"),
        ("root@localhost", ""),
    ] {
        edge.login(email, password)
            .await
            .refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn the_link_makes_the_organization_and_its_administrator_once() {
    let (edge, token) = empty().await;
    let founded = set_up(&edge, body(&token)).await.expect(201);
    assert_eq!(founded["organization"]["legal_name"], "Ada GmbH");
    assert_eq!(founded["user"]["roles"], json!(["administrator"]));
    let signed_in = edge.sign_in(EMAIL).await;
    assert_eq!(
        edge.me(&signed_in).await.expect(200)["organization"],
        founded["organization"]
    );
    set_up(&edge, body(&token))
        .await
        .refused(403, "setup_closed");
    edge.send("", "GET", &format!("/setup?token={token}"), None, &[])
        .await
        .expect(403);
}

#[tokio::test]
async fn a_wrong_token_or_a_mistake_does_not_use_the_link_up() {
    let (edge, token) = empty().await;
    set_up(&edge, body("wrong"))
        .await
        .refused(403, "setup_closed");
    let mut short = body(&token);
    short["password"] = json!("short");
    assert_eq!(
        set_up(&edge, short).await.refused(422, "too_short")["param"],
        "password"
    );
    set_up(&edge, json!({"token": token})).await.expect(422);
    set_up(&edge, body(&token)).await.expect(201);
}

#[tokio::test]
async fn the_link_ends_when_somebody_else_made_a_user() {
    let (edge, token) = empty().await;
    edge.stranger().await;
    set_up(&edge, body(&token))
        .await
        .refused(403, "setup_closed");
    assert_eq!(edge.services.auth.open_setup().await.unwrap(), None);
}

#[tokio::test]
async fn the_page_is_a_form_that_says_what_is_wrong_and_keeps_what_was_right() {
    let (edge, token) = empty().await;
    edge.send("", "GET", "/setup", None, &[]).await.expect(403);
    edge.send("", "GET", "/setup?token=wrong", None, &[])
        .await
        .expect(403);
    let page = edge
        .send("", "GET", &format!("/setup?token={token}"), None, &[])
        .await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(
        page.header("content-security-policy")
            .contains("default-src 'none'")
    );
    assert!(page.text.contains(&token) && page.text.contains("name=\"password\""));

    let form = |name: &str, password: &str| {
        format!(
            "token={token}&organization_name={name}&first_name=Ada&last_name=Lovelace\
             &email=ada%40example.com&password={password}"
        )
    };
    let refused = post_form(&edge, form("%22%3E%3Cscript%3E", "shortpass")).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text.contains("at least 12 characters"));
    assert!(
        refused.text.contains("&quot;&gt;&lt;script&gt;"),
        "what was typed stays, escaped"
    );
    assert!(!refused.text.contains("<script>") && !refused.text.contains("shortpass"));

    let done = post_form(&edge, form("Ada+GmbH", "correct+horse+battery")).await;
    assert_eq!(done.status, 201);
    edge.sign_in(EMAIL).await;
    let again = post_form(&edge, form("Ada+GmbH", "correct+horse+battery")).await;
    assert_eq!(again.status, 403);
}
