//! Money: charged at the provider, received elsewhere, given up.

use reqwest::Method;
use serde_json::{Value, json};

use crate::path_of;
use crate::support::TestApp;

fn with(method: &str) -> Value {
    json!({"payment_method": method})
}

/// A thousand connections take two thousand descriptors, as both ends are in this process.
fn allow_many_connections() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limits = getrlimit(Resource::Nofile);
    let wanted = limits.maximum.unwrap_or(8_192).min(8_192);
    if limits.current.is_some_and(|current| current < wanted) {
        let more = Rlimit {
            current: Some(wanted),
            ..limits
        };
        setrlimit(Resource::Nofile, more).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_parallel_pays_make_one_charge() {
    allow_many_connections();
    let app = TestApp::start().await;
    let id = app.open_invoice().await;
    let path = format!("{}/pay", path_of(&id));
    let pays = (0..1_000).map(|_| app.post(&path, with("pm_ok")));
    let answers = futures_util::future::join_all(pays).await;
    let mut paid = 0;
    for answer in &answers {
        match answer.status.as_u16() {
            200 => paid += 1,
            409 => {
                let code = answer.json()["code"].clone();
                assert!(
                    code == "payment_in_progress" || code == "already_paid",
                    "{code}"
                );
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert_eq!(paid, 1);
    let charges = app.charges(&id).await;
    assert_eq!(charges.len(), 1, "{charges:?}");
    let invoice = app
        .until(&id, "quiet", |invoice| invoice["pending"] == json!([]))
        .await;
    assert_eq!(
        (&invoice["status"], &invoice["totals"]["paid"]),
        (&json!("paid"), &json!("119.00"))
    );
    assert_eq!(invoice["payment"]["received"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_pays_with_one_key_all_get_the_one_answer() {
    let app = TestApp::start().await;
    let id = app.open_invoice().await;
    let path = format!("{}/pay", path_of(&id));
    let key = [("idempotency-key", "p1")];
    let pays = (0..32).map(|_| app.call(Method::POST, &path, Some(with("pm_ok")), &key));
    for answer in futures_util::future::join_all(pays).await {
        assert_eq!(answer.expect(200)["status"], "paid");
    }
    assert_eq!(app.charges(&id).await.len(), 1);
}

/// Presses the button of a page.
async fn pay_on(app: &TestApp, page: &str) -> u16 {
    let form = [("payment_method", "pm_ok")];
    let pressed = app.client.post(format!("{page}/pay")).form(&form);
    pressed.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_customer_pays_on_the_page_is_not_charged_as_well() {
    let app = TestApp::start().await;
    let sent = async || {
        let id = app.open_invoice().await;
        app.post(&format!("{}/send", path_of(&id)), json!({}))
            .await
            .expect(202);
        let sent = app
            .until(&id, "sent", |invoice| invoice["payment"]["url"].is_string())
            .await;
        (id, sent["payment"]["url"].as_str().unwrap().to_owned())
    };
    let is_paid_once = async |id: &str| {
        let invoice = app
            .until(id, "quiet", |invoice| {
                invoice["status"] == "paid" && invoice["pending"] == json!([])
            })
            .await;
        assert_eq!(invoice["totals"]["paid"], "119.00");
        let charges = app.charges(id).await;
        assert_eq!(charges.len(), 1, "{charges:?}");
    };
    for _ in 0..8 {
        let (id, page) = sent().await;
        let pay = format!("{}/pay", path_of(&id));
        let (_, answer) = tokio::join!(pay_on(&app, &page), app.post(&pay, with("pm_ok")));
        let status = answer.status.as_u16();
        assert!(matches!(status, 200 | 202 | 409), "{}", answer.text());
        is_paid_once(&id).await;
    }

    // Not even while the shop does not know of it yet.
    let (id, page) = sent().await;
    assert_eq!(pay_on(&app, &page).await, 303);
    let answer = app
        .post(&format!("{}/pay", path_of(&id)), with("pm_ok"))
        .await;
    if answer.status != 409 {
        assert_eq!(answer.expect(200)["status"], "paid");
    }
    is_paid_once(&id).await;

    let (id, page) = sent().await;
    app.post(&format!("{}/pay", path_of(&id)), with("pm_ok"))
        .await
        .expect(200);
    assert_eq!(pay_on(&app, &page).await, 410);
    is_paid_once(&id).await;
}

#[tokio::test]
async fn a_declined_charge_is_402_and_leaves_the_invoice_open_for_another() {
    let app = TestApp::start().await;
    let id = app.open_invoice().await;
    let path = format!("{}/pay", path_of(&id));
    app.post(&path, with("pm_declined"))
        .await
        .expect_problem(402, "card_declined");
    let invoice = app.invoice(&id).await;
    assert_eq!(
        (&invoice["status"], &invoice["payment"]["status"]),
        (&json!("open"), &json!("unpaid"))
    );
    assert_eq!(invoice["payment"]["last_failure"]["code"], "card_declined");
    assert_eq!(
        app.post(&path, with("pm_ok")).await.expect(200)["status"],
        "paid"
    );
    app.post(&path, with("pm_ok"))
        .await
        .expect_problem(409, "already_paid");
}

#[tokio::test]
async fn a_failing_provider_is_424_and_after_its_last_attempt_another_method_may_pay() {
    let app = TestApp::start_with(|config| config.effects.max_attempts = 3).await;
    let id = app.open_invoice().await;
    let path = format!("{}/pay", path_of(&id));
    app.post(&path, with("pm_unavailable")).await.expect(424);
    let parked = app.until(&id, "parked", |invoice| {
        invoice["pending"]
            .as_array()
            .unwrap()
            .iter()
            .any(|effect| effect["parked"] == true)
    });
    let parked = parked.await;
    let pending = parked["pending"].as_array().unwrap();
    let charge = pending
        .iter()
        .find(|effect| effect["kind"] == "charge")
        .unwrap();
    assert_eq!(charge["attempts"], 3);
    assert!(charge["last_error"]["code"].is_string());
    assert_eq!(app.charges(&id).await.len(), 0);
    // Nothing was charged, and nothing is under way: another method may be tried.
    let paid = app.post(&path, with("pm_ok")).await.expect(200);
    assert_eq!(paid["status"], "paid");
    let retry = format!("{}/retry", path_of(&id));
    app.post(&retry, json!({})).await.expect(200);
    app.until(&id, "quiet", |invoice| invoice["pending"] == json!([]))
        .await;
    assert_eq!(app.charges(&id).await.len(), 1);
}

#[tokio::test]
async fn a_lost_reply_still_ends_paid_once() {
    let app = TestApp::start().await;
    let id = app.open_invoice().await;
    let answer = app
        .post(&format!("{}/pay", path_of(&id)), with("pm_lost_reply"))
        .await;
    assert!(
        [200, 202].contains(&answer.status.as_u16()),
        "{}",
        answer.text()
    );
    let paid = app.until(&id, "paid", |invoice| {
        invoice["status"] == "paid" && invoice["pending"] == json!([])
    });
    assert_eq!(
        paid.await["payment"]["received"].as_array().unwrap().len(),
        1
    );
    assert_eq!(app.charges(&id).await.len(), 1);
}

#[tokio::test]
async fn a_slow_charge_is_in_progress_and_ends_paid_once() {
    let app = TestApp::start_with(|config| config.payments.timeout_ms = 5_000).await;
    let id = app.open_invoice().await;
    let path = format!("{}/pay", path_of(&id));
    let slow = app.post(&path, with("pm_slow"));
    let meanwhile = async {
        app.until(&id, "processing", |invoice| {
            invoice["payment"]["status"] == "processing"
        })
        .await;
        app.post(&path, with("pm_ok"))
            .await
            .expect_problem(409, "payment_in_progress");
        let path = format!("{}/void", path_of(&id));
        app.post(&path, json!({}))
            .await
            .expect_problem(409, "payment_in_progress");
    };
    let (slow, ()) = tokio::join!(slow, meanwhile);
    assert_eq!(slow.expect(200)["status"], "paid");
    assert_eq!(app.charges(&id).await.len(), 1);
}

#[tokio::test]
async fn a_draft_a_void_and_an_unknown_invoice_can_not_be_paid() {
    let app = TestApp::start().await;
    let draft = app.draft().await;
    let pay = async |id: &str| {
        let path = format!("/v1/invoices/{id}/pay");
        app.post(&path, with("pm_ok")).await
    };
    pay(&draft).await.expect_problem(409, "invoice_not_open");
    let open = app.open_invoice().await;
    app.post(
        &format!("{}/void", path_of(&open)),
        json!({"reason": "wrong"}),
    )
    .await
    .expect(200);
    pay(&open).await.expect_problem(409, "already_void");
    pay("inv_00000000000000000000000000000007")
        .await
        .expect_problem(404, "not_found");
    let path = format!("{}/pay", path_of(&draft));
    let problem = app
        .post(&path, json!({}))
        .await
        .expect_problem(422, "required");
    assert_eq!(problem["param"], "payment_method");
    app.post(&path, json!({"payment_method": 7}))
        .await
        .expect_problem(400, "invalid_type");
}

#[tokio::test]
async fn money_received_elsewhere_is_recorded_to_the_cent() {
    let app = TestApp::start().await;
    let id = app.open_invoice().await;
    let path = format!("{}/payments", path_of(&id));
    for (body, status, code, param) in [
        (
            json!({"amount": "0.001", "method": "cash"}),
            422,
            "invalid_amount",
            "amount",
        ),
        (
            json!({"amount": "0", "method": "cash"}),
            422,
            "not_positive",
            "amount",
        ),
        (
            json!({"amount": "-1", "method": "cash"}),
            422,
            "not_positive",
            "amount",
        ),
        (json!({"amount": "1"}), 422, "required", "method"),
        (
            json!({"amount": "x", "method": "cash"}),
            400,
            "invalid_number",
            "amount",
        ),
        (
            json!({"amount": "1", "method": "cash", "received_on": "2025-02-30"}),
            400,
            "invalid_date",
            "received_on",
        ),
        (
            json!({"amount": "1", "method": "cash", "tip": 1}),
            400,
            "unknown_field",
            "tip",
        ),
    ] {
        let answer = app.post(&path, body.clone()).await;
        let problem = answer.expect(status);
        assert_eq!(problem["param"], param, "{body}: {problem}");
        if code != "not_positive" {
            assert_eq!(problem["code"], code, "{body}");
        }
    }
    let part = json!({"amount": "100.00", "method": "bank_transfer", "received_on": "2026-11-20",
        "reference": "R-1"});
    let part = app.post(&path, part).await.expect(200);
    assert_eq!(part["payment"]["status"], "partially_paid");
    assert_eq!(part["totals"]["due"], "19.00");
    let over = app
        .post(&path, json!({"amount": "20", "method": "cash"}))
        .await
        .expect(200);
    assert_eq!(
        (&over["status"], &over["payment"]["status"]),
        (&json!("paid"), &json!("overpaid"))
    );
    let draft = app.draft().await;
    let path = format!("{}/payments", path_of(&draft));
    let answer = app
        .post(&path, json!({"amount": "1", "method": "cash"}))
        .await;
    answer.expect_problem(409, "invoice_not_open");
}

#[tokio::test]
async fn void_and_uncollectible_close_an_invoice_once() {
    let app = TestApp::start().await;
    let draft = path_of(&app.draft().await);
    app.post(&format!("{draft}/void"), json!({}))
        .await
        .expect_problem(409, "draft_not_voidable");
    let path = path_of(&app.open_invoice().await);
    let marked = app
        .post(
            &format!("{path}/mark_uncollectible"),
            json!({"reason": "gone"}),
        )
        .await;
    assert_eq!(marked.expect(200)["status"], "uncollectible");
    let void = app
        .post(&format!("{path}/void"), json!({}))
        .await
        .expect(200);
    assert!(void["voided_at"].is_string());
    app.post(&format!("{path}/void"), json!({}))
        .await
        .expect_problem(409, "already_void");
    app.post(&format!("{path}/send"), json!({}))
        .await
        .expect_problem(409, "already_void");
    let paid = app.open_invoice().await;
    let path = path_of(&paid);
    app.post(&format!("{path}/pay"), with("pm_ok"))
        .await
        .expect(200);
    for action in ["void", "mark_uncollectible"] {
        let answer = app.post(&format!("{path}/{action}"), json!({})).await;
        assert_eq!(answer.status, 409, "{action}: {}", answer.text());
    }
}
