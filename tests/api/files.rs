//! The Invoice Generator's three routes, and its defects that ours must not have.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::stranger;
use crate::support::{Answer, EMAIL, PASSWORD, TestApp, read};

fn file() -> Value {
    json!({
        "company_name": "Solutions", "company_address": "123 Lane", "company_phone": "555-0199",
        "date": "2026-02-02", "invoice_no": "INV-1", "bill_to_name": "John Doe",
        "bill_to_company": "Future Corp", "bill_to_address": "456 Blvd",
        "items": [
            {"id": "Z1", "description": "Server", "qty": 2, "unit_price": 500, "total": 1000},
            {"id": 7, "description": "=HYPERLINK(\"http://evil.example\")", "qty": 1,
                "unit_price": "0.50", "total": 0.5}],
        "subtotal": 1000.5, "tax_rate": 10, "tax_amount": 100.05, "total_amount": "1100.55"
    })
}

async fn upload(app: &TestApp, token: &str, query: &str, files: &[&str]) -> Answer {
    let mut form = Form::new();
    for (n, file) in files.iter().enumerate() {
        let part = Part::text((*file).to_owned()).file_name("invoice.json");
        form = form.part(format!("file{n}"), part);
    }
    let request = app
        .client
        .post(format!("{}/upload{query}", app.base))
        .multipart(form);
    let request = if token.is_empty() {
        request
    } else {
        request.bearer_auth(token)
    };
    read(request.send().await.unwrap()).await
}

async fn get_as(app: &TestApp, token: &str, path: &str) -> Answer {
    let request = app
        .client
        .get(format!("{}{path}", app.base))
        .bearer_auth(token);
    read(request.send().await.unwrap()).await
}

#[track_caller]
fn says(answer: &Answer, status: u16, text: &str) {
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (status, text)
    );
}

