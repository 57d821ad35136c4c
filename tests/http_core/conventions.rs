//! What holds for every route.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::edge::{edge, edge_with};

#[tokio::test]
async fn an_unknown_route_and_a_wrong_method_are_problems_with_a_request_id() {
    let edge = edge().await;
    let unknown = edge.get("/v1/nothing").await;
    let problem = unknown.refused(404, "not_found");
    assert_eq!(unknown.header("content-type"), "application/problem+json");
    assert_eq!(problem["request_id"], unknown.header("x-request-id"));
    assert_eq!(problem["status"], 404);
    assert!(problem["type"].is_string() && problem["title"].is_string());

    let wrong = edge
        .send(&edge.token, "PUT", "/v1/invoices", None, &[])
        .await;
    wrong.refused(405, "method_not_allowed");
    assert!(
        wrong.header("allow").contains("POST"),
        "{}",
        wrong.header("allow")
    );
}

#[tokio::test]
async fn a_request_id_is_taken_and_a_strange_one_replaced() {
    let edge = edge().await;
    let sent = [("x-request-id", "trace-7")];
    let answer = edge
        .send(&edge.token, "GET", "/v1/organization", None, &sent)
        .await;
    assert_eq!(answer.header("x-request-id"), "trace-7");
    let sent = [("x-request-id", "two words")];
    let answer = edge
        .send(&edge.token, "GET", "/v1/organization", None, &sent)
        .await;
    assert_eq!(answer.header("x-request-id").len(), 32);
}

#[tokio::test]
async fn without_credentials_every_api_route_is_401_with_a_challenge() {
    let edge = edge().await;
    for (method, path) in [
        ("GET", "/v1/invoices"),
        ("POST", "/v1/invoices"),
        ("GET", "/v1/organization"),
        ("GET", "/v1/customers"),
        ("GET", "/v1/events"),
        ("GET", "/v1/node"),
        (
            "POST",
            "/v1/invoices/inv_00000000000000000000000000000007/pay",
        ),
    ] {
        let answer = edge.send("", method, path, None, &[]).await;
        answer.refused(401, "unauthenticated");
        assert_eq!(
            answer.header("www-authenticate"),
            "Bearer",
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_missing_permission_is_403_and_named() {
    let edge = edge().await;
    edge.role("reader", &["invoice.get_all"]).await;
    let (_, token) = edge.user("bob@example.com", &["reader"]).await;
    edge.send(&token, "GET", "/v1/invoices", None, &[])
        .await
        .expect(200);
    let body = Some(json!({"bill_to": {"name": "x"}}));
    let problem = edge.send(&token, "POST", "/v1/invoices", body, &[]).await;
    let problem = problem.refused(403, "forbidden");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("invoice.create"),
        "{problem}"
    );
}

#[tokio::test]
async fn a_body_must_be_json_whole_and_small() {
    let edge = edge().await;
    let post = |content_type: &'static str, body: Body| {
        let request = Request::post("/v1/customers")
            .header("authorization", format!("Bearer {}", edge.token))
            .header("content-type", content_type);
        edge.answer(request.body(body).unwrap())
    };
    let text = post("text/plain", Body::from("{}")).await;
    text.refused(415, "unsupported_media_type");
    let broken = post("application/json", Body::from("{\"name\":")).await;
    broken.refused(400, "invalid_json");
    let empty = post("application/json", Body::empty()).await;
    empty.refused(400, "invalid_json");
    let list = post("application/json", Body::from("[\"Ada\"]")).await;
    list.refused(400, "invalid_type");
    let charset = post(
        "application/json; charset=utf-8",
        Body::from("{\"name\":\"Ada\"}"),
    )
    .await;
    charset.expect(201);

    let mut large = b"{\"name\":\"".to_vec();
    large.resize(1024 * 1024 + 1, b'x');
    let announced = post("application/json", Body::from(large.clone())).await;
    announced.refused(413, "body_too_large");
    // In pieces and without Content-Length.
    let pieces = large
        .chunks(64 * 1024)
        .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
    let pieces: Vec<_> = pieces.collect();
    let streamed = Body::from_stream(futures_util::stream::iter(pieces));
    post("application/json", streamed)
        .await
        .refused(413, "body_too_large");
}

#[tokio::test]
async fn lists_are_cut_newest_first_and_stable_under_inserts() {
    let edge = edge().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        edge.later_s(1);
        let made = edge
            .post("/v1/customers", json!({"name": format!("c{n}")}))
            .await
            .expect(201);
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    ids.reverse();
    let first = edge.get("/v1/customers?limit=2").await.expect(200);
    assert_eq!(
        (first["has_more"].as_bool(), first["next"].as_str()),
        (Some(true), Some(&*ids[1]))
    );
    edge.later_s(1);
    edge.post("/v1/customers", json!({"name": "late"}))
        .await
        .expect(201);
    let next = format!("/v1/customers?limit=10&starting_after={}", ids[1]);
    let rest = edge.get(&next).await.expect(200);
    let shown: Vec<_> = rest["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["id"].clone())
        .collect();
    assert_eq!(Value::from(shown), json!(ids[2..]));
    assert_eq!(rest["has_more"], false);
    assert!(rest.get("next").is_none(), "{rest}");
}

#[tokio::test]
async fn every_bad_parameter_is_named_at_once() {
    let edge = edge().await;
    let query = "limit=0&status=closed&issued_from=2025-02-30&currency=EURO&statsu=open&q=a&q=b";
    let problem = edge.get(&format!("/v1/invoices?{query}")).await.expect(400);
    let mut named: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["param"].as_str().unwrap())
        .collect();
    named.sort_unstable();
    assert_eq!(
        named,
        ["currency", "issued_from", "limit", "q", "statsu", "status"]
    );
    edge.get("/v1/invoices?limit=101")
        .await
        .refused(400, "out_of_range");
    edge.get("/v1/invoices?starting_after=cus_1")
        .await
        .refused(400, "invalid_id");
    edge.get("/v1/invoices?issued_from=2026-02-01&issued_to=2026-01-01")
        .await
        .expect(400);
}

#[tokio::test]
async fn only_allowed_origins_may_read_answers() {
    let edge = edge_with(|config| {
        config.server.allowed_origins = vec!["https://app.example".to_owned()];
    })
    .await;
    let ask = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "POST"),
    ];
    let preflight = edge.send("", "OPTIONS", "/v1/invoices", None, &ask).await;
    preflight.expect(204);
    assert_eq!(
        preflight.header("access-control-allow-origin"),
        "https://app.example"
    );
    assert!(
        preflight
            .header("access-control-allow-headers")
            .contains("idempotency-key")
    );

    let from = [("origin", "https://app.example")];
    let answer = edge
        .send(&edge.token, "GET", "/v1/organization", None, &from)
        .await;
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://app.example"
    );
    let from = [("origin", "https://evil.example")];
    let answer = edge
        .send(&edge.token, "GET", "/v1/organization", None, &from)
        .await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
    assert_eq!(answer.header("vary"), "origin");
}

