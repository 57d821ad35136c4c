//! What is in an invoice: amounts, currencies, and what is refused.

use serde_json::{Value, json};

use crate::support::{TestApp, draft_body};
use crate::{example, params_of, path_of, post_text};

#[tokio::test]
async fn the_contracts_example_comes_out_exactly() {
    let app = TestApp::start().await;
    let answer = app.post("/v1/invoices", example()).await;
    let invoice = answer.expect(201);
    let id = invoice["id"].as_str().unwrap();
    assert_eq!(
        (answer.header("etag"), answer.header("location")),
        ("\"1\"", &*path_of(id))
    );
    assert_eq!(invoice["lines"][0]["id"], "1");
    assert_eq!(invoice["lines"][0]["net"], "224.78");
    let totals = json!({"lines_net": "224.78", "discount": "5.00", "charge": "0.00",
        "net": "219.78",
        "taxes": [{"category": "S", "rate": "19", "base": "219.78", "amount": "41.76"}],
        "tax": "41.76", "total": "261.54", "paid": "0.00", "due": "261.54"});
    assert_eq!(invoice["totals"], totals);

    app.post(&format!("{}/send", path_of(id)), json!({}))
        .await
        .expect(202);
    let sent = app.until(id, "sent", |invoice| {
        invoice["delivery"]["status"] == "sent" && invoice["pending"] == json!([])
    });
    let sent = sent.await;
    for (field, expected) in [
        ("object", json!("invoice")),
        ("status", json!("open")),
        ("source", json!("api")),
        ("totals", totals),
        ("overdue", json!(false)),
        ("paid_at", Value::Null),
        ("voided_at", Value::Null),
    ] {
        assert_eq!(sent[field], expected, "{field}");
    }
    assert_eq!(sent["payment"]["status"], "unpaid");
    assert_eq!(sent["payment"]["provider"], "sandbox");
    assert!(sent["payment"]["url"].as_str().unwrap().starts_with("http"));
    assert_eq!(sent["document"]["status"], "ready");
    assert_eq!(
        sent["document"]["pdf"]["sha256"].as_str().unwrap().len(),
        64
    );
    assert_eq!(sent["delivery"]["to"], json!(["ap@ada.example"]));
    let year = sent["issued_on"].as_str().unwrap()[..4].to_owned();
    assert_eq!(sent["number"], format!("{year}-0001"));
    for time in ["created_at", "updated_at", "finalized_at"] {
        let text = sent[time].as_str().unwrap();
        assert!(text.len() == 24 && text.ends_with('Z'), "{time} {text}");
    }
    assert!(sent["issuer"]["legal_name"].is_string());
}

/// One line with the number as the request writes it.
fn with_price(price: &str) -> String {
    format!(
        r#"{{"bill_to":{{"name":"Ada"}},"currency":"EUR","lines":[
           {{"description":"a","quantity":1,"unit_price":{price},"tax":{{"rate":"19"}}}}]}}"#
    )
}

