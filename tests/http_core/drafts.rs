//! Drafts: made, read, changed, deleted; and what is wrong with them.

use serde_json::{Value, json};

use crate::edge::{Edge, edge};

pub(crate) fn draft() -> Value {
    json!({
        "bill_to": {"name": "Ada GmbH", "email": "ap@ada.example", "tax_id": "DE123456789",
            "address": {"line1": "Ring 1", "city": "Berlin", "postal_code": "10115",
                "country": "DE"}},
        "ship_to": null, "currency": "EUR", "prices_include_tax": false, "purchase_order": "PO-7",
        "memo": "Thank you", "due_in_days": 14,
        "lines": [{"description": "Consulting", "product": null, "quantity": "2.5", "unit": "hour",
            "unit_price": "99.90", "discount": {"percent": "10"},
            "tax": {"category": "S", "rate": "19"}}],
        "discounts": [{"amount": "5.00", "reason": "loyalty"}], "metadata": {"project": "x"}
    })
}

pub(crate) fn path_of(invoice: &Value) -> String {
    format!("/v1/invoices/{}", invoice["id"].as_str().unwrap())
}

pub(crate) async fn made(edge: &Edge) -> Value {
    edge.post("/v1/invoices", draft()).await.expect(201)
}

#[tokio::test]
async fn the_contracts_example_comes_out_as_written() {
    let edge = edge().await;
    let answer = edge.post("/v1/invoices", draft()).await;
    let invoice = answer.expect(201);
    assert_eq!(answer.header("location"), path_of(&invoice));
    assert_eq!(answer.header("etag"), "\"1\"");
    for (field, expected) in [
        ("object", json!("invoice")),
        ("version", json!(1)),
        ("status", json!("draft")),
        ("number", Value::Null),
        ("source", json!("api")),
        ("ship_to", Value::Null),
        ("currency", json!("EUR")),
        ("purchase_order", json!("PO-7")),
        ("due_in_days", json!(14)),
        ("metadata", json!({"project": "x"})),
        (
            "discounts",
            json!([{"amount": "5.00", "reason": "loyalty"}]),
        ),
        ("pending", json!([])),
        ("overdue", json!(false)),
        ("paid_at", Value::Null),
        ("issued_on", Value::Null),
    ] {
        assert_eq!(invoice[field], expected, "{field}");
    }
    assert_eq!(invoice["bill_to"], draft()["bill_to"]);
    let line = &invoice["lines"][0];
    assert_eq!((&line["id"], &line["net"]), (&json!("1"), &json!("224.78")));
    assert_eq!(
        (&line["quantity"], &line["unit_price"]),
        (&json!("2.5"), &json!("99.90"))
    );
    assert_eq!(line["discount"], json!({"percent": "10"}));
    assert_eq!(line["tax"], json!({"category": "S", "rate": "19"}));
    let expected = json!({"lines_net": "224.78", "discount": "5.00", "charge": "0.00",
        "net": "219.78",
        "taxes": [{"category": "S", "rate": "19", "base": "219.78", "amount": "41.76"}],
        "tax": "41.76", "total": "261.54", "paid": "0.00", "due": "261.54"});
    assert_eq!(invoice["totals"], expected);
    let created_at = invoice["created_at"].as_str().unwrap();
    assert!(
        created_at.len() == 24 && created_at.ends_with('Z'),
        "{created_at}"
    );
    assert_eq!(edge.get(&path_of(&invoice)).await.expect(200), invoice);
}

#[tokio::test]
async fn numbers_come_in_as_strings_or_numbers_and_are_never_floats() {
    let edge = edge().await;
    let request = r#"{"bill_to":{"name":"Ada"},"currency":"EUR","lines":[
        {"description":"a","quantity":3,"unit_price":0.1,"tax":{"rate":0,"category":"Z"}},
        {"description":"b","quantity":"1e1","unit_price":"0.000125","tax":{"rate":"19.0"}}]}"#;
    let body: Box<serde_json::value::RawValue> = serde_json::from_str(request).unwrap();
    let request = axum::http::Request::post("/v1/invoices")
        .header("authorization", format!("Bearer {}", edge.token))
        .header("content-type", "application/json")
        .body(axum::body::Body::from(body.get().to_owned()))
        .unwrap();
    let invoice = edge.answer(request).await.expect(201);
    assert_eq!(invoice["lines"][0]["net"], "0.30");
    assert_eq!(invoice["lines"][0]["unit_price"], "0.10");
    assert_eq!(invoice["lines"][1]["quantity"], "10");
    assert_eq!(invoice["lines"][1]["unit_price"], "0.000125");
}

