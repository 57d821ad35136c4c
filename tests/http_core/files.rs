//! File in, file out: the texts and statuses of the Invoice Generator.

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::edge::{Answer, EMAIL, Edge, PASSWORD, edge};

const BOUNDARY: &str = "b0undary";

fn invoice() -> Value {
    json!({
        "company_name": "Solutions", "company_address": "123 Lane", "company_phone": "555-0199",
        "date": "2026-02-02", "invoice_no": "INV-2026-001", "bill_to_name": "John Doe",
        "bill_to_company": "Future Corp", "bill_to_address": "456 Blvd",
        "items": [{"id": "Z1", "description": "Server", "qty": 2, "unit_price": 500, "total": 1000}],
        "subtotal": 1000, "tax_rate": "8.5", "tax_amount": 85, "total_amount": 1085
    })
}

fn form(files: &[&str]) -> String {
    let parts = files.iter().enumerate().map(|(n, file)| {
        format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file{n}\"; \
             filename=\"invoice.json\"\r\nContent-Type: application/json\r\n\r\n{file}\r\n"
        )
    });
    format!("{}--{BOUNDARY}--\r\n", parts.collect::<String>())
}

async fn upload(edge: &Edge, token: &str, query: &str, files: &[&str], key: &str) -> Answer {
    let mut request = Request::post(format!("/upload{query}")).header(
        "content-type",
        format!("multipart/form-data; boundary={BOUNDARY}"),
    );
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if !key.is_empty() {
        request = request.header("idempotency-key", key);
    }
    edge.answer(request.body(Body::from(form(files))).unwrap())
        .await
}

async fn login(edge: &Edge, credentials: Option<String>) -> Answer {
    let mut request = Request::post("/login");
    if let Some(credentials) = credentials {
        let encoded = BASE64_STANDARD.encode(credentials);
        request = request.header("authorization", format!("Basic {encoded}"));
    }
    edge.answer(request.body(Body::empty()).unwrap()).await
}

#[track_caller]
fn says(answer: &Answer, status: u16, text: &str) {
    assert_eq!(
        (answer.status.as_u16(), answer.text.as_str()),
        (status, text)
    );
}

#[tokio::test]
async fn a_file_goes_in_with_a_token_of_basic_credentials() {
    let edge = edge().await;
    let nobody = login(&edge, None).await;
    says(&nobody, 401, "missing credentials");
    assert!(nobody.header("www-authenticate").starts_with("Basic"));
    says(
        &login(&edge, Some(format!("{EMAIL}:wrong"))).await,
        401,
        "not authorized",
    );
    let token = login(&edge, Some(format!("{EMAIL}:{PASSWORD}"))).await;
    assert_eq!(token.status, 200);

    let file = invoice().to_string();
    let answer = upload(&edge, &token.text, "?format=csv", &[&file], "").await;
    says(&answer, 200, "success!");
    let id = answer.header("x-file-id").to_owned();
    let shown = edge.get(&format!("/v1/invoices/{id}")).await.expect(200);
    assert_eq!(
        (&shown["source"], &shown["number"]),
        (&json!("upload"), &json!("INV-2026-001"))
    );
    assert_eq!(shown["totals"]["total"], "1085.00");

    let eve = edge.stranger().await;
    let path = format!("/download?fid={id}");
    edge.send(&eve, "GET", &path, None, &[])
        .await
        .refused(404, "not_found");
    says(
        &edge.send(&eve, "GET", "/download", None, &[]).await,
        400,
        "fid is required",
    );
    says(
        &edge.send("", "GET", &path, None, &[]).await,
        401,
        "missing credentials",
    );
    says(
        &edge.send("wrong", "GET", &path, None, &[]).await,
        401,
        "not authorized",
    );
}

#[tokio::test]
async fn a_bad_upload_is_a_visible_failure() {
    let edge = edge().await;
    let token = edge.token.clone();
    let file = invoice().to_string();
    says(
        &upload(&edge, "", "", &[&file], "").await,
        401,
        "missing credentials",
    );
    says(
        &upload(&edge, "wrong", "", &[&file], "").await,
        401,
        "not authorized",
    );
    says(
        &upload(&edge, &token, "", &[], "").await,
        400,
        "exactly 1 file required",
    );
    says(
        &upload(&edge, &token, "", &[&file, &file], "").await,
        400,
        "exactly 1 file required",
    );
    let supported = "invalid format. supported: pdf, excel, csv";
    says(
        &upload(&edge, &token, "?format=doc", &[&file], "").await,
        400,
        supported,
    );
    says(
        &edge.post("/upload", json!({})).await,
        400,
        "exactly 1 file required",
    );

    upload(&edge, &token, "", &["{"], "")
        .await
        .refused(400, "invalid_json");
    let mut wrong = invoice();
    wrong["total_amount"] = json!(1086);
    let problem = upload(&edge, &token, "", &[&wrong.to_string()], "").await;
    let problem = problem.refused(422, "total_mismatch");
    assert_eq!(problem["param"], "total_amount");
    let mut wrong = invoice();
    wrong["items"][0]["unit_price"] = json!("0.0000001");
    wrong["items"][0]["total"] = json!("0");
    let problem = upload(&edge, &token, "", &[&wrong.to_string()], "")
        .await
        .expect(422);
    assert!(
        problem["errors"]
            .to_string()
            .contains("items[0].unit_price"),
        "{problem}"
    );
    assert_eq!(
        edge.get("/v1/invoices").await.expect(200)["data"],
        json!([])
    );

    let large = "x".repeat(5 * 1024 * 1024 + 1);
    upload(&edge, &token, "", &[&large], "")
        .await
        .refused(413, "body_too_large");
}

#[tokio::test]
async fn a_repeated_upload_makes_one_invoice() {
    let edge = edge().await;
    let file = invoice().to_string();
    let token = edge.token.clone();
    let first = upload(&edge, &token, "", &[&file], "u1").await;
    let again = upload(&edge, &token, "", &[&file], "u1").await;
    assert_eq!(again.header("x-file-id"), first.header("x-file-id"));
    assert_eq!(again.header("idempotency-replayed"), "true");
    let other = upload(&edge, &token, "?format=csv", &[&file], "u1").await;
    other.refused(422, "idempotency_key_reused");
}
