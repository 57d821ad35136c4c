//! The defects of the systems that Faktor replaces, each shown not to be here. Those of logins and
//! tokens stand with the tests of logins and tokens, those of files with the files.

use std::str::FromStr as _;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::support::{TestApp, draft_body};
use crate::webhooks::{paid, start, tell};
use crate::{example, path_of, stranger};

/// An invoice of several lines with quantities; total 261.54 for the first.
async fn sent(app: &TestApp, body: Value) -> Value {
    let made = app.post("/v1/invoices", body).await.expect(201);
    let id = made["id"].as_str().unwrap();
    app.post(&format!("{}/send", path_of(id)), json!({}))
        .await
        .expect(202);
    app.until(id, "sent", |invoice| {
        invoice["delivery"]["status"] == "sent" && invoice["pending"] == json!([])
    })
    .await
}

#[tokio::test]
async fn envoice_defect_stripe_charged_total_times_quantity() {
    let app = TestApp::start().await;
    let invoice = sent(&app, example()).await;
    let id = invoice["id"].as_str().unwrap();
    let pay = json!({"payment_method": "pm_ok"});
    app.post(&format!("{}/pay", path_of(id)), pay)
        .await
        .expect(200);
    let charges = app.charges(id).await;
    assert_eq!(charges.len(), 1);
    assert_eq!(
        (&charges[0]["amount"], &charges[0]["currency"]),
        (&json!(26_154), &json!("EUR"))
    );
}

#[tokio::test]
async fn shopper_defect_billing_ignores_quantity() {
    let app = TestApp::start().await;
    let mut body = draft_body();
    body["lines"][0]["quantity"] = json!(3);
    let invoice = sent(&app, body).await;
    let id = invoice["id"].as_str().unwrap();
    let pay = json!({"payment_method": "pm_ok"});
    app.post(&format!("{}/pay", path_of(id)), pay)
        .await
        .expect(200);
    assert_eq!(app.charges(id).await[0]["amount"], 35_700);
}

#[tokio::test]
async fn envoice_defect_floats() {
    let app = TestApp::start().await;
    let mut body = draft_body();
    // 1.005 × 100 is 100.49999… with floats, and so are sums of a thousand tenths off.
    body["lines"] = json!([{"description": "a", "quantity": "100", "unit_price": "1.005",
        "tax": {"category": "Z"}}]);
    let made = app.post("/v1/invoices", body.clone()).await.expect(201);
    assert_eq!(made["totals"]["total"], "100.50");
    let tenth =
        json!({"description": "a", "quantity": 1, "unit_price": 0.1, "tax": {"category": "Z"}});
    body["lines"] = json!(vec![tenth; 1_000]);
    let made = app.post("/v1/invoices", body).await.expect(201);
    assert_eq!(made["totals"]["total"], "100.00");
}

#[tokio::test]
async fn envoice_defect_the_clients_total_trusted() {
    let app = TestApp::start().await;
    for (place, field) in [
        ("", "total"),
        ("", "totals"),
        ("lines", "total"),
        ("lines", "net"),
    ] {
        let mut body = draft_body();
        let at = if place.is_empty() {
            &mut body
        } else {
            &mut body["lines"][0]
        };
        at[field] = json!("0.01");
        let problem = app
            .post("/v1/invoices", body)
            .await
            .expect_problem(400, "unknown_field");
        let param = if place.is_empty() {
            field.to_owned()
        } else {
            format!("lines[0].{field}")
        };
        assert_eq!(problem["param"], param, "{problem}");
    }
}

#[tokio::test]
async fn envoice_defect_vat_left_out_of_total() {
    let app = TestApp::start().await;
    let invoice = sent(&app, example()).await;
    let number = |value: &Value| Decimal::from_str(value.as_str().unwrap()).unwrap();
    let totals = &invoice["totals"];
    assert_eq!(
        number(&totals["net"]) + number(&totals["tax"]),
        number(&totals["total"])
    );
    let csv = app
        .get(&format!(
            "{}/document?format=csv",
            path_of(invoice["id"].as_str().unwrap())
        ))
        .await;
    assert!(
        csv.text().contains("261.54") && csv.text().contains("41.76"),
        "{}",
        csv.text()
    );
}