#[tokio::test]
async fn all_problems_are_told_at_once_with_their_paths() {
    let edge = edge().await;
    let body = json!({"bill_to": {"email": "nobody"}, "currency": "EUR", "memo": 7,
        "lines": [
            {"description": "ok", "quantity": "1", "unit_price": "1", "tax": {"rate": "19"}},
            {"description": "", "quantity": "x", "unit_price": "0.0000001",
                "discount": {"percent": "10", "amount": "1"}, "tax": {"category": "Q"}}]});
    let problem = edge.post("/v1/invoices", body).await.expect(400);
    let named: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["param"].as_str().unwrap())
        .collect();
    for param in [
        "memo",
        "bill_to.name",
        "bill_to.email",
        "lines[1].quantity",
        "lines[1].unit_price",
        "lines[1].description",
        "lines[1].discount",
        "lines[1].tax.category",
    ] {
        assert!(named.contains(&param), "{param} is not in {named:?}");
    }
    assert_eq!(
        named
            .iter()
            .filter(|param| **param == "lines[1].quantity")
            .count(),
        1
    );
    assert!(
        !named.iter().any(|param| param.starts_with("lines[0]")),
        "{named:?}"
    );
}

#[tokio::test]
async fn a_broken_rule_is_422_and_a_broken_form_400() {
    let edge = edge().await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = draft();
        change(&mut body);
        edge.post("/v1/invoices", body)
    };
    with(&|body| body["lines"] = json!([])).await.expect(422);
    with(&|body| body["bill_to"] = json!({}))
        .await
        .refused(422, "required");
    with(&|body| body["currency"] = json!("EURO"))
        .await
        .refused(422, "unknown_currency");
    with(&|body| body["discounts"] = json!([{"amount": "5.001"}]))
        .await
        .expect(422);
    with(&|body| body["discounts"] = json!([{"amount": "500"}]))
        .await
        .expect(422);
    with(&|body| body["lines"][0]["tax"] = json!({"category": "S", "rate": "0"}))
        .await
        .expect(422);
    with(&|body| body["due_in_days"] = json!(9_999))
        .await
        .expect(422);
    with(&|body| body["due_in_days"] = json!(-1))
        .await
        .refused(400, "invalid_type");
    with(&|body| body["lines"] = json!({}))
        .await
        .refused(400, "invalid_type");
    with(&|body| body["lines"][0]["qty"] = json!(1))
        .await
        .refused(400, "unknown_field");
    with(&|body| body["customer"] = json!("cus_1"))
        .await
        .refused(400, "invalid_id");
    let nobody = "cus_00000000000000000000000000000007";
    with(&|body| body["customer"] = json!(nobody))
        .await
        .refused(422, "unknown_customer");
}

#[tokio::test]
async fn a_named_customer_is_copied_and_its_later_changes_touch_no_invoice() {
    let edge = edge().await;
    let body = json!({"name": "Bob Ltd", "email": "bob@example.com", "locale": "fr"});
    let customer = edge.post("/v1/customers", body).await.expect(201);
    let mut body = draft();
    body.as_object_mut().unwrap().remove("bill_to");
    body["customer"] = customer["id"].clone();
    let invoice = edge.post("/v1/invoices", body).await.expect(201);
    assert_eq!(invoice["bill_to"]["name"], "Bob Ltd");
    assert_eq!(invoice["locale"], "fr");
    let path = format!("/v1/customers/{}", customer["id"].as_str().unwrap());
    edge.patch(&path, json!({"name": "Robert Ltd"}))
        .await
        .expect(200);
    edge.delete(&path).await.expect(204);
    let later = edge.get(&path_of(&invoice)).await.expect(200);
    assert_eq!(later["bill_to"]["name"], "Bob Ltd");
}

