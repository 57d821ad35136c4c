//! Invoices: made, read, changed, listed, deleted.

use futures_util::future::join_all;
use reqwest::Method;
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

#[tokio::test]
async fn tags_guard_changes_and_spare_reads() {
    let app = TestApp::start().await;
    let id = app.draft().await;
    let path = path_of(&id);
    let body = || Some(json!({"memo": "x"}));
    for (method, body) in [(Method::PATCH, body()), (Method::DELETE, None)] {
        let answer = app
            .call(method, &path, body, &[("if-match", "\"9\"")])
            .await;
        answer.expect_problem(412, "version_mismatch");
    }
    app.call(Method::PATCH, &path, body(), &[("if-match", "\"1\"")])
        .await
        .expect(200);
    let read = app.get(&path).await;
    assert_eq!(read.header("etag"), "\"2\"");
    let known = app
        .call(Method::GET, &path, None, &[("if-none-match", "\"2\"")])
        .await;
    assert_eq!((known.status.as_u16(), known.bytes.len()), (304, 0));
    app.call(Method::GET, &path, None, &[("if-none-match", "\"1\"")])
        .await
        .expect(200);
    for action in [
        "finalize",
        "void",
        "send",
        "retry",
        "rotate_link",
        "mark_uncollectible",
    ] {
        let path = format!("{path}/{action}");
        let answer = app
            .call(
                Method::POST,
                &path,
                Some(json!({})),
                &[("if-match", "\"1\"")],
            )
            .await;
        answer.expect_problem(412, "version_mismatch");
    }
    app.call(Method::PATCH, &path, body(), &[("if-match", "2")])
        .await
        .expect_problem(400, "invalid_header");
}

#[tokio::test]
async fn changes_of_different_parts_at_once_all_count() {
    let app = TestApp::start().await;
    let path = path_of(&app.draft().await);
    let parts = ["memo", "reference", "purchase_order", "payment_terms"];
    for round in 0..10 {
        let changes = parts.map(|part| app.patch(&path, json!({part: format!("{part} {round}")})));
        for answer in join_all(changes).await {
            answer.expect(200);
        }
        let invoice = app.get(&path).await.expect(200);
        for part in parts {
            assert_eq!(invoice[part], format!("{part} {round}"));
        }
    }
}

#[tokio::test]
async fn only_drafts_are_changed_and_deleted() {
    let app = TestApp::start().await;
    let path = path_of(&app.open_invoice().await);
    app.patch(&path, json!({"memo": "x"}))
        .await
        .expect_problem(409, "invoice_not_draft");
    app.delete(&path)
        .await
        .expect_problem(409, "invoice_not_draft");
    app.post(&format!("{path}/finalize"), json!({}))
        .await
        .expect_problem(409, "invoice_not_draft");
    let draft = path_of(&app.draft().await);
    app.delete(&draft).await.expect(204);
    app.get(&draft).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn creates_with_one_key_at_once_make_one_invoice_and_one_answer() {
    let app = TestApp::start().await;
    let key = [("idempotency-key", "order-17")];
    let creates = (0..16).map(|_| app.call(Method::POST, "/v1/invoices", Some(example()), &key));
    let answers = join_all(creates).await;
    let first = answers[0].expect(201);
    for answer in &answers {
        assert_eq!(answer.expect(201), first);
    }
    let replayed = answers
        .iter()
        .filter(|answer| answer.header("idempotency-replayed") == "true");
    assert_eq!(replayed.count(), 15);
    let all = app.get("/v1/invoices").await.expect(200);
    assert_eq!(all["data"].as_array().unwrap().len(), 1);
    let answer = app
        .call(Method::POST, "/v1/invoices", Some(draft_body()), &key)
        .await;
    answer.expect_problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn every_keyed_command_replays_its_answer() {
    let app = TestApp::start().await;
    let id = app.draft().await;
    for (action, body, status) in [
        ("finalize", json!({}), 200),
        ("payments", json!({"amount": "10", "method": "cash"}), 200),
        ("rotate_link", json!({}), 200),
        ("send", json!({}), 202),
        ("pay", json!({"payment_method": "pm_ok"}), 200),
    ] {
        let path = format!("{}/{action}", path_of(&id));
        let key = [("idempotency-key", action)];
        let first = app
            .call(Method::POST, &path, Some(body.clone()), &key)
            .await;
        let first = first.expect(status);
        let again = app.call(Method::POST, &path, Some(body), &key).await;
        assert_eq!(again.header("idempotency-replayed"), "true", "{action}");
        let again = again.expect(status);
        assert_eq!(again["number"], first["number"], "{action}");
        assert_eq!(again["totals"]["due"], first["totals"]["due"], "{action}");
        let other = app
            .call(Method::POST, &path, Some(json!({"x": 1})), &key)
            .await;
        assert!(other.status.is_client_error(), "{action}: {}", other.text());
    }
    let paid = app
        .until(&id, "mailed", |invoice| {
            invoice["delivery"]["status"] == "sent"
        })
        .await;
    let received: Vec<_> = paid["payment"]["received"].as_array().unwrap().clone();
    assert_eq!(received.len(), 2, "{paid:#}");
    assert_eq!(app.mails().await.len(), 1);
}

#[tokio::test]
async fn lists_are_paged_newest_first_and_stay_whole_under_inserts() {
    let app = TestApp::start().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(app.draft().await);
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/invoices?limit=2".to_owned());
    loop {
        let page = app.get(&path).await.expect(200);
        let ids = page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|invoice| invoice["id"].clone());
        seen.extend(ids.map(|id| id.as_str().unwrap().to_owned()));
        app.draft().await;
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/invoices?limit=2&starting_after={next}"),
            None => break,
        }
        assert_eq!(page["has_more"], true);
    }
    made.reverse();
    assert_eq!(seen, made);
    for (query, code) in [
        ("limit=0", "out_of_range"),
        ("limit=101", "out_of_range"),
        ("limit=x", "out_of_range"),
        ("starting_after=x", "invalid_id"),
        ("colour=red", "unknown_field"),
        ("status=closed", "unknown_value"),
        ("issued_from=2025-02-30", "invalid_date"),
        ("created_to=2025-13-01", "invalid_date"),
    ] {
        let problem = app
            .get(&format!("/v1/invoices?{query}"))
            .await
            .expect_problem(400, code);
        assert_eq!(problem["param"], query.split('=').next().unwrap());
    }
}

