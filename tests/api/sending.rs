//! From issue to mailbox: documents, mails, schedules.

use reqwest::Method;
use serde_json::json;

use crate::path_of;
use crate::support::{TestApp, draft_body};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sends_at_once_send_one_mail() {
    let app = TestApp::start().await;
    let id = app.draft().await;
    let path = format!("{}/send", path_of(&id));
    let (one, two) = tokio::join!(app.post(&path, json!({})), app.post(&path, json!({})));
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (202, 202));
    let sent = app.until(&id, "sent", |invoice| {
        invoice["delivery"]["status"] == "sent" && invoice["pending"] == json!([])
    });
    let sent = sent.await;
    let mails = app.mails().await;
    assert_eq!(mails.len(), 1);
    let message_id = sent["delivery"]["message_id"].as_str().unwrap();
    assert!(mails[0].contains(message_id), "{message_id}");
    let history = app
        .get(&format!("{}/history?limit=100", path_of(&id)))
        .await
        .expect(200);
    let numbers = history["data"].as_array().unwrap().iter();
    assert_eq!(
        numbers.filter(|entry| entry["what"] == "finalized").count(),
        1
    );
}

#[tokio::test]
async fn a_mail_has_the_pdf_the_page_and_no_header_that_a_field_brought_in() {
    let app = TestApp::start().await;
    for (field, value) in [
        ("name", "Ada\r\nBcc: x@evil.example"),
        ("email", "ap@ada.example\r\nBcc: x@evil.example"),
        ("email", "ap@ada.example,x@evil.example"),
    ] {
        let mut body = draft_body();
        body["bill_to"][field] = json!(value);
        let problem = app.post("/v1/invoices", body).await.expect(422);
        assert_eq!(problem["param"], format!("bill_to.{field}"));
    }
    let mut body = draft_body();
    body["bill_to"]["name"] = json!("Ada =?utf-8?q?=0ABcc:_x@evil.example?= <x@evil.example>");
    let made = app.post("/v1/invoices", body).await.expect(201);
    let id = made["id"].as_str().unwrap();
    let path = format!("{}/send", path_of(id));
    for (body, param) in [
        (
            json!({"to": ["x@a.example\r\nBcc: y@evil.example"]}),
            "to[0]",
        ),
        (json!({"cc": ["x@a.example\nBcc: y@evil.example"]}), "cc[0]"),
        (json!({"to": []}), "to"),
    ] {
        let problem = app.post(&path, body).await.expect(422);
        assert_eq!(problem["param"], param, "{problem}");
    }
    let message = "Hello\r\n.\r\nBcc: y@evil.example\n\n--boundary";
    let body = json!({"to": ["ap@ada.example"], "cc": ["cfo@ada.example"], "message": message});
    let answer = app.post(&path, body).await;
    let message_taken = answer.status == 202;
    if !message_taken {
        assert_eq!(answer.expect(422)["param"], "message");
        app.post(
            &path,
            json!({"cc": ["cfo@ada.example"], "message": "Hello"}),
        )
        .await
        .expect(202);
    }
    app.until(id, "sent", |invoice| {
        invoice["delivery"]["status"] == "sent"
    })
    .await;
    let mails = app.mails().await;
    assert_eq!(mails.len(), 1);
    let mail = mailparse::parse_mail(mails[0].as_bytes()).unwrap();
    let mut names: Vec<_> = mail
        .headers
        .iter()
        .map(|h| h.get_key().to_lowercase())
        .collect();
    names.sort_unstable();
    assert!(!names.contains(&"bcc".to_owned()), "{names:?}");
    names.dedup();
    assert_eq!(names.len(), mail.headers.len(), "a header stands twice");
    let header = |name: &str| {
        let found = mail
            .headers
            .iter()
            .find(|h| h.get_key().eq_ignore_ascii_case(name));
        found
            .map(mailparse::MailHeader::get_value)
            .unwrap_or_default()
    };
    assert_eq!(
        (header("to"), header("cc")),
        ("ap@ada.example".into(), "cfo@ada.example".into())
    );
    let texts = &mail.subparts[0].subparts;
    let invoice = app.invoice(id).await;
    let number = invoice["number"].as_str().unwrap();
    for text in texts {
        assert!(text.get_body().unwrap().contains(number));
    }
    assert!(
        !texts[1].get_body().unwrap().contains("<x@evil.example>"),
        "the name is escaped"
    );
    let attachment = &mail.subparts[1];
    assert_eq!(attachment.ctype.mimetype, "application/pdf");
    let stored = app.get(&format!("{}/document", path_of(id))).await;
    assert_eq!(attachment.get_body_raw().unwrap(), stored.bytes);
}