#[tokio::test]
async fn decimals_are_exact_whether_strings_or_numbers() {
    let app = TestApp::start().await;
    for (price, expected) in [
        ("0.1", "0.10"),
        ("\"0.1\"", "0.10"),
        ("1e2", "100.00"),
        ("100000000.01", "100000000.01"),
        ("0.000001", "0.000001"),
        ("0.10000000", "0.10"),
        ("1.15", "1.15"),
        ("\"999999999999.99\"", "999999999999.99"),
    ] {
        let answer = post_text(&app, "/v1/invoices", with_price(price)).await;
        let invoice = answer.expect(201);
        assert_eq!(invoice["lines"][0]["unit_price"], expected, "{price}");
    }
    for price in [
        "1e400",
        "-1e400",
        "\"1e400\"",
        "1e-400",
        "0.30000000000000004",
        "0.0000001",
        "\"\"",
        "\"x\"",
        "\"NaN\"",
        "\"1,5\"",
        "\" 1\"",
        "\"0x10\"",
        "true",
        "[]",
        "{}",
        "-1",
        "1e30",
        "\"١\"",
        "1000000000001",
    ] {
        let answer = post_text(&app, "/v1/invoices", with_price(price)).await;
        assert!(
            [400, 422].contains(&answer.status.as_u16()),
            "{price}: {}",
            answer.text()
        );
        assert_eq!(
            answer.json()["param"],
            "lines[0].unit_price",
            "{price}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn a_tenth_and_two_tenths_are_three_tenths() {
    let app = TestApp::start().await;
    let mut body = draft_body();
    body["lines"] = json!([
        {"description": "a", "quantity": 1, "unit_price": "0.1", "tax": {"category": "Z"}},
        {"description": "b", "quantity": 1, "unit_price": "0.2", "tax": {"category": "Z"}}]);
    let invoice = app.post("/v1/invoices", body).await.expect(201);
    assert_eq!(invoice["totals"]["total"], "0.30");
    let id = invoice["id"].as_str().unwrap();
    app.post(&format!("{}/finalize", path_of(id)), json!({}))
        .await
        .expect(200);
    let body = br#"{"amount": 0.1, "method": "cash"}"#.to_vec();
    let path = format!("{}/payments", path_of(id));
    post_text(&app, &path, body).await.expect(200);
    let body = br#"{"amount": 0.2, "method": "cash"}"#.to_vec();
    assert_eq!(
        post_text(&app, &path, body).await.expect(200)["status"],
        "paid"
    );
}

#[tokio::test]
async fn each_currency_has_its_own_decimals() {
    let app = TestApp::start().await;
    for (currency, total, too_fine) in [
        ("JPY", "119", "0.5"),
        ("EUR", "119.00", "0.001"),
        ("KWD", "119.000", "0.0001"),
    ] {
        let mut body = draft_body();
        body["currency"] = json!(currency);
        let invoice = app.post("/v1/invoices", body.clone()).await.expect(201);
        assert_eq!(invoice["totals"]["total"], total);
        body["discounts"] = json!([{"amount": too_fine}]);
        let problem = app.post("/v1/invoices", body).await.expect(422);
        assert_eq!(problem["param"], "discounts[0].amount", "{problem}");
    }
}

#[tokio::test]
async fn all_problems_are_told_at_once() {
    let app = TestApp::start().await;
    let body = json!({"bill_to": {"name": "", "email": "x"}, "currency": "EURO", "due_in_days": -1,
        "lines": [{"description": "ok", "quantity": 1, "unit_price": 1, "tax": {"rate": 19}},
                  {"description": "", "quantity": "x", "tax": {"category": "Q", "rate": 500}}]});
    let problem = app
        .post("/v1/invoices", body)
        .await
        .expect_problem(400, "malformed");
    let params = params_of(&problem);
    for param in [
        "bill_to.name",
        "bill_to.email",
        "currency",
        "due_in_days",
        "lines[1].description",
        "lines[1].quantity",
        "lines[1].unit_price",
        "lines[1].tax.category",
    ] {
        assert!(
            params.iter().any(|named| named == param),
            "{param} is not in {params:?}"
        );
    }
    assert!(
        !params.iter().any(|param| param.starts_with("lines[0]")),
        "{params:?}"
    );
}

#[tokio::test]
async fn both_sides_of_every_bound_of_a_draft() {
    let app = TestApp::start().await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = draft_body();
        change(&mut body);
        app.post("/v1/invoices", body)
    };
    let lines = |count: usize| json!(vec![draft_body()["lines"][0].clone(); count]);
    let metadata = |count: usize| {
        let pairs = (0..count).map(|n| (format!("k{n}"), json!("v")));
        Value::Object(pairs.collect())
    };
    with(&|body| body["lines"] = lines(1_000)).await.expect(201);
    let problem = with(&|body| body["lines"] = lines(1_001)).await.expect(422);
    assert_eq!(problem["param"], "lines");
    with(&|body| body["lines"] = json!([])).await.expect(422);
    with(&|body| body["metadata"] = metadata(50))
        .await
        .expect(201);
    let problem = with(&|body| body["metadata"] = metadata(51))
        .await
        .expect(422);
    assert_eq!(problem["param"], "metadata");
    with(&|body| body["due_in_days"] = json!(3_650))
        .await
        .expect(201);
    with(&|body| body["due_in_days"] = json!(3_651))
        .await
        .expect(422);
}

#[tokio::test]
async fn the_least_that_a_draft_needs_is_a_name_a_currency_and_a_line() {
    let app = TestApp::start().await;
    let least = json!({"bill_to": {"name": "Ada"}, "currency": "EUR",
        "lines": [{"description": "x", "quantity": 1, "unit_price": 1, "tax": {"rate": 19}}]});
    app.post("/v1/invoices", least.clone()).await.expect(201);
    for field in ["bill_to", "lines"] {
        let mut body = least.clone();
        body.as_object_mut().unwrap().remove(field);
        let problem = app.post("/v1/invoices", body).await.expect(422);
        assert!(problem["errors"].to_string().contains(field), "{problem}");
    }
}
