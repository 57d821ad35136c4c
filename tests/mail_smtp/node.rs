//! A whole node whose mail goes out by SMTP.

use faktor::app::{App, StartError};
use faktor::clock::{self, Clock};
use serde_json::{Value, json};

use crate::backends::backend;
use crate::server::{Offer, Server};
use crate::support::{TestApp, config, draft_body};

async fn node(url: &str) -> TestApp {
    TestApp::start_with(|config| config.mail.url = faktor::config::Secret::new(url.to_owned()))
        .await
}

/// An invoice on its way to this address; its id.
async fn send_to(app: &TestApp, address: &str) -> String {
    let mut body = draft_body();
    body["bill_to"]["email"] = json!(address);
    let made = app.post("/v1/invoices", body).await.expect(201);
    let id = made["id"].as_str().unwrap().to_owned();
    app.post(&format!("/v1/invoices/{id}/send"), json!({}))
        .await
        .expect(202);
    id
}

async fn until_sent(app: &TestApp, id: &str) -> Value {
    let sent = |invoice: &Value| {
        invoice["delivery"]["status"] == "sent" && invoice["pending"] == json!([])
    };
    app.until(id, "sent", sent).await
}

fn pending_mail(invoice: &Value) -> Value {
    let mut pending = invoice["pending"].as_array().unwrap().iter();
    let mail = pending.find(|effect| effect["kind"] == "mail");
    mail.cloned().unwrap_or_default()
}

async fn until_parked(app: &TestApp, id: &str) -> Value {
    let parked = |invoice: &Value| pending_mail(invoice)["parked"] == true;
    app.until(id, "parked", parked).await
}

fn message_id(mail: &[u8]) -> String {
    let mail = mailparse::parse_mail(mail).unwrap();
    let header = mail.headers.iter().find(|it| it.get_key() == "Message-ID");
    header.unwrap().get_value()
}

/// The catcher, which answers as the recipient's local part asks, and shows what it took.
struct Catcher {
    url: String,
    api: String,
}

impl Catcher {
    fn find() -> Option<Self> {
        let url = format!("{}?tls=none", backend("SMTP")?);
        backend("SMTP_API").map(|api| Self { url, api })
    }

    async fn mails_to(&self, address: &str) -> Vec<Vec<u8>> {
        let get = async |path: String| {
            let answer = reqwest::get(format!("{}{path}", self.api)).await.unwrap();
            answer.error_for_status().unwrap().bytes().await.unwrap()
        };
        let listed = get(format!("/messages?to={address}")).await;
        let listed: Vec<Value> = serde_json::from_slice(&listed).unwrap();
        let mut mails = Vec::new();
        for mail in listed {
            let id = mail["id"].as_str().unwrap();
            mails.push(get(format!("/messages/{id}.eml")).await.to_vec());
        }
        mails
    }
}

/// What an address asks for, and nobody else's.
fn address(asks_for: &str) -> String {
    format!("{asks_for}-{}@ada.example", clock::random_hex::<8>())
}

#[tokio::test]
async fn an_invoice_arrives_with_its_pdf_under_its_message_id() {
    let Some(catcher) = Catcher::find() else {
        return;
    };
    let app = node(&catcher.url).await;
    let to = address("ap");
    let id = send_to(&app, &to).await;
    let invoice = until_sent(&app, &id).await;
    let mails = catcher.mails_to(&to).await;
    assert_eq!(mails.len(), 1);
    let expected = invoice["delivery"]["message_id"].as_str().unwrap();
    assert_eq!(message_id(&mails[0]), format!("<{expected}>"));
    let mail = mailparse::parse_mail(&mails[0]).unwrap();
    let stored = app.get(&format!("/v1/invoices/{id}/document")).await;
    assert_eq!(mail.subparts[1].get_body_raw().unwrap(), stored.bytes);
    let ready = app.get("/health/readiness").await.expect(200);
    let mail = ready["dependencies"].as_array().unwrap().iter();
    let mail = mail.clone().find(|it| it["name"] == "mail").unwrap();
    assert_eq!(mail["ok"], true, "{ready}");
    app.stop().await;
}

#[tokio::test]
async fn a_refused_mail_is_parked_at_once_with_the_servers_words_and_an_operator_can_retry() {
    let Some(catcher) = Catcher::find() else {
        return;
    };
    let app = node(&catcher.url).await;
    for asks_for in ["reject", "reject-data"] {
        let to = address(asks_for);
        let id = send_to(&app, &to).await;
        let invoice = until_parked(&app, &id).await;
        let mail = pending_mail(&invoice);
        assert_eq!(mail["attempts"], 1, "{mail}");
        assert_eq!(mail["last_error"]["code"], "mail_refused", "{mail}");
        let words = mail["last_error"]["detail"].as_str().unwrap();
        assert!(words.contains("550 5."), "{words}");
        assert_eq!(words.contains(&to), asks_for == "reject", "{words}");
        assert_eq!(invoice["delivery"]["status"], "failed");
        app.post(&format!("/v1/invoices/{id}/retry"), json!({}))
            .await
            .expect(200);
        let again = |invoice: &Value| pending_mail(invoice)["parked"] == true;
        app.until(&id, "parked again", again).await;
        assert_eq!(catcher.mails_to(&to).await.len(), 0);
    }
    app.stop().await;
}