#[tokio::test]
async fn an_issued_invoices_document_is_the_stored_one_in_every_format() {
    let app = TestApp::start().await;
    let id = app.draft().await;
    let path = path_of(&id);
    let draft = app.get(&format!("{path}/document?format=pdf")).await;
    draft.status.is_success().then_some(()).unwrap();
    app.post(&format!("{path}/finalize"), json!({}))
        .await
        .expect(200);
    let ready = app
        .until(&id, "ready", |invoice| {
            invoice["document"]["status"] == "ready"
        })
        .await;
    let pdf = app.get(&format!("{path}/document")).await;
    let sha256 = ready["document"]["pdf"]["sha256"].as_str().unwrap();
    assert_eq!(pdf.header("etag"), format!("\"{sha256}\""));
    assert_eq!(
        pdf.bytes.len() as u64,
        ready["document"]["pdf"]["bytes"].as_u64().unwrap()
    );
    assert!(pdf.bytes.starts_with(b"%PDF-"));
    assert_ne!(pdf.bytes, draft.bytes);
    for (format, kind) in [
        ("pdf", "application/pdf"),
        ("xlsx", "application/vnd"),
        ("csv", "text/csv"),
        ("json", "application/json"),
    ] {
        let target = format!("{path}/document?format={format}");
        let answer = app.get(&target).await;
        assert_eq!(answer.status, 200, "{format}");
        assert!(answer.header("content-type").starts_with(kind), "{format}");
        let disposition = answer.header("content-disposition");
        assert!(
            disposition.starts_with("attachment; filename=\""),
            "{disposition}"
        );
        let tag = answer.header("etag").to_owned();
        let known = app
            .call(Method::GET, &target, None, &[("if-none-match", &tag)])
            .await;
        assert_eq!(
            (known.status.as_u16(), known.bytes.len()),
            (304, 0),
            "{format}"
        );
    }
    let problem = app.get(&format!("{path}/document?format=doc")).await;
    assert_eq!(
        problem.expect_problem(400, "unknown_value")["param"],
        "format"
    );
}

#[tokio::test]
async fn a_scheduled_send_waits_for_its_time() {
    use faktor::clock::Clock;
    let dir = tempfile::tempdir().unwrap();
    let config = crate::support::config(&dir);
    let clock = Clock::manual("2026-11-21T08:00:00Z".parse().unwrap());
    let app = TestApp::start_in(dir, config, clock.clone()).await;
    let id = app.draft().await;
    let path = format!("{}/send", path_of(&id));
    let at = json!({"at": "2026-11-21T08:10:00Z"});
    let scheduled = app.post(&path, at).await.expect(202);
    assert_eq!(
        scheduled["delivery"]["scheduled_at"],
        "2026-11-21T08:10:00.000Z"
    );
    assert_eq!(app.mails().await.len(), 0);
    clock.advance_ms(10 * 60 * 1_000);
    app.until(&id, "sent", |invoice| {
        invoice["delivery"]["status"] == "sent"
    })
    .await;
    assert_eq!(app.mails().await.len(), 1);
    app.post(&path, json!({"at": "2025-02-30T00:00:00Z"}))
        .await
        .expect_problem(400, "invalid_timestamp");
}

#[tokio::test]
async fn an_invoice_becomes_overdue_by_the_clock() {
    use faktor::clock::Clock;
    let dir = tempfile::tempdir().unwrap();
    let config = crate::support::config(&dir);
    let clock = Clock::manual("2026-11-21T08:00:00Z".parse().unwrap());
    let mut app = TestApp::start_in(dir, config, clock.clone()).await;
    let id = app.open_invoice().await;
    assert_eq!(app.invoice(&id).await["overdue"], false);
    clock.advance_ms(60 * 24 * 3_600 * 1_000);
    app.get("/v1/me")
        .await
        .expect_problem(401, "unauthenticated");
    app.token = app
        .sign_in(crate::support::EMAIL, crate::support::PASSWORD)
        .await;
    app.until(&id, "overdue", |invoice| invoice["overdue"] == true)
        .await;
    let listed = app.get("/v1/invoices?overdue=true").await.expect(200);
    assert_eq!(listed["data"][0]["id"], json!(id));
}

#[tokio::test]
async fn what_can_not_be_sent_says_why() {
    let app = TestApp::start().await;
    let mut body = draft_body();
    body["bill_to"].as_object_mut().unwrap().remove("email");
    let made = app.post("/v1/invoices", body).await.expect(201);
    let path = path_of(made["id"].as_str().unwrap());
    app.post(&format!("{path}/send"), json!({}))
        .await
        .expect(422);
    app.post(&format!("{path}/send"), json!({"to": "a@b.example"}))
        .await
        .expect_problem(400, "invalid_type");
    app.post(&format!("{path}/send"), json!({"to": ["a@b.example"]}))
        .await
        .expect(202);
}
