//! What holds for every route: asked of each operation of the served OpenAPI document.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, TestApp, read};
use crate::{key_with, path_of, stranger};

struct Operation {
    method: Method,
    path: String,
    /// The path with real ids.
    target: String,
    needs_credentials: bool,
    takes_json: bool,
}

/// Every operation of the document, its path filled in with things that exist.
async fn operations(app: &TestApp) -> Vec<Operation> {
    let text = |value: &Value, field: &str| value[field].as_str().unwrap().to_owned();
    let invoice = app.draft().await;
    let customer = app
        .post("/v1/customers", json!({"name": "Bob"}))
        .await
        .expect(201);
    let me = app.get("/v1/me").await.expect(200);
    let key = app
        .post(
            "/v1/api_keys",
            json!({"name": "k", "roles": ["accountant"]}),
        )
        .await;
    let key = key.expect(201);
    let document = app.get("/openapi.json").await.expect(200);
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let id = match path.split('/').nth(2) {
            Some("invoices") => invoice.clone(),
            Some("customers") => text(&customer, "id"),
            Some("users") => text(&me["user"], "id"),
            Some("api_keys") => text(&key, "id"),
            _ => String::new(),
        };
        let target = path
            .replace("{id}", &id)
            .replace("{name}", "accountant")
            .replace("{provider}", "sandbox")
            .replace("{token}", &"0".repeat(64));
        for (method, operation) in item.as_object().unwrap() {
            let open = operation["security"]
                .as_array()
                .is_some_and(|ways| ways.contains(&json!({})));
            let body = &operation["requestBody"]["content"]["application/json"];
            operations.push(Operation {
                method: Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(),
                path: path.clone(),
                target: target.clone(),
                needs_credentials: !open,
                takes_json: body.is_object() && !path.contains("webhook"),
            });
        }
    }
    assert!(operations.len() > 55, "{}", operations.len());
    operations
}

fn has_body(method: &Method) -> bool {
    [Method::POST, Method::PATCH, Method::PUT].contains(method)
}

/// A body that an operation takes.
fn fitting_body(operation: &Operation) -> Option<Value> {
    let last = operation.path.rsplit('/').next().unwrap_or_default();
    has_body(&operation.method).then(|| match last {
        "pay" => json!({"payment_method": "pm_ok"}),
        "payments" => json!({"amount": "1", "method": "cash"}),
        _ => json!({}),
    })
}

async fn as_caller(app: &TestApp, token: &str, operation: &Operation) -> Answer {
    let bearer = format!("Bearer {token}");
    let mut headers = Vec::new();
    if !token.is_empty() {
        headers.push(("authorization", bearer.as_str()));
    }
    let mut request = app.client.request(
        operation.method.clone(),
        format!("{}{}", app.base, operation.target),
    );
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if let Some(body) = fitting_body(operation) {
        request = request.json(&body);
    }
    read(request.send().await.unwrap()).await
}

/// The Invoice Generator's routes answer in its own words.
fn speaks_plain_text(operation: &Operation) -> bool {
    ["/login", "/upload", "/download"].contains(&operation.path.as_str())
}

#[tokio::test]
async fn every_operation_but_the_open_ones_is_401_without_credentials_and_with_wrong_ones() {
    let app = TestApp::start().await;
    for operation in operations(&app).await {
        if !operation.needs_credentials {
            continue;
        }
        for token in ["", "wrong", "fk_wrong", "a.b.c"] {
            let answer = as_caller(&app, token, &operation).await;
            let what = format!("{} {} with {token:?}", operation.method, operation.path);
            assert_eq!(answer.status, 401, "{what}: {}", answer.text());
            assert!(
                answer.header("www-authenticate").starts_with("Bearer"),
                "{what}"
            );
            if !speaks_plain_text(&operation) {
                answer.expect_problem(401, "unauthenticated");
            }
        }
    }
}

#[tokio::test]
async fn every_operation_names_the_permission_that_is_missing() {
    let app = TestApp::start().await;
    let nobody = key_with(&app, "nobody", &["product.get_all"]).await;
    let for_anyone = ["/v1/me", "/v1/auth/revoke", "/v1/me/password"];
    for operation in operations(&app).await {
        let is_read = operation.method == Method::GET;
        let settings = is_read && operation.path.starts_with("/v1/organization");
        let anyone = settings || for_anyone.contains(&operation.path.as_str());
        if !operation.needs_credentials || anyone || speaks_plain_text(&operation) {
            continue;
        }
        let answer = as_caller(&app, &nobody, &operation).await;
        let what = format!("{} {}", operation.method, operation.path);
        assert_eq!(answer.status, 403, "{what}: {}", answer.text());
        let problem = answer.expect_problem(403, "forbidden");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.starts_with("this needs the permission "),
            "{what}: {detail}"
        );
    }
}

