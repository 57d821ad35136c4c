//! The node from outside: health, metrics, documentation, webhooks, the customer's page.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::drafts::{made, path_of};
use crate::edge::edge;

#[tokio::test]
async fn health_needs_no_credentials_and_lists_dependencies() {
    let edge = edge().await;
    for path in ["/health/liveness", "/health/startup"] {
        assert_eq!(
            edge.send("", "GET", path, None, &[]).await.expect(200)["status"],
            "ok"
        );
    }
    let ready = edge
        .send("", "GET", "/health/readiness", None, &[])
        .await
        .expect(200);
    assert!(
        !ready["dependencies"].as_array().unwrap().is_empty(),
        "{ready}"
    );
    assert!(ready["dependencies"][0]["name"].is_string());
}

#[tokio::test]
async fn the_node_and_its_cluster_are_told_truthfully() {
    let edge = edge().await;
    let node = edge.get("/v1/node").await.expect(200);
    assert!(node["tree"]["children"].is_array(), "{node}");
    let cluster = edge.get("/v1/cluster").await.expect(200);
    assert_eq!(cluster["nodes"].as_array().unwrap().len(), 1);
    assert_eq!(cluster["shards"], json!({"total": 256, "owned": 256}));
}

#[tokio::test]
async fn the_documentation_is_served_and_asks_no_other_host() {
    let edge = edge().await;
    let document = edge
        .send("", "GET", "/openapi.json", None, &[])
        .await
        .expect(200);
    assert!(document["paths"]["/v1/invoices"]["post"].is_object());
    let page = edge.send("", "GET", "/docs/", None, &[]).await;
    page.expect(200);
    assert!(
        page.header("content-security-policy")
            .contains("default-src 'none'")
    );
    assert!(
        !page.text.contains("//cdn") && !page.text.contains("https://"),
        "{}",
        page.text
    );
    let script = edge
        .send("", "GET", "/docs/swagger-initializer.js", None, &[])
        .await;
    script.expect(200);
    assert!(script.text.contains("/openapi.json"), "{}", script.text);
}

#[tokio::test]
async fn an_unsigned_webhook_and_one_of_an_unknown_provider_are_refused() {
    let edge = edge().await;
    let post = |path: &'static str| {
        let request = Request::post(path).header("content-type", "application/json");
        edge.answer(request.body(Body::from("{}")).unwrap())
    };
    post("/v1/webhooks/sandbox")
        .await
        .refused(400, "missing_signature");
    post("/v1/webhooks/paypal")
        .await
        .refused(404, "unknown_provider");
    post("/webhook/stripe")
        .await
        .refused(404, "unknown_provider");
}

#[tokio::test]
async fn the_customers_page_has_an_address_that_is_its_only_proof() {
    let edge = edge().await;
    let path = path_of(&made(&edge).await);
    let invoice = edge
        .post(&format!("{path}/finalize"), json!({}))
        .await
        .expect(200);
    let page = invoice["page_url"]
        .as_str()
        .unwrap()
        .strip_prefix("http://faktor.test")
        .unwrap();
    let show = |path: String| async move { path };
    let mut wrong = show(page.to_owned()).await;
    let last = wrong.pop().unwrap();
    wrong.push(if last == '0' { '1' } else { '0' });
    for path in [wrong, "/i/x".to_owned(), format!("/i/{}", "0".repeat(64))] {
        let answer = edge.send("", "GET", &path, None, &[]).await;
        answer.expect(404);
        assert!(
            answer.header("content-type").starts_with("text/html"),
            "{path}"
        );
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert!(
            answer
                .header("content-security-policy")
                .contains("frame-ancestors 'none'")
        );
        edge.send("", "POST", &format!("{path}/pay"), None, &[])
            .await
            .refused(404, "not_found");
    }
    let paying = edge
        .send("", "POST", &format!("{page}/pay"), None, &[])
        .await;
    paying.expect(303);
    assert!(
        paying.header("location").contains("/sandbox/checkout/"),
        "{}",
        paying.header("location")
    );
    let again = edge
        .send("", "POST", &format!("{page}/pay"), None, &[])
        .await;
    assert_eq!(again.header("location"), paying.header("location"));

    edge.post(&format!("{path}/rotate_link"), json!({}))
        .await
        .expect(200);
    edge.send("", "GET", page, None, &[]).await.expect(404);
}

#[tokio::test]
async fn the_customers_page_marks_the_first_look_and_gives_the_documents() {
    let edge = edge().await;
    let path = path_of(&made(&edge).await);
    let invoice = edge
        .post(&format!("{path}/finalize"), json!({}))
        .await
        .expect(200);
    let page = invoice["page_url"]
        .as_str()
        .unwrap()
        .strip_prefix("http://faktor.test")
        .unwrap();
    let shown = edge.send("", "GET", page, None, &[]).await;
    shown.expect(200);
    assert!(shown.text.contains("261.54"), "{}", shown.text);
    assert!(shown.text.contains("SANDBOX"));
    assert_eq!(
        (shown.header("cache-control"), shown.header("x-robots-tag")),
        ("no-store", "noindex")
    );
    let viewed = edge.get(&path).await.expect(200);
    assert!(viewed["first_viewed_at"].is_string());
    edge.send("", "GET", page, None, &[]).await.expect(200);
    assert_eq!(
        edge.get(&path).await.expect(200)["first_viewed_at"],
        viewed["first_viewed_at"]
    );
    for (file, kind) in [
        ("document.pdf", "application/pdf"),
        ("document.xlsx", "application/vnd"),
    ] {
        let request = Request::get(format!("{page}/{file}"))
            .body(Body::empty())
            .unwrap();
        let response = edge.stream(request).await;
        assert_eq!(response.status(), 200, "{file}");
        assert!(
            response.headers()["content-type"]
                .to_str()
                .unwrap()
                .starts_with(kind),
            "{file}"
        );
    }
}

#[tokio::test]
async fn a_document_has_a_name_and_a_tag_and_is_not_sent_twice() {
    let edge = edge().await;
    let path = path_of(&made(&edge).await);
    for (format, kind) in [
        ("pdf", "application/pdf"),
        ("xlsx", "application/vnd"),
        ("csv", "text/csv"),
        ("json", "application/json"),
    ] {
        let address = format!("{path}/document?format={format}");
        let get = |tag: &str| {
            let request = Request::get(&address)
                .header("authorization", format!("Bearer {}", edge.token))
                .header("if-none-match", tag);
            edge.stream(request.body(Body::empty()).unwrap())
        };
        let first = get("\"x\"").await;
        assert_eq!(first.status(), 200, "{format}");
        let header = |name: &str| first.headers()[name].to_str().unwrap().to_owned();
        assert!(
            header("content-type").starts_with(kind),
            "{}",
            header("content-type")
        );
        let disposition = header("content-disposition");
        assert!(
            disposition.starts_with("attachment; filename=\""),
            "{disposition}"
        );
        assert!(
            disposition.contains(&format!(".{format}\"")),
            "{disposition}"
        );
        assert_eq!(get(&header("etag")).await.status(), 304, "{format}");
    }
    edge.get(&format!("{path}/document?format=doc"))
        .await
        .refused(400, "unknown_value");
}