#[tokio::test]
async fn envoice_defect_paid_in_two_spellings() {
    let app = start().await;
    let by_provider = app.open_invoice().await;
    tell(&app, &paid("evt_1", "pi_1", &by_provider, 11_900, "eur"))
        .await
        .expect(200);
    app.until(&by_provider, "paid", |invoice| invoice["status"] == "paid")
        .await;
    let by_hand = app.open_invoice().await;
    let payment = json!({"amount": "119", "method": "cash"});
    app.post(&format!("{}/payments", path_of(&by_hand)), payment)
        .await
        .expect(200);
    let listed = app.get("/v1/invoices?status=paid").await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    app.get("/v1/invoices?status=PAID")
        .await
        .expect_problem(400, "unknown_value");
}

#[tokio::test]
async fn envoice_defect_the_webhook_marks_any_state_paid() {
    let app = start().await;
    let draft = app.draft().await;
    let void = app.open_invoice().await;
    app.post(&format!("{}/void", path_of(&void)), json!({}))
        .await
        .expect(200);
    let cents = app.open_invoice().await;
    let dollars = app.open_invoice().await;
    for (n, (id, minor, currency)) in [
        (&draft, 11_900, "eur"),
        (&void, 11_900, "eur"),
        (&cents, 1, "eur"),
        (&dollars, 11_900, "usd"),
    ]
    .into_iter()
    .enumerate()
    {
        let event = paid(&format!("evt_{n}"), &format!("pi_{n}"), id, minor, currency);
        tell(&app, &event).await.expect(200);
    }
    // The inbox works in order: once this one is paid, those before were looked at.
    let last = app.open_invoice().await;
    tell(&app, &paid("evt_9", "pi_9", &last, 11_900, "eur"))
        .await
        .expect(200);
    app.until(&last, "paid", |invoice| invoice["status"] == "paid")
        .await;
    let part = app
        .until(&cents, "credited", |invoice| {
            invoice["totals"]["paid"] == "0.01"
        })
        .await;
    assert_eq!(part["payment"]["status"], "partially_paid");
    for (id, status) in [
        (&draft, "draft"),
        (&void, "void"),
        (&cents, "open"),
        (&dollars, "open"),
    ] {
        assert_eq!(app.invoice(id).await["status"], status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoice_defect_sending_twice_at_once_sends_two() {
    let app = TestApp::start().await;
    let id = app.draft().await;
    let path = format!("{}/send", path_of(&id));
    let sends = futures_util::future::join_all((0..10).map(|_| app.post(&path, json!({})))).await;
    for send in sends {
        send.expect(202);
    }
    app.until(&id, "quiet", |invoice| {
        invoice["delivery"]["status"] == "sent" && invoice["pending"] == json!([])
    })
    .await;
    assert_eq!(app.mails().await.len(), 1);
}

#[tokio::test]
async fn envoice_defect_no_outbox() {
    let test = TestApp::start().await;
    let id = test.draft().await;
    test.post(&format!("{}/send", path_of(&id)), json!({}))
        .await
        .expect(202);
    // Stopped right after the answer, the rest is done after the next start.
    let TestApp { app, dir, .. } = test;
    app.stop().await;
    let config = crate::support::config(&dir);
    let test = TestApp::start_in(dir, config, faktor::clock::Clock::System).await;
    test.until(&id, "sent", |invoice| {
        invoice["delivery"]["status"] == "sent"
    })
    .await;
    let feed = test.get("/v1/events?limit=100").await.expect(200);
    let told = feed["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["type"] == "invoice.sent");
    assert!(told.count() <= 1);
    assert_eq!(test.mails().await.len(), 1);
}

#[tokio::test]
async fn invoice_service_defect_not_found_gives_null_and_200() {
    let app = TestApp::start().await;
    for path in [
        "invoices/inv_",
        "customers/cus_",
        "users/usr_",
        "api_keys/key_",
    ] {
        let path = format!("/v1/{path}00000000000000000000000000000007");
        app.get(&path).await.expect_problem(404, "not_found");
    }
    for path in [
        "/v1/invoices/7",
        "/v1/customers/x",
        "/v1/roles/none",
        "/v1/nothing",
    ] {
        app.get(path).await.expect_problem(404, "not_found");
    }
}

#[tokio::test]
async fn invoice_service_defect_errors_on_create_are_swallowed() {
    let app = TestApp::start().await;
    let mut body = draft_body();
    body["lines"][0]["unit_price"] = json!("-1");
    let problem = app.post("/v1/invoices", body).await.expect(422);
    assert_eq!(problem["param"], "lines[0].unit_price");
    let all = app.get("/v1/invoices").await.expect(200);
    assert_eq!(all["data"], json!([]));
}

#[tokio::test]
async fn invoice_service_rule_impossible_dates_are_400() {
    let app = TestApp::start().await;
    let id = app.open_invoice().await;
    for date in [
        "2025-02-30",
        "2025-02-29",
        "2025-13-01",
        "2025-00-10",
        "2025-1-1",
        "yesterday",
        "20250101",
    ] {
        for field in ["issued_from", "issued_to", "created_from", "created_to"] {
            let answer = app.get(&format!("/v1/invoices?{field}={date}")).await;
            assert_eq!(
                answer.expect_problem(400, "invalid_date")["param"],
                field,
                "{date}"
            );
        }
        let payment = json!({"amount": "1", "method": "cash", "received_on": date});
        let answer = app
            .post(&format!("{}/payments", path_of(&id)), payment)
            .await;
        let problem = answer.expect_problem(400, "invalid_date");
        assert_eq!(problem["param"], "received_on", "{date}");
    }
    app.get("/v1/invoices?issued_from=2024-02-29&issued_to=2024-02-29")
        .await
        .expect(200);
}

#[tokio::test]
async fn shopper_defect_mail_goes_to_the_name_not_the_address() {
    let app = TestApp::start().await;
    let invoice = sent(&app, draft_body()).await;
    assert_eq!(invoice["delivery"]["to"], json!(["ap@ada.example"]));
    let mails = app.mails().await;
    let to = mails[0]
        .lines()
        .find(|line| line.starts_with("To:"))
        .unwrap();
    assert_eq!(to, "To: ap@ada.example");
}

#[tokio::test]
async fn shopper_defect_the_outbox_retry_worker_does_not_exist() {
    if crate::support::profile::is_real() {
        eprintln!("skipped: what stands in the way is a file; tests/faults.rs does it to servers");
        return;
    }
    let app = TestApp::start().await;
    let spool = app.dir.path().join("data").join("mail");
    // A file where the spool's directory should be: no mail can be written.
    let aside = app.dir.path().join("aside");
    if spool.exists() {
        std::fs::rename(&spool, &aside).unwrap();
    }
    std::fs::write(&spool, b"").unwrap();
    let id = app.draft().await;
    app.post(&format!("{}/send", path_of(&id)), json!({}))
        .await
        .expect(202);
    let failing = |invoice: &Value| {
        let pending = invoice["pending"].as_array().unwrap();
        pending
            .iter()
            .any(|effect| effect["kind"] == "mail" && effect["attempts"] != 0)
    };
    app.until(&id, "failing", failing).await;
    std::fs::remove_file(&spool).unwrap();
    app.until(&id, "sent", |invoice| {
        invoice["delivery"]["status"] == "sent"
    })
    .await;
    assert_eq!(app.mails().await.len(), 1);
}

#[tokio::test]
async fn shopper_defect_consumers_delete_each_others_messages() {
    let app = TestApp::start().await;
    let ids = futures_util::future::join_all((0..5).map(|_| app.open_invoice())).await;
    for id in &ids {
        app.until(id, "quiet", |invoice| invoice["pending"] == json!([]))
            .await;
    }
    // Two readers of one feed: each sees everything.
    let read = async || {
        let (mut seen, mut after) = (Vec::new(), String::new());
        while seen
            .iter()
            .filter(|kind| *kind == "invoice.document_ready")
            .count()
            < ids.len()
        {
            let page = app
                .get(&format!("/v1/events?limit=3&wait=10{after}"))
                .await
                .expect(200);
            let events = page["data"].as_array().unwrap();
            seen.extend(
                events
                    .iter()
                    .map(|event| event["type"].as_str().unwrap().to_owned()),
            );
            after = format!("&after={}", page["next"].as_str().unwrap());
        }
        seen
    };
    let (one, two) = tokio::join!(read(), read());
    assert_eq!(one, two);
}

#[tokio::test]
async fn one_organizations_invoices_are_nowhere_in_anothers_lists() {
    let app = TestApp::start().await;
    app.open_invoice().await;
    let stranger = format!("Bearer {}", stranger(&app).await);
    let headers = [("authorization", stranger.as_str())];
    for path in [
        "/v1/invoices",
        "/v1/customers",
        "/v1/events",
        "/v1/invoices?q=Ada",
    ] {
        let list = app
            .call(reqwest::Method::GET, path, None, &headers)
            .await
            .expect(200);
        assert_eq!(list["data"], json!([]), "{path}");
    }
}