#[tokio::test]
async fn a_change_replaces_what_is_given_and_null_clears() {
    let edge = edge().await;
    let path = path_of(&made(&edge).await);
    let change = json!({"memo": null, "reference": "R-1", "discounts": []});
    let changed = edge.patch(&path, change).await.expect(200);
    assert_eq!(
        (&changed["memo"], &changed["reference"]),
        (&Value::Null, &json!("R-1"))
    );
    assert_eq!(changed["totals"]["net"], "224.78");
    assert_eq!(changed["purchase_order"], "PO-7");
    assert_eq!(changed["version"], 2);

    let stale = [("if-match", "\"1\"")];
    let body = Some(json!({"memo": "x"}));
    let refused = edge
        .send(&edge.token, "PATCH", &path, body.clone(), &stale)
        .await;
    refused.refused(412, "version_mismatch");
    let any = [("if-match", "*")];
    edge.send(&edge.token, "PATCH", &path, body, &any)
        .await
        .expect(200);
    edge.patch(&path, json!({"lines": []})).await.expect(422);
}

#[tokio::test]
async fn a_deleted_draft_is_gone() {
    let edge = edge().await;
    let path = path_of(&made(&edge).await);
    let stale = [("if-match", "\"5\"")];
    edge.send(&edge.token, "DELETE", &path, None, &stale)
        .await
        .refused(412, "version_mismatch");
    edge.delete(&path).await.expect(204);
    for gone in [
        "",
        "/history",
        "/events",
        "/document",
        "?as_of=2030-01-01T00:00:00Z",
    ] {
        edge.get(&format!("{path}{gone}"))
            .await
            .refused(404, "not_found");
    }
    edge.delete(&path).await.refused(404, "not_found");
    let all = edge.get("/v1/invoices").await.expect(200);
    assert_eq!(all["data"], json!([]));
}

#[tokio::test]
async fn a_repeated_create_meets_the_same_invoice() {
    let edge = edge().await;
    let key = [("idempotency-key", "order-17")];
    let send = |body: Value| edge.send(&edge.token, "POST", "/v1/invoices", Some(body), &key);
    let first = send(draft()).await.expect(201);
    edge.patch(&path_of(&first), json!({"memo": "changed since"}))
        .await
        .expect(200);
    let again = send(draft()).await;
    assert_eq!(again.expect(201), first);
    assert_eq!(again.header("idempotency-replayed"), "true");
    let mut other = draft();
    other["memo"] = json!("other");
    send(other).await.refused(422, "idempotency_key_reused");
    // Even a body that can't be read: the key is taken.
    send(json!({"lines": "none"})).await.expect(400);
    let all = edge.get("/v1/invoices").await.expect(200);
    assert_eq!(all["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_invoice_can_be_read_as_it_was() {
    let edge = edge().await;
    let invoice = made(&edge).await;
    let path = path_of(&invoice);
    edge.later_s(60);
    edge.patch(&path, json!({"memo": "later"}))
        .await
        .expect(200);
    let at = invoice["created_at"].as_str().unwrap();
    let before = edge.get(&format!("{path}?as_of={at}")).await.expect(200);
    assert_eq!(before["memo"], "Thank you");
    edge.get(&format!("{path}?as_of=2020-01-01T00:00:00Z"))
        .await
        .refused(404, "not_found");
    edge.get(&format!("{path}?as_of=yesterday"))
        .await
        .refused(400, "invalid_timestamp");
    let known = [("if-none-match", "\"2\"")];
    edge.send(&edge.token, "GET", &path, None, &known)
        .await
        .expect(304);
}

#[tokio::test]
async fn lists_are_narrowed_by_every_filter() {
    let edge = edge().await;
    let mut other = draft();
    other["currency"] = json!("USD");
    other["bill_to"]["name"] = json!("Zed Inc");
    edge.post("/v1/invoices", other).await.expect(201);
    made(&edge).await;
    for (query, count) in [
        ("currency=USD", 1),
        ("currency=JPY", 0),
        ("q=zed", 1),
        ("q=po-7", 2),
        ("status=draft", 2),
        ("status=open", 0),
        ("overdue=true", 0),
        ("overdue=false", 2),
        ("number=2026-0001", 0),
        ("created_from=2000-01-01&created_to=2000-01-02", 0),
        ("created_from=2000-01-01", 2),
        ("issued_from=2000-01-01", 0),
        ("customer=cus_00000000000000000000000000000007", 0),
    ] {
        let found = edge.get(&format!("/v1/invoices?{query}")).await.expect(200);
        assert_eq!(found["data"].as_array().unwrap().len(), count, "{query}");
    }
}
