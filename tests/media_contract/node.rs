//! A whole node that keeps its documents elsewhere.

use faktor::app::App;
use faktor::clock::Clock;
use faktor::config::Secret;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{Duration, timeout};

use crate::Subject;
use crate::cloudinary::Cloudinary;
use crate::gridfs::GridFs;
use crate::s3::S3;
use crate::support::{self, TestApp, read};

/// Long enough for a node that does not wait.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn node(documents: &str) -> TestApp {
    TestApp::start_with(|config| config.storage.documents = Secret::new(documents.to_owned())).await
}

/// Sends an invoice and fetches its document, uploads a file and fetches what it became.
async fn documents_go_out_and_come_back(app: &TestApp) {
    let id = app.draft().await;
    app.post(&format!("/v1/invoices/{id}/send"), json!({}))
        .await
        .expect(202);
    let sent = app
        .until(&id, "sent", |invoice| {
            invoice["delivery"]["status"] == "sent" && invoice["pending"] == json!([])
        })
        .await;
    let document = app.get(&format!("/v1/invoices/{id}/document")).await;
    assert_eq!(document.status, 200, "{}", document.text());
    assert!(document.bytes.starts_with(b"%PDF"));
    let sha256 = hex::encode(Sha256::digest(&document.bytes));
    assert_eq!(sent["document"]["pdf"]["sha256"], sha256);
    assert_eq!(app.mails().await.len(), 1);

    let fid = uploaded(app, file()).await;
    let download = app.get(&format!("/download?fid={fid}")).await;
    assert_eq!(download.status, 200, "{}", download.text());
    assert!(download.text().contains("Server"), "{}", download.text());
    let local = app.dir.path().join("data").join("documents");
    assert!(!local.exists(), "no document is kept on this machine");
}

/// Uploads a file, which becomes a CSV; its id.
pub(crate) async fn uploaded(app: &TestApp, file: Value) -> String {
    let file = Part::text(file.to_string()).file_name("invoice.json");
    let upload = app
        .client
        .post(format!("{}/upload?format=csv", app.base))
        .bearer_auth(&app.token)
        .multipart(Form::new().part("file", file))
        .send();
    let upload = read(upload.await.unwrap()).await;
    assert_eq!(
        (upload.status.as_u16(), upload.text().as_str()),
        (200, "success!")
    );
    let fid = upload.header("x-file-id");
    app.until(fid, "made", |invoice| invoice["pending"] == json!([]))
        .await;
    fid.to_owned()
}

pub(crate) fn file() -> Value {
    json!({
        "company_name": "Solutions", "company_address": "123 Lane", "company_phone": "555-0199",
        "date": "2026-02-02", "invoice_no": "INV-1", "bill_to_name": "John Doe",
        "bill_to_company": "Future Corp", "bill_to_address": "456 Blvd",
        "items": [{"id": "Z1", "description": "Server", "qty": 2, "unit_price": 500, "total": 1000}],
        "subtotal": 1000, "tax_rate": 10, "tax_amount": 100, "total_amount": 1100
    })
}

async fn media_is_well(app: &TestApp) -> Option<Value> {
    let ready = app.get("/health/readiness").await.json();
    let text = ready.to_string();
    assert!(text.contains("media"), "{text}");
    text.contains("\"ok\":false").then_some(ready)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_keeps_documents_and_uploads_in_gridfs() {
    let Some(gridfs) = GridFs::set_up().await else {
        return;
    };
    let app = node(&gridfs.url).await;
    documents_go_out_and_come_back(&app).await;
    assert_eq!(gridfs.objects().await, 2);
    assert_eq!(media_is_well(&app).await, None);
    app.stop().await;
    gridfs.tidy_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_keeps_documents_and_uploads_in_s3() {
    let s3 = S3::set_up().await.unwrap();
    let app = node(&s3.0.url()).await;
    documents_go_out_and_come_back(&app).await;
    assert_eq!(s3.objects().await, 3, "two and what the ping reads");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_keeps_documents_and_uploads_at_cloudinary() {
    let cloudinary = Cloudinary::set_up().await.unwrap();
    let app = node(&cloudinary.0.url()).await;
    documents_go_out_and_come_back(&app).await;
    assert_eq!(cloudinary.objects().await, 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_could_not_be_stored_is_stored_later() {
    use crate::cloudinary_double::Fault;
    let cloudinary = Cloudinary::set_up().await.unwrap();
    let app = node(&cloudinary.0.url()).await;
    cloudinary.0.fail([Fault::Status(503), Fault::Status(420)]);
    documents_go_out_and_come_back(&app).await;
    assert_eq!(cloudinary.objects().await, 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_cannot_be_read_at_present_is_asked_for_again() {
    use crate::cloudinary_double::Fault;
    let cloudinary = Cloudinary::set_up().await.unwrap();
    let app = node(&cloudinary.0.url()).await;
    let id = app.open_invoice().await;
    app.until(&id, "ready", |invoice| {
        invoice["document"]["status"] == "ready"
    })
    .await;
    let path = format!("/v1/invoices/{id}/document");
    cloudinary.0.fail([Fault::Status(503)]);
    let answer = app.get(&path).await;
    answer.expect_problem(503, "media_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(!answer.text().contains("Cloudinary"), "{}", answer.text());
    assert_eq!(app.get(&path).await.status, 200);
    app.stop().await;
}

/// What a node says that can't start with these documents.
async fn refusal_to_start(documents: &str, start_timeout_s: u64) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut config = support::config(&dir);
    config.storage.documents = Secret::new(documents.to_owned());
    config.storage.connect_timeout_ms = 200;
    config.server.start_timeout_s = start_timeout_s;
    match App::start(config, Clock::System).await {
        Ok(_) => panic!("started with {documents}"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_names_the_store_that_does_not_answer() {
    for (documents, line) in [
        (
            "mongodb://127.0.0.1:1/faktor",
            "documents (GridFS) at mongodb://127.0.0.1:1/faktor: the media store is not available",
        ),
        (
            "s3://bucket?endpoint=http://127.0.0.1:1&access_key_id=a&secret_access_key=hunter2",
            "documents (S3) at s3://bucket: the media store is not available",
        ),
        (
            "cloudinary://key:hunter2@cloud?api=http://127.0.0.1:1",
            "documents (Cloudinary) at cloudinary://cloud: the media store is not available",
        ),
    ] {
        let said = refusal_to_start(documents, 1).await;
        assert!(said.contains(line), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_does_not_wait_for_a_store_that_refuses_its_credentials() {
    let (s3, cloudinary) = (
        S3::set_up().await.unwrap(),
        Cloudinary::set_up().await.unwrap(),
    );
    let wrong_s3 = s3.0.url().replace(crate::s3_double::SECRET, "hunter2");
    let secret = crate::cloudinary_double::SECRET;
    let wrong_cloudinary = cloudinary.0.url().replace(secret, "hunter2");
    let an_hour = 3_600;
    for documents in [&wrong_s3, &wrong_cloudinary, "s3://bucket?secret=hunter2"] {
        let said = timeout(PATIENCE, refusal_to_start(documents, an_hour)).await;
        let said = said.unwrap_or_else(|_| panic!("still waiting for {documents}"));
        assert!(said.contains("documents ("), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
