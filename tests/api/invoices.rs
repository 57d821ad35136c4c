//! Invoices: made, read, changed, listed, deleted.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::support::{TestApp, draft_body};
use crate::{example, path_of};

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