#[tokio::test]
async fn what_belongs_to_another_organization_is_404_for_every_operation() {
    let app = TestApp::start().await;
    let stranger = stranger(&app).await;
    for operation in operations(&app).await {
        if !operation.path.contains("{id}") {
            continue;
        }
        let answer = as_caller(&app, &stranger, &operation).await;
        let what = format!("{} {}", operation.method, operation.path);
        assert_eq!(answer.status, 404, "{what}: {}", answer.text());
        answer.expect_problem(404, "not_found");
    }
}

#[tokio::test]
async fn every_path_refuses_other_methods_with_405_and_names_those_it_takes() {
    let app = TestApp::start().await;
    let operations = operations(&app).await;
    for operation in &operations {
        let taken: Vec<_> = operations
            .iter()
            .filter(|other| other.path == operation.path)
            .map(|other| other.method.clone())
            .collect();
        let all = [Method::PUT, Method::DELETE, Method::PATCH, Method::POST];
        let Some(other) = all.into_iter().find(|method| !taken.contains(method)) else {
            continue;
        };
        let answer = app.call(other.clone(), &operation.target, None, &[]).await;
        let what = format!("{other} {}", operation.path);
        assert_eq!(answer.status, 405, "{what}: {}", answer.text());
        answer.expect_problem(405, "method_not_allowed");
        assert!(
            answer.header("allow").contains(operation.method.as_str()),
            "{what}"
        );
    }
    app.get("/v1/nothing")
        .await
        .expect_problem(404, "not_found");
}

#[tokio::test]
async fn every_json_body_is_415_as_text_and_400_when_broken_or_with_an_unknown_field() {
    let app = TestApp::start().await;
    for operation in operations(&app).await {
        // Its permission comes first: a built-in role can't be changed whatever the body says.
        if !operation.takes_json || operation.path == "/v1/roles/{name}" {
            continue;
        }
        let what = format!("{} {}", operation.method, operation.path);
        let send = async |content_type: &str, body: &'static str| {
            let url = format!("{}{}", app.base, operation.target);
            let request = app.client.request(operation.method.clone(), url);
            let request = request
                .bearer_auth(&app.token)
                .header("content-type", content_type);
            read(request.body(body).send().await.unwrap()).await
        };
        let answer = send("text/plain", "{}").await;
        assert_eq!(answer.status, 415, "{what}: {}", answer.text());
        answer.expect_problem(415, "unsupported_media_type");
        for broken in [
            "{",
            "{}{}",
            "{\"a\":}",
            "nul",
            "\u{feff}{}",
            "{\"a\":\"\\ud800\"}",
        ] {
            let answer = send("application/json", broken).await;
            assert_eq!(
                answer.status,
                400,
                "{what} with {broken}: {}",
                answer.text()
            );
        }
        let answer = send("application/json", "{\"nonsense\":1}").await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert!(
            answer.text().contains("nonsense"),
            "{what}: {}",
            answer.text()
        );
        assert!(
            answer.json()["errors"]
                .to_string()
                .contains("unknown_field"),
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_request_id_is_returned_and_goes_with_all_that_the_request_led_to() {
    let app = TestApp::start().await;
    let id = app.draft().await;
    let path = format!("{}/send", path_of(&id));
    let answer = app
        .call(
            Method::POST,
            &path,
            Some(json!({})),
            &[("x-request-id", "trace-7")],
        )
        .await;
    answer.expect(202);
    assert_eq!(answer.header("x-request-id"), "trace-7");
    app.until(&id, "sent", |invoice| {
        invoice["delivery"]["status"] == "sent" && invoice["pending"] == json!([])
    })
    .await;
    let history = app
        .get(&format!("{}/history?limit=100", path_of(&id)))
        .await
        .expect(200);
    let entries = history["data"].as_array().unwrap();
    for entry in entries.iter().filter(|entry| entry["what"] != "created") {
        assert_eq!(entry["request_id"], "trace-7", "{entry}");
    }
    assert!(
        entries.iter().any(|entry| entry["what"] == "mail_sent"),
        "{history}"
    );
    let missing = app.get("/v1/invoices/none").await;
    let problem = missing.expect_problem(404, "not_found");
    assert_eq!(problem["request_id"], missing.header("x-request-id"));
}
