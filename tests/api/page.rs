//! The customer's page.

use serde_json::json;

use crate::path_of;
use crate::support::{TestApp, draft_body, read};

#[tokio::test]
async fn names_are_text_on_the_page_and_never_markup() {
    let app = TestApp::start().await;
    let nasty = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>";
    app.patch("/v1/organization", json!({"legal_name": nasty}))
        .await
        .expect(200);
    let mut body = draft_body();
    body["bill_to"]["name"] = json!(nasty);
    body["memo"] = json!(nasty);
    body["lines"][0]["description"] = json!(nasty);
    body["discounts"] = json!([{"amount": "1", "reason": nasty}]);
    let made = app.post("/v1/invoices", body).await.expect(201);
    let id = made["id"].as_str().unwrap();
    let open = app
        .post(&format!("{}/send", path_of(id)), json!({}))
        .await
        .expect(202);
    drop(open);
    let invoice = app
        .until(id, "sent", |invoice| {
            invoice["delivery"]["status"] == "sent"
        })
        .await;
    let page = invoice["page_url"].as_str().unwrap();
    let checkout = invoice["payment"]["url"].as_str().unwrap();
    for url in [page, checkout] {
        let shown = read(app.client.get(url).send().await.unwrap()).await;
        let text = shown.text();
        assert_eq!(shown.status, 200, "{text}");
        assert!(
            !text.contains("<script>") && !text.contains("<img src=x"),
            "{url}: {text}"
        );
    }
    let shown = read(app.client.get(page).send().await.unwrap()).await;
    assert!(shown.text().contains("&lt;script&gt;"), "{}", shown.text());
    let policy = shown.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("script-src"),
        "{policy}"
    );
    assert_eq!(shown.header("referrer-policy"), "no-referrer");
    assert_eq!(shown.header("cache-control"), "no-store");
    assert_eq!(shown.header("x-content-type-options"), "nosniff");
    let mail = app.mails().await.remove(0);
    let mail = mailparse::parse_mail(mail.as_bytes()).unwrap();
    let html = mail.subparts[0].subparts[1].get_body().unwrap();
    assert!(
        !html.contains("<script>") && !html.contains("<img src=x"),
        "{html}"
    );
}

#[tokio::test]
async fn the_page_leads_to_the_payment_and_shows_that_it_was_made() {
    let app = TestApp::start().await;
    let id = app.open_invoice().await;
    let page = app.invoice(&id).await["page_url"]
        .as_str()
        .unwrap()
        .to_owned();
    let get = async |url: String| read(app.client.get(url).send().await.unwrap()).await;
    assert!(get(page.clone()).await.text().contains("119.00"));
    let viewed = app
        .until(&id, "viewed", |invoice| {
            invoice["first_viewed_at"].is_string()
        })
        .await;
    for (file, start) in [
        ("document.pdf", b"%PDF".as_slice()),
        ("document.xlsx", b"PK"),
    ] {
        let answer = get(format!("{page}/{file}")).await;
        assert_eq!(answer.status, 200, "{file}: {}", answer.text());
        assert!(answer.bytes.starts_with(start), "{file}");
    }
    let pay = read(app.client.post(format!("{page}/pay")).send().await.unwrap()).await;
    assert_eq!(pay.status, 303, "{}", pay.text());
    let checkout = pay.header("location").to_owned();
    let form = [("payment_method", "pm_ok")];
    let paid = app
        .client
        .post(format!("{checkout}/pay"))
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(paid.headers()["location"], page.as_str());
    app.until(&id, "paid", |invoice| invoice["status"] == "paid")
        .await;
    let again = read(app.client.post(format!("{page}/pay")).send().await.unwrap()).await;
    assert_eq!(again.status, 303);
    assert!(
        page.ends_with(again.header("location")),
        "back to the page: nothing is due"
    );
    let later = app.invoice(&id).await;
    assert_eq!(later["first_viewed_at"], viewed["first_viewed_at"]);
}

#[tokio::test]
async fn a_token_can_not_be_guessed_and_ends_when_it_is_replaced() {
    let app = TestApp::start().await;
    let id = app.open_invoice().await;
    let page = app.invoice(&id).await["page_url"]
        .as_str()
        .unwrap()
        .to_owned();
    let (base, token) = page.rsplit_once('/').unwrap();
    let id_alone = id.trim_start_matches("inv_");
    let mut changed = token.to_owned();
    let last = changed.pop().unwrap();
    changed.push(if last == '0' { '1' } else { '0' });
    for wrong in [
        changed,
        id_alone.to_owned(),
        format!("{id_alone}{}", "0".repeat(64)),
        "%00".into(),
        "é".repeat(40),
        "x".repeat(4_000),
    ] {
        for rest in ["", "/document.pdf", "/document.xlsx"] {
            let url = format!("{base}/{wrong}{rest}");
            let answer = read(app.client.get(url).send().await.unwrap()).await;
            assert_eq!(answer.status, 404, "{wrong}{rest}: {}", answer.text());
        }
    }
    assert!(token.len() >= 32 + 32, "{token}");
    app.post(&format!("{}/rotate_link", path_of(&id)), json!({}))
        .await
        .expect(200);
    let old = read(app.client.get(&page).send().await.unwrap()).await;
    assert_eq!(old.status, 404);
    let draft = app.draft().await;
    assert!(app.invoice(&draft).await["page_url"].is_null());
}
