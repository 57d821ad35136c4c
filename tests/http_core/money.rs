//! From a draft to money: finalize, pay, payments, void, history and events.

use serde_json::{Value, json};

use crate::drafts::{made, path_of};
use crate::edge::{Edge, edge};

async fn open(edge: &Edge) -> Value {
    let path = path_of(&made(edge).await);
    edge.post(&format!("{path}/finalize"), json!({}))
        .await
        .expect(200)
}

#[tokio::test]
async fn finalizing_answers_the_open_invoice_with_its_number() {
    let edge = edge().await;
    let invoice = open(&edge).await;
    assert_eq!(invoice["status"], "open");
    assert!(
        invoice["number"].as_str().unwrap().ends_with("0001"),
        "{}",
        invoice["number"]
    );
    assert!(invoice["issued_on"].is_string() && invoice["due_on"].is_string());
    assert!(
        invoice["page_url"]
            .as_str()
            .unwrap()
            .starts_with("http://faktor.test/i/")
    );
    let path = path_of(&invoice);
    edge.patch(&path, json!({"memo": "x"}))
        .await
        .refused(409, "invoice_not_draft");
    edge.delete(&path).await.refused(409, "invoice_not_draft");
    let again = edge
        .send(&edge.token, "POST", &format!("{path}/finalize"), None, &[])
        .await;
    again.refused(409, "invoice_not_draft");
}