#[tokio::test]
async fn every_filter_narrows_the_list() {
    let app = TestApp::start().await;
    let body = json!({"name": "Bob Ltd", "email": "bob@example.com"});
    let customer = app.post("/v1/customers", body).await.expect(201)["id"].clone();
    let mut body = draft_body();
    body["customer"] = customer.clone();
    body.as_object_mut().unwrap().remove("bill_to");
    body["currency"] = json!("USD");
    body["reference"] = json!("Project 50%_x");
    app.post("/v1/invoices", body).await.expect(201);
    let open = app.open_invoice().await;
    let open = app.invoice(&open).await;
    let (number, day) = (
        open["number"].as_str().unwrap(),
        open["issued_on"].as_str().unwrap(),
    );
    for (query, count) in [
        ("status=open".to_owned(), 1),
        ("status=draft".to_owned(), 1),
        ("status=paid".to_owned(), 0),
        (format!("customer={}", customer.as_str().unwrap()), 1),
        (format!("number={number}"), 1),
        ("number=x".to_owned(), 0),
        ("currency=USD".to_owned(), 1),
        ("overdue=false".to_owned(), 2),
        ("overdue=true".to_owned(), 0),
        (format!("issued_from={day}&issued_to={day}"), 1),
        (format!("created_from={day}&created_to={day}"), 2),
        ("created_to=2020-01-01".to_owned(), 0),
        (format!("q={number}"), 1),
        ("q=bOB".to_owned(), 1),
        ("q=project%2050%25_".to_owned(), 1),
        ("q=project%2050%25Q".to_owned(), 0),
        ("q=%25".to_owned(), 1),
    ] {
        let found = app.get(&format!("/v1/invoices?{query}")).await.expect(200);
        assert_eq!(found["data"].as_array().unwrap().len(), count, "{query}");
    }
}

#[tokio::test]
async fn an_invoice_can_be_read_as_it_was() {
    let app = TestApp::start().await;
    let draft = app.post("/v1/invoices", example()).await.expect(201);
    let id = draft["id"].as_str().unwrap();
    let path = path_of(id);
    let then = draft["created_at"].as_str().unwrap().to_owned();
    // The next millisecond, so that then is before the change.
    while app.app.services.clock.now() <= then.parse::<jiff::Timestamp>().unwrap() {
        tokio::task::yield_now().await;
    }
    app.patch(&path, json!({"memo": "later"})).await.expect(200);
    let was = app.get(&format!("{path}?as_of={then}")).await.expect(200);
    assert_eq!(
        (&was["memo"], &was["version"]),
        (&json!("Thank you"), &json!(1))
    );
    let now = app
        .get(&format!("{path}?as_of=2999-01-01T00:00:00Z"))
        .await
        .expect(200);
    assert_eq!(now["memo"], "later");
    app.get(&format!("{path}?as_of=2000-01-01T00:00:00Z"))
        .await
        .expect_problem(404, "not_found");
    let problem = app.get(&format!("{path}?as_of=2025-02-30T00:00:00Z")).await;
    assert_eq!(
        problem.expect_problem(400, "invalid_timestamp")["param"],
        "as_of"
    );
}

#[tokio::test]
async fn numbers_of_parallel_finalizes_have_no_gap_and_patterns_never_give_one_twice() {
    let app = TestApp::start().await;
    let pattern = async |pattern: &str| {
        app.patch("/v1/organization", json!({"number_pattern": pattern}))
            .await
            .expect(200);
    };
    pattern("A{0}").await;
    let ids = join_all((0..12).map(|_| app.open_invoice())).await;
    pattern("A1{0}").await;
    let more = join_all((0..3).map(|_| app.open_invoice())).await;
    let mut numbers = Vec::new();
    for id in ids.iter().chain(&more) {
        numbers.push(app.invoice(id).await["number"].as_str().unwrap().to_owned());
    }
    let mut first = numbers[..12].to_vec();
    first.sort_by_key(|number| number[1..].parse::<u32>().unwrap());
    let expected: Vec<_> = (1..=12).map(|n| format!("A{n}")).collect();
    assert_eq!(first, expected);
    let all = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), all, "a number was given twice: {numbers:?}");
}