async fn login(app: &TestApp, credentials: &str) -> Answer {
    let value = format!("Basic {}", BASE64_STANDARD.encode(credentials));
    let request = app
        .client
        .post(format!("{}/login", app.base))
        .header("authorization", value);
    read(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_file_goes_in_and_its_document_comes_out_with_the_old_words() {
    let app = TestApp::start().await;
    let none = read(
        app.client
            .post(format!("{}/login", app.base))
            .send()
            .await
            .unwrap(),
    )
    .await;
    says(&none, 401, "missing credentials");
    says(
        &login(&app, &format!("{EMAIL}:wrong")).await,
        401,
        "not authorized",
    );
    let token = login(&app, &format!("{EMAIL}:{PASSWORD}")).await;
    assert_eq!(token.status, 200);
    let token = token.text();
    let file = file().to_string();

    says(
        &upload(&app, "", "", &[&file]).await,
        401,
        "missing credentials",
    );
    says(
        &upload(&app, "wrong", "", &[&file]).await,
        401,
        "not authorized",
    );
    for files in [vec![], vec![file.as_str(), file.as_str()]] {
        says(
            &upload(&app, &token, "", &files).await,
            400,
            "exactly 1 file required",
        );
    }
    let wrong = upload(&app, &token, "?format=docx", &[&file]).await;
    says(&wrong, 400, "invalid format. supported: pdf, excel, csv");

    for (n, (format, start)) in [("pdf", b"%PDF".as_slice()), ("excel", b"PK"), ("csv", b"")]
        .into_iter()
        .enumerate()
    {
        let file = file.replace("INV-1", &format!("INV-{format}"));
        let answer = upload(&app, &token, &format!("?format={format}"), &[&file]).await;
        says(&answer, 200, "success!");
        let fid = answer.header("x-file-id").to_owned();
        let invoice = app
            .until(&fid, "mailed", |invoice| invoice["pending"] == json!([]))
            .await;
        assert_eq!(invoice["source"], "upload");
        assert_eq!(
            invoice["number"],
            format!("INV-{format}"),
            "its own number is kept"
        );
        assert_eq!(invoice["totals"]["total"], "1100.55");
        let document = get_as(&app, &token, &format!("/download?fid={fid}")).await;
        assert_eq!(document.status, 200, "{}", document.text());
        assert!(document.bytes.starts_with(start), "{format}");
        assert!(
            document
                .header("content-disposition")
                .starts_with("attachment")
        );
        let mails = app.mails().await;
        assert_eq!(mails.len(), n + 1, "a mail tells the file's id");
        assert!(mails.iter().any(|mail| mail.contains(&fid)), "{fid}");
    }
    says(
        &get_as(&app, &token, "/download").await,
        400,
        "fid is required",
    );
    get_as(&app, &token, "/download?fid=7")
        .await
        .expect_problem(404, "not_found");
}

#[tokio::test]
async fn invoice_generator_defect_a_poison_message_is_requeued_for_ever() {
    let app = TestApp::start().await;
    for (file, status) in [
        ("", 400),
        ("not json", 400),
        ("{\"items\":", 400),
        ("[]", 400),
        ("null", 400),
        ("{}", 422),
    ] {
        let answer = upload(&app, &app.token, "", &[file]).await;
        assert_eq!(answer.status, status, "{file}: {}", answer.text());
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{file}"
        );
    }
    let mut wrong = file();
    wrong["total_amount"] = json!(1_000_000);
    wrong["items"][0]["total"] = json!(1);
    let problem = upload(&app, &app.token, "", &[&wrong.to_string()])
        .await
        .expect(422);
    let params = crate::params_of(&problem);
    assert_eq!(
        params,
        ["items[0].total", "total_amount"],
        "each wrong figure is named"
    );
    let all = app.get("/v1/invoices").await.expect(200);
    assert_eq!(
        all["data"],
        json!([]),
        "nothing is left that could be tried again"
    );
    says(
        &upload(&app, &app.token, "", &[&file().to_string()]).await,
        200,
        "success!",
    );
}

#[tokio::test]
async fn invoice_generator_defect_no_owner_check_on_download() {
    let app = TestApp::start().await;
    let answer = upload(&app, &app.token, "?format=csv", &[&file().to_string()]).await;
    let fid = answer.header("x-file-id").to_owned();
    let stranger = stranger(&app).await;
    let path = format!("/download?fid={fid}");
    get_as(&app, &stranger, &path)
        .await
        .expect_problem(404, "not_found");
    assert_eq!(get_as(&app, &app.token, &path).await.status, 200);
}

#[tokio::test]
async fn invoice_generator_defect_csv_totals_one_column_off_and_formula_injection() {
    let app = TestApp::start().await;
    let answer = upload(&app, &app.token, "?format=csv", &[&file().to_string()]).await;
    let path = format!("/download?fid={}", answer.header("x-file-id"));
    let csv = get_as(&app, &app.token, &path).await;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(&csv.bytes[..]);
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    let width = rows[0].len();
    let amounts = width - 1;
    for row in &rows {
        assert_eq!(row.len(), width, "{row:?}");
        for cell in row {
            let formula = cell.starts_with(['=', '+', '@', '\t', '\r']);
            let minus = cell.starts_with('-') && cell.parse::<f64>().is_err();
            assert!(!formula && !minus, "{cell} would be run");
        }
    }
    let lines: Vec<_> = rows
        .iter()
        .filter(|row| row.iter().any(|c| c == "1000.00"))
        .collect();
    assert_eq!(&lines[0][amounts], "1000.00", "{lines:?}");
    let total = rows
        .iter()
        .find(|row| row.iter().any(|cell| cell == "1100.55"))
        .unwrap();
    assert_eq!(
        &total[amounts], "1100.55",
        "the total stands under the lines' totals"
    );
}

#[tokio::test]
async fn a_large_file_is_413() {
    let app = TestApp::start().await;
    let large = " ".repeat(5 * 1024 * 1024 + 1);
    let answer = upload(&app, &app.token, "", &[&large]).await;
    answer.expect_problem(413, "body_too_large");
}

/// A file with this number.
fn numbered(number: &str) -> String {
    let mut file = file();
    file["invoice_no"] = json!(number);
    file.to_string()
}

#[track_caller]
fn is_taken(answer: &Answer) {
    let problem = answer.expect_problem(422, "number_taken");
    assert_eq!(crate::params_of(&problem), ["invoice_no"]);
}

#[tokio::test]
async fn a_number_is_uploaded_once_in_an_organization() {
    let app = TestApp::start().await;
    let upload = async |token: &str, number: &str, key: &str| {
        let part = Part::text(numbered(number)).file_name("invoice.json");
        let request = app
            .client
            .post(format!("{}/upload", app.base))
            .header("idempotency-key", key)
            .multipart(Form::new().part("file", part))
            .bearer_auth(token);
        read(request.send().await.unwrap()).await
    };
    let first = upload(&app.token, "INV-1", "one").await;
    says(&first, 200, "success!");
    is_taken(&upload(&app.token, "INV-1", "two").await);
    is_taken(&upload(&app.token, " INV-1 ", "three").await);
    let open = app.open_invoice().await;
    let ours = app.invoice(&open).await;
    is_taken(&upload(&app.token, ours["number"].as_str().unwrap(), "four").await);
    let all = app.get("/v1/invoices").await.expect(200);
    assert_eq!(all["data"].as_array().unwrap().len(), 2);

    let again = upload(&app.token, "INV-1", "one").await;
    says(&again, 200, "success!");
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.header("x-file-id"), first.header("x-file-id"));
    says(&upload(&app.token, "INV-2", "two").await, 200, "success!");
    let stranger = stranger(&app).await;
    says(&upload(&stranger, "INV-1", "one").await, 200, "success!");
}

#[tokio::test]
async fn of_uploads_at_once_with_the_same_number_one_is_taken() {
    let app = TestApp::start().await;
    let file = numbered("INV-1");
    let uploads = (0..8).map(|_| async { upload(&app, &app.token, "", &[&file]).await });
    let answers = futures_util::future::join_all(uploads).await;
    let (taken, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 200);
    assert_eq!(taken.len(), 1);
    refused.into_iter().for_each(is_taken);
}

#[tokio::test]
async fn a_finalize_steps_over_numbers_that_were_uploaded() {
    let app = TestApp::start().await;
    app.patch("/v1/organization", json!({"number_pattern": "R{000}"}))
        .await
        .expect(200);
    for number in ["R001", "R003"] {
        let answer = upload(&app, &app.token, "", &[&numbered(number)]).await;
        says(&answer, 200, "success!");
    }
    for expected in ["R002", "R004"] {
        let id = app.open_invoice().await;
        assert_eq!(app.invoice(&id).await["number"], expected);
    }
}