#[tokio::test]
async fn a_repeated_finalize_gives_the_same_number() {
    let edge = edge().await;
    let path = format!("{}/finalize", path_of(&made(&edge).await));
    let key = [("idempotency-key", "f1")];
    let first = edge
        .send(&edge.token, "POST", &path, None, &key)
        .await
        .expect(200);
    let again = edge.send(&edge.token, "POST", &path, None, &key).await;
    assert_eq!(again.expect(200)["number"], first["number"]);
    assert_eq!(again.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn each_outcome_of_a_charge_has_its_status() {
    let edge = edge().await;
    let path = format!("{}/pay", path_of(&open(&edge).await));
    let pay = |method: &'static str| edge.post(&path, json!({"payment_method": method}));
    pay("pm_declined").await.refused(402, "card_declined");
    let paid = pay("pm_ok").await.expect(200);
    assert_eq!(
        (&paid["status"], &paid["payment"]["status"]),
        (&json!("paid"), &json!("paid"))
    );
    assert_eq!(paid["totals"]["due"], "0.00");
    pay("pm_ok").await.refused(409, "already_paid");
    edge.post(&path, json!({})).await.refused(422, "required");
    edge.post(&path, json!({"payment_method": 7}))
        .await
        .refused(400, "invalid_type");
}

#[tokio::test]
async fn a_provider_that_fails_is_424_and_the_charge_stays_pending() {
    let edge = edge().await;
    let invoice = open(&edge).await;
    let path = path_of(&invoice);
    let pay = json!({"payment_method": "pm_unavailable"});
    let problem = edge
        .post(&format!("{path}/pay"), pay.clone())
        .await
        .expect(424);
    assert!(problem["code"].is_string());
    let later = edge.get(&path).await.expect(200);
    assert_eq!(later["payment"]["status"], "processing");
    assert!(
        later["pending"]
            .as_array()
            .unwrap()
            .iter()
            .any(|effect| effect["kind"] == "charge")
    );
    edge.post(&format!("{path}/pay"), pay)
        .await
        .refused(409, "payment_in_progress");
}

#[tokio::test]
async fn a_repeated_pay_is_answered_as_the_first_and_charges_once() {
    let edge = edge().await;
    let path = format!("{}/pay", path_of(&open(&edge).await));
    let key = [("idempotency-key", "p1")];
    let pay = || {
        let body = Some(json!({"payment_method": "pm_ok"}));
        edge.send(&edge.token, "POST", &path, body, &key)
    };
    let first = pay().await.expect(200);
    let again = pay().await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(
        again.expect(200)["payment"]["received"],
        first["payment"]["received"]
    );
    assert_eq!(first["payment"]["received"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn money_received_elsewhere_may_be_a_part_or_more() {
    let edge = edge().await;
    let path = format!("{}/payments", path_of(&open(&edge).await));
    let part = json!({"amount": "100", "method": "bank_transfer", "reference": "R1"});
    let partly = edge.post(&path, part).await.expect(200);
    assert_eq!(partly["payment"]["status"], "partially_paid");
    assert_eq!(partly["totals"]["due"], "161.54");
    let over = edge
        .post(&path, json!({"amount": "200.00", "method": "cash"}))
        .await
        .expect(200);
    assert_eq!(
        (&over["status"], &over["payment"]["status"]),
        (&json!("paid"), &json!("overpaid"))
    );

    edge.post(&path, json!({"amount": "0.001", "method": "cash"}))
        .await
        .expect(422);
    edge.post(&path, json!({"amount": "0", "method": "cash"}))
        .await
        .expect(422);
    edge.post(&path, json!({"amount": "1"}))
        .await
        .refused(422, "required");
    let bad = json!({"amount": "1", "method": "cash", "received_on": "2025-02-30"});
    edge.post(&path, bad).await.refused(400, "invalid_date");
}

#[tokio::test]
async fn void_and_uncollectible_say_why_they_are_refused() {
    let edge = edge().await;
    let draft = path_of(&made(&edge).await);
    edge.post(&format!("{draft}/void"), json!({}))
        .await
        .refused(409, "draft_not_voidable");
    let path = path_of(&open(&edge).await);
    let void = edge
        .post(&format!("{path}/void"), json!({"reason": "wrong"}))
        .await
        .expect(200);
    assert_eq!(
        (&void["status"], &void["totals"]["due"]),
        (&json!("void"), &json!("0.00"))
    );
    edge.post(&format!("{path}/void"), json!({}))
        .await
        .refused(409, "already_void");
    let pay = json!({"payment_method": "pm_ok"});
    edge.post(&format!("{path}/pay"), pay)
        .await
        .refused(409, "already_void");

    let path = path_of(&open(&edge).await);
    let marked = edge
        .post(&format!("{path}/mark_uncollectible"), json!({}))
        .await
        .expect(200);
    assert_eq!(marked["status"], "uncollectible");
    let stale = [("if-match", "\"1\"")];
    let answer = edge
        .send(&edge.token, "POST", &format!("{path}/void"), None, &stale)
        .await;
    answer.refused(412, "version_mismatch");
}

#[tokio::test]
async fn the_history_tells_every_change_newest_first_and_no_secret() {
    let edge = edge().await;
    let invoice = open(&edge).await;
    let path = path_of(&invoice);
    let rotated = edge
        .post(&format!("{path}/rotate_link"), json!({}))
        .await
        .expect(200);
    assert_ne!(rotated["page_url"], invoice["page_url"]);
    let version = rotated["version"].as_u64().unwrap();
    let history = edge.get(&format!("{path}/history?limit=100")).await;
    let secret = rotated["page_url"]
        .as_str()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap()[32..]
        .to_owned();
    assert!(!history.text.contains(&secret));
    let history = history.expect(200);
    let entries = history["data"].as_array().unwrap();
    assert!(entries.len() as u64 >= version);
    let versions: Vec<_> = entries
        .iter()
        .map(|entry| entry["version"].as_u64().unwrap())
        .collect();
    assert!(
        versions.windows(2).all(|pair| pair[0] == pair[1] + 1),
        "{versions:?}"
    );
    assert_eq!(entries.last().unwrap()["what"], "created");
    assert_eq!(entries.last().unwrap()["actor"]["kind"], "user");
    assert!(entries.iter().any(|entry| entry["what"] == "finalized"));

    let part = edge
        .get(&format!("{path}/history?limit=2&starting_after=3"))
        .await
        .expect(200);
    let versions: Vec<_> = part["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["version"].clone())
        .collect();
    assert_eq!(Value::from(versions), json!([2, 1]));
    assert_eq!(part["has_more"], false);
}

#[tokio::test]
async fn the_feed_is_read_on_from_any_event() {
    let edge = edge().await;
    open(&edge).await;
    let mut after = String::new();
    let mut types = Vec::new();
    while !types.iter().any(|kind| kind == "invoice.finalized") {
        let feed = edge
            .get(&format!("/v1/events?limit=1&wait=10{after}"))
            .await
            .expect(200);
        for event in feed["data"].as_array().unwrap() {
            assert_eq!(event["specversion"], "1.0");
            assert!(event["subject"].as_str().unwrap().starts_with("inv_"));
            types.push(event["type"].as_str().unwrap().to_owned());
        }
        after = format!("&after={}", feed["next"].as_str().unwrap());
    }
    assert_eq!(types, ["invoice.created", "invoice.finalized"]);
    edge.get("/v1/events?after=evt_1")
        .await
        .refused(400, "invalid_id");
    let unknown = "/v1/events?after=evt_00000000000000000000000000000007";
    edge.get(unknown).await.refused(400, "unknown_event");
    edge.get("/v1/events?wait=31")
        .await
        .refused(400, "out_of_range");
}

#[tokio::test]
async fn a_stream_resumes_after_the_last_event_without_a_hole() {
    use futures_util::StreamExt as _;
    let edge = edge().await;
    let path = path_of(&open(&edge).await);
    let events = format!("{path}/events");
    let bad = [("last-event-id", "x")];
    edge.send(&edge.token, "GET", &events, None, &bad)
        .await
        .refused(400, "invalid_header");
    let request = axum::http::Request::get(&events)
        .header("authorization", format!("Bearer {}", edge.token))
        .header("last-event-id", "1")
        .body(axum::body::Body::empty())
        .unwrap();
    let response = edge.stream(request).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut chunks = response.into_body().into_data_stream();
    let mut read = String::new();
    let voided = async {
        edge.post(&format!("{path}/void"), json!({}))
            .await
            .expect(200);
    };
    let reading = async {
        while !read.contains("event: invoice.voided") {
            let chunk = chunks.next().await.unwrap().unwrap();
            read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    tokio::join!(voided, reading);
    assert!(!read.contains("invoice.created"), "{read}");
    let finalized = read.find("event: invoice.finalized").unwrap();
    assert!(
        finalized < read.find("event: invoice.voided").unwrap(),
        "{read}"
    );
}