#[tokio::test]
async fn a_deferred_mail_is_tried_again_and_arrives_once() {
    let Some(catcher) = Catcher::find() else {
        return;
    };
    let app = node(&catcher.url).await;
    let to = address("flaky-2");
    let id = send_to(&app, &to).await;
    until_sent(&app, &id).await;
    assert_eq!(catcher.mails_to(&to).await.len(), 1);
    let history = app
        .get(&format!("/v1/invoices/{id}/history?limit=100"))
        .await
        .expect(200);
    let failed: Vec<_> = history["data"].as_array().unwrap().iter().collect();
    let failed = failed.iter().filter(|it| it["what"] == "effect_failed");
    assert_eq!(failed.count(), 2);
    app.stop().await;
}

#[tokio::test]
async fn a_deferral_without_end_is_parked_with_the_servers_words() {
    let Some(catcher) = Catcher::find() else {
        return;
    };
    let app = node(&catcher.url).await;
    let id = send_to(&app, &address("defer-data")).await;
    let mail = pending_mail(&until_parked(&app, &id).await);
    assert_eq!(mail["attempts"], 8, "{mail}");
    let words = mail["last_error"]["detail"].as_str().unwrap();
    assert!(words.contains("451 4.3.0 content deferred"), "{words}");
    app.stop().await;
}

#[tokio::test]
async fn no_mail_waits_for_a_slow_one() {
    let Some(catcher) = Catcher::find() else {
        return;
    };
    let app = node(&catcher.url).await;
    let slow = send_to(&app, &address("slow")).await;
    for _ in 0..3 {
        let id = send_to(&app, &address("ap")).await;
        until_sent(&app, &id).await;
    }
    assert_eq!(app.invoice(&slow).await["delivery"]["status"], "pending");
    until_sent(&app, &slow).await;
    app.stop().await;
}

#[tokio::test]
async fn a_mail_cut_off_before_its_answer_is_repeated_with_the_same_bytes() {
    let server = Server::start(Offer::default()).await;
    let app = node(&server.plain_url()).await;
    let id = send_to(&app, "cut-once@ada.example").await;
    let sent = until_sent(&app, &id).await;
    let mails = std::mem::take(&mut server.seen().mails);
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0], mails[1]);
    let expected = sent["delivery"]["message_id"].as_str().unwrap();
    assert_eq!(message_id(&mails[0]), format!("<{expected}>"));
    app.stop().await;
}

#[tokio::test]
async fn bounces_and_deferrals_hold_up_no_other_mail() {
    let server = Server::start(Offer::default()).await;
    let app = node(&server.plain_url()).await;
    for number in 0..15 {
        send_to(&app, &format!("reject-{number}@bounce.example")).await;
        send_to(&app, &format!("defer-{number}@later.example")).await;
    }
    let id = send_to(&app, "ap@ada.example").await;
    let sent = until_sent(&app, &id).await;
    let history = app
        .get(&format!("/v1/invoices/{id}/history?limit=100"))
        .await
        .expect(200);
    assert!(
        !history.to_string().contains("effect_postponed"),
        "{history}"
    );
    assert_eq!(sent["pending"], json!([]));
    app.stop().await;
}

#[tokio::test]
async fn an_outage_of_the_server_costs_no_attempt_and_mail_goes_out_after_it() {
    let server = Server::start(Offer::default()).await;
    let address = server.address;
    let app = node(&server.plain_url()).await;
    drop(server);
    let id = send_to(&app, "ap@ada.example").await;
    let history = format!("/v1/invoices/{id}/history?limit=100");
    app.until(&id, "waiting for its mail alone", |invoice| {
        invoice["document"]["status"] == "ready" && !pending_mail(invoice).is_null()
    })
    .await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while !app.get(&history).await.text().contains("effect_postponed") {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not postponed in time"
        );
        tokio::task::yield_now().await;
    }
    let mail = pending_mail(&app.invoice(&id).await);
    assert_eq!(
        (&mail["attempts"], &mail["parked"]),
        (&json!(0), &json!(false))
    );
    let server = Server::start_at(address, Offer::default()).await;
    until_sent(&app, &id).await;
    assert_eq!(server.seen().mails.len(), 1);
    app.stop().await;
}

#[tokio::test]
async fn a_node_does_not_start_without_its_mail_server_and_names_it_without_the_password() {
    let gone = Server::start(Offer::default()).await.address;
    let refusing = Server::start(Offer {
        auth: "PLAIN",
        ..Offer::default()
    })
    .await;
    let refusing_port = refusing.address.port();
    for (url, start_timeout_s, reason) in [
        (
            format!("smtp://u:hidden@{gone}?tls=none"),
            1,
            "can't connect: Connection refused",
        ),
        // Asked once, however long there would be: servers lock out who insists.
        (
            format!("smtp://u:hidden@127.0.0.1:{refusing_port}?tls=none"),
            600,
            "the server refuses the login: 535 5.7.8 *** is wrong",
        ),
        (format!("smtp://u:hidden@{gone}"), 1, "can't connect"),
        (
            "smtp://u:hidden@mail.example?tls=none".to_owned(),
            600,
            "in the clear",
        ),
        (
            "smtp://u:hidden@mail.example?ssl=1".to_owned(),
            600,
            "an option other than",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(&dir);
        config.mail.url = faktor::config::Secret::new(url.clone());
        config.server.start_timeout_s = start_timeout_s;
        let Err(StartError::Backends(errors)) = App::start(config, Clock::System).await else {
            panic!("started, or failed otherwise, with {url}")
        };
        let told = errors.to_string();
        assert!(
            told.contains("mail (SMTP) at smtp://") && told.contains(reason),
            "{told}"
        );
        assert!(!told.contains("hidden"), "{told}");
    }
    assert_eq!(refusing.count("AUTH"), 1);
}
