//! Customers and the organization.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::edge::{Edge, edge};

async fn keyed(edge: &Edge, key: &str, path: &str, body: Value) -> crate::edge::Answer {
    edge.send(
        &edge.token,
        "POST",
        path,
        Some(body),
        &[("idempotency-key", key)],
    )
    .await
}

#[tokio::test]
async fn a_customer_lives_through_create_read_change_and_delete() {
    let edge = edge().await;
    let body = json!({"name": "Ada GmbH", "email": "ap@ada.example", "locale": "de",
        "address": {"city": "Berlin", "country": "DE"}, "metadata": {"crm": "7"}});
    let made = edge.post("/v1/customers", body).await;
    let customer = made.expect(201);
    let path = format!("/v1/customers/{}", customer["id"].as_str().unwrap());
    assert_eq!(
        (made.header("location"), made.header("etag")),
        (&*path, "\"1\"")
    );
    assert_eq!(customer["address"]["city"], "Berlin");
    assert_eq!(edge.get(&path).await.expect(200), customer);

    let known = [("if-none-match", "\"1\"")];
    edge.send(&edge.token, "GET", &path, None, &known)
        .await
        .expect(304);
    let stale = [("if-match", "\"9\"")];
    let change = Some(json!({"locale": null, "email": "x@ada.example"}));
    let refused = edge
        .send(&edge.token, "PATCH", &path, change.clone(), &stale)
        .await;
    refused.refused(412, "version_mismatch");
    let changed = edge
        .send(
            &edge.token,
            "PATCH",
            &path,
            change,
            &[("if-match", "\"1\"")],
        )
        .await;
    let changed = changed.expect(200);
    assert_eq!(changed["version"], 2);
    assert_eq!(changed["locale"], Value::Null);
    assert_eq!(changed["name"], "Ada GmbH");

    let found = edge.get("/v1/customers?q=X@ADA").await.expect(200);
    assert_eq!(found["data"].as_array().unwrap().len(), 1);
    edge.delete(&path).await.expect(204);
    edge.get(&path).await.refused(404, "not_found");
    edge.delete(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_repeated_create_of_a_customer_gives_the_first_answer() {
    let edge = edge().await;
    let body = json!({"name": "Ada"});
    let first = keyed(&edge, "k1", "/v1/customers", body.clone()).await;
    let again = keyed(&edge, "k1", "/v1/customers", body.clone()).await;
    assert_eq!(again.expect(201), first.expect(201));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.header("etag"), first.header("etag"));
    assert_eq!(again.header("location"), first.header("location"));
    let other = keyed(&edge, "k1", "/v1/customers", json!({"name": "Bob"})).await;
    other.refused(422, "idempotency_key_reused");
    let all = edge.get("/v1/customers").await.expect(200);
    assert_eq!(all["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_customers_problems_are_told_all_at_once() {
    let edge = edge().await;
    let body = json!({"email": "no address", "locale": "xx",
        "address": {"country": "Germany"}, "metadata": {"k": 7}});
    let problem = edge.post("/v1/customers", body).await.expect(400);
    let named: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["param"].as_str().unwrap())
        .collect();
    for param in ["locale", "metadata", "email", "address.country", "name"] {
        assert!(named.contains(&param), "{param} is not in {named:?}");
    }
    edge.post("/v1/customers", json!({"name": ""}))
        .await
        .expect(422);
    edge.post("/v1/customers", json!({"nmae": "x"}))
        .await
        .refused(400, "unknown_field");
}

#[tokio::test]
async fn settings_are_changed_with_merge_semantics_and_checked() {
    let edge = edge().await;
    let before = edge.get("/v1/organization").await;
    let tag = before.header("etag").to_owned();
    let before = before.expect(200);
    let change = json!({"iban": "DE89 3704 0044 0532 0130 00", "payment_terms": "Soon.",
        "default_tax": {"rate": "7"}, "mail_texts": {"closing": "Bye"}});
    let after = edge.patch("/v1/organization", change).await.expect(200);
    assert_eq!(after["iban"], "DE89370400440532013000");
    assert_eq!(after["default_tax"]["rate"], "7");
    assert_eq!(after["legal_name"], before["legal_name"]);
    let cleared = edge
        .patch("/v1/organization", json!({"payment_terms": null}))
        .await
        .expect(200);
    assert_eq!(cleared["payment_terms"], Value::Null);
    assert_eq!(cleared["mail_texts"]["closing"], "Bye");

    let stale = [("if-match", tag.as_str())];
    let body = Some(json!({"locale": "de"}));
    let answer = edge
        .send(&edge.token, "PATCH", "/v1/organization", body, &stale)
        .await;
    answer.refused(412, "version_mismatch");
    edge.patch("/v1/organization", json!({"iban": "DE00"}))
        .await
        .expect(422);
    edge.patch("/v1/organization", json!({"number_pattern": "no zeros"}))
        .await
        .expect(422);
    edge.patch("/v1/organization", json!({"currency": null}))
        .await
        .expect(422);
    edge.patch("/v1/organization", json!({"due_in_days": "14"}))
        .await
        .refused(400, "invalid_type");
}

#[tokio::test]
async fn a_changed_setting_is_seen_by_the_next_draft() {
    let edge = edge().await;
    let line = json!({"description": "x", "quantity": "1", "unit_price": "100"});
    let draft = json!({"bill_to": {"name": "Ada"}, "lines": [line]});
    edge.patch("/v1/organization", json!({"default_tax": {"rate": "19"}}))
        .await
        .expect(200);
    let first = edge.post("/v1/invoices", draft.clone()).await.expect(201);
    edge.patch("/v1/organization", json!({"default_tax": {"rate": "7"}}))
        .await
        .expect(200);
    let second = edge.post("/v1/invoices", draft).await.expect(201);
    let rate = |invoice: &Value| invoice["lines"][0]["tax"]["rate"].clone();
    assert_eq!((rate(&first), rate(&second)), (json!("19"), json!("7")));
}

#[tokio::test]
async fn a_logo_is_a_png_of_a_bearable_size() {
    let edge = edge().await;
    let put = |content_type: &'static str, bytes: Vec<u8>| {
        let request = Request::put("/v1/organization/logo")
            .header("authorization", format!("Bearer {}", edge.token))
            .header("content-type", content_type);
        edge.answer(request.body(Body::from(bytes)).unwrap())
    };
    edge.get("/v1/organization/logo")
        .await
        .refused(404, "not_found");
    put("image/jpeg", vec![1])
        .await
        .refused(415, "unsupported_media_type");
    put("image/png", vec![1, 2, 3])
        .await
        .refused(422, "invalid_image");
    put("image/png", vec![0; 1024 * 1024 + 1])
        .await
        .refused(413, "body_too_large");
}