#[tokio::test]
async fn what_belongs_to_another_organization_is_404() {
    let edge = edge().await;
    let eve = edge.stranger().await;
    let customer = edge
        .post("/v1/customers", json!({"name": "Ada"}))
        .await
        .expect(201);
    let draft = json!({"bill_to": {"name": "Ada"},
        "lines": [{"description": "x", "quantity": "1", "unit_price": "1", "tax": {"rate": "19"}}]});
    let invoice = edge.post("/v1/invoices", draft).await.expect(201);
    let customer = format!("/v1/customers/{}", customer["id"].as_str().unwrap());
    let invoice = format!("/v1/invoices/{}", invoice["id"].as_str().unwrap());
    for (method, path, body) in [
        ("GET", customer.clone(), None),
        ("PATCH", customer.clone(), Some(json!({"name": "Eve"}))),
        ("DELETE", customer, None),
        ("GET", invoice.clone(), None),
        ("PATCH", invoice.clone(), Some(json!({"memo": "Eve"}))),
        ("DELETE", invoice.clone(), None),
        ("POST", format!("{invoice}/finalize"), None),
        ("GET", format!("{invoice}/history"), None),
        ("GET", format!("{invoice}/events"), None),
        ("GET", format!("{invoice}/document"), None),
    ] {
        edge.send(&eve, method, &path, body, &[])
            .await
            .refused(404, "not_found");
    }
    edge.get(&invoice).await.expect(200);
}

#[tokio::test]
async fn a_text_that_is_no_id_finds_nothing_and_says_what_an_id_looks_like() {
    let edge = edge().await;
    let problem = edge.get("/v1/invoices/7").await.refused(404, "not_found");
    assert!(
        problem["detail"].as_str().unwrap().contains("inv_"),
        "{problem}"
    );
    edge.get("/v1/invoices/cus_00000000000000000000000000000007")
        .await
        .expect(404);
}

#[tokio::test]
async fn an_idempotency_key_has_1_to_255_visible_characters() {
    let edge = edge().await;
    let long = "k".repeat(256);
    for key in ["", "two words", &long] {
        let headers = [("idempotency-key", key)];
        let body = Some(json!({"name": "Ada"}));
        let answer = edge
            .send(&edge.token, "POST", "/v1/customers", body, &headers)
            .await;
        answer.refused(400, "invalid_idempotency_key");
    }
}
