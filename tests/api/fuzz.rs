//! Bodies that nobody would write: valid ones bent by a seeded generator, for every route that takes
//! JSON. None gives a 5xx, and every refusal is a problem that says what is wrong.

mod bent;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use self::bent::{Random, bend, bytes};
use crate::support::{PASSWORD, TestApp, draft_body, read};
use crate::{example, path_of};

/// A larger body is refused.
const MAX_BODY_BYTES: usize = 1 << 20;
const ROUNDS: u32 = 4_000;
/// After it no more rounds are begun than `EACH_SEEN` needs.
const LONGEST: Duration = Duration::from_secs(20);
/// The generator bends, but not so much that nothing is taken any more.
const EACH_SEEN: [&str; 3] = [
    "post /v1/invoices 201",
    "post /v1/invoices 400",
    "post /v1/invoices 422",
];

/// A route with bodies that it takes.
struct Target {
    /// As the document writes it: `post /v1/invoices`.
    operation: &'static str,
    path: String,
    bodies: Vec<Value>,
}

async fn targets(app: &TestApp) -> Vec<Target> {
    let id = |answer: Value| answer["id"].as_str().unwrap().to_owned();
    let customer = json!({"name": "Bob", "email": "b@example.com", "phone": "1", "tax_id": "DE123456789",
        "address": {"line1": "a", "city": "b", "postal_code": "c", "country": "DE"},
        "locale": "de", "metadata": {"a": "b"}});
    let user = json!({"first_name": "Bob", "last_name": "Byte", "email": "bob@example.com",
        "roles": ["accountant"], "password": PASSWORD});
    let made_customer = id(app
        .post("/v1/customers", customer.clone())
        .await
        .expect(201));
    let made_user = id(app.post("/v1/users", user.clone()).await.expect(201));
    let role = json!({"name": "seller", "permissions": ["invoice.create"]});
    app.post("/v1/roles", role.clone()).await.expect(201);
    let settings = json!({"legal_name": "Test GmbH", "address": {"line1": "a", "country": "DE"},
        "email": "a@example.com", "phone": "1", "tax_id": "DE123456789", "registration": "HRB 1",
        "iban": "DE89370400440532013000", "bic": "COBADEFFXXX", "locale": "de", "page_size": "a4",
        "currency": "EUR", "number_pattern": "{YYYY}-{0000}", "due_in_days": 14,
        "payment_terms": "Soon", "rounding": "per_rate",
        "default_tax": {"category": "S", "rate": "19"},
        "mail_texts": {"subject": "Hi", "introduction": "a", "closing": "b"}});
    let mut rich = example();
    rich["customer"] = json!(made_customer);
    rich["charges"] = json!([{"percent": "1", "reason": "freight"}]);
    rich["payment_terms"] = json!("Soon");
    rich["reference"] = json!("R");
    rich["rounding"] = json!("per_line");
    rich["ship_to"] = json!({"name": "Eve", "address": {"country": "FR"}});
    let login = json!({"email": "nobody@example.com", "password": "x"});
    let refresh = json!({"refresh_token": "x"});
    let password = json!({"current_password": "wrong", "new_password": "another password"});
    let setup = json!({"token": "x", "organization_name": "a", "first_name": "b", "last_name": "c",
        "email": "d@example.com", "password": PASSWORD});
    let mut targets = Vec::new();
    let mut add = |operation: &'static str, path: &str, bodies: Vec<Value>| {
        targets.push(Target {
            operation,
            path: path.to_owned(),
            bodies,
        });
    };
    add(
        "post /v1/invoices",
        "/v1/invoices",
        vec![rich.clone(), draft_body(), example()],
    );
    add(
        "patch /v1/invoices/{id}",
        "/v1/invoices/{id}",
        vec![rich.clone()],
    );
    add(
        "post /v1/invoices/{id}/finalize",
        "/v1/invoices/{id}/finalize",
        vec![json!({"send": true})],
    );
    let send = json!({"to": ["a@example.com"], "cc": ["b@example.com"], "message": "Hi",
        "at": "2999-01-01T00:00:00Z"});
    let now = json!({"to": ["a@example.com"], "message": "Hi"});
    add(
        "post /v1/invoices/{id}/send",
        "/v1/invoices/{id}/send",
        vec![send, now],
    );
    let pay = vec![
        json!({"payment_method": "pm_ok"}),
        json!({"payment_method": "pm_declined"}),
    ];
    add("post /v1/invoices/{id}/pay", "/v1/invoices/{id}/pay", pay);
    let payment =
        json!({"amount": "0.01", "method": "cash", "received_on": "2026-11-20", "reference": "r"});
    add(
        "post /v1/invoices/{id}/payments",
        "/v1/invoices/{id}/payments",
        vec![payment],
    );
    add(
        "post /v1/invoices/{id}/void",
        "/v1/invoices/{id}/void",
        vec![json!({"reason": "r"})],
    );
    let reason = vec![json!({"reason": "r"})];
    let path = "/v1/invoices/{id}/mark_uncollectible";
    add("post /v1/invoices/{id}/mark_uncollectible", path, reason);
    add(
        "post /v1/invoices/{id}/retry",
        "/v1/invoices/{id}/retry",
        vec![json!({})],
    );
    add(
        "post /v1/invoices/{id}/rotate_link",
        "/v1/invoices/{id}/rotate_link",
        vec![json!({})],
    );
    add(
        "post /v1/customers",
        "/v1/customers",
        vec![customer.clone()],
    );
    let path = format!("/v1/customers/{made_customer}");
    add("patch /v1/customers/{id}", &path, vec![customer]);
    add("patch /v1/organization", "/v1/organization", vec![settings]);
    add("post /v1/users", "/v1/users", vec![user.clone()]);
    add(
        "patch /v1/users/{id}",
        &format!("/v1/users/{made_user}"),
        vec![user],
    );
    add("post /v1/roles", "/v1/roles", vec![role.clone()]);
    add(
        "patch /v1/roles/{name}",
        "/v1/roles/seller",
        vec![json!({"permissions": ["invoice.create"]})],
    );
    let key = json!({"name": "k", "roles": ["accountant"]});
    add("post /v1/api_keys", "/v1/api_keys", vec![key]);
    add(
        "post /v1/auth/token",
        "/v1/auth/token",
        vec![login, refresh],
    );
    add("put /v1/me/password", "/v1/me/password", vec![password]);
    add("post /v1/setup", "/v1/setup", vec![setup]);
    let event = json!({"id": "evt_1", "type": "payment_intent.succeeded", "data": {"object": {
        "id": "pi_1", "amount": 100, "currency": "eur", "metadata": {"invoice": "inv_1"}}}});
    add(
        "post /v1/webhooks/{provider}",
        "/v1/webhooks/sandbox",
        vec![event.clone()],
    );
    add("post /webhook/stripe", "/webhook/stripe", vec![event]);
    targets
}

/// Every operation of the document that takes a JSON body.
async fn documented(app: &TestApp) -> BTreeSet<String> {
    let document = app.get("/openapi.json").await.expect(200);
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["requestBody"]["content"]["application/json"].is_object() {
                operations.insert(format!("{method} {path}"));
            }
        }
    }
    operations
}

/// Invoices to act on: a draft and an open one, made anew when they were used up.
async fn invoice_for(app: &TestApp, random: &mut Random, pool: &mut Vec<String>) -> String {
    if pool.len() < 2 || random.below(40) == 0 {
        *pool = vec![app.draft().await, app.open_invoice().await];
    }
    random.pick(pool).clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_gives_a_5xx_and_every_refusal_is_a_problem() {
    // A send to one host many times is not what is tested here.
    let app = TestApp::start_with(|config| config.auth.max_failed_logins = 100_000).await;
    let targets = targets(&app).await;
    let known: BTreeSet<_> = targets
        .iter()
        .map(|target| target.operation.to_owned())
        .collect();
    let unknown: Vec<_> = documented(&app).await.difference(&known).cloned().collect();
    assert!(unknown.is_empty(), "not tried: {unknown:?}");
    let mut random = Random(20_261_121);
    let (mut pool, mut answered) = (Vec::new(), Map::new());
    let deadline = Instant::now() + LONGEST;
    for round in 0..ROUNDS {
        let seen_all = EACH_SEEN
            .iter()
            .all(|&answer| answered.contains_key(answer));
        if seen_all && Instant::now() > deadline {
            break;
        }
        let target = random.pick(&targets);
        let mut body = random.pick(&target.bodies).clone();
        for _ in 0..=random.below(3) {
            bend(&mut random, &mut body);
        }
        let bytes = bytes(&mut random, &body);
        let id = invoice_for(&app, &mut random, &mut pool).await;
        let method = target.operation.split(' ').next().unwrap().to_uppercase();
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("{}{}", app.base, target.path.replace("{id}", &id));
        let request = app.client.request(method, url).bearer_auth(&app.token);
        let request = request
            .header("content-type", "application/json")
            .body(bytes.clone());
        let answer = match request.send().await {
            Ok(answer) => read(answer).await,
            // Refused unread: the node closes while the client still writes, and may be faster.
            Err(error) => {
                assert!(bytes.len() > MAX_BODY_BYTES, "round {round}: {error:?}");
                continue;
            }
        };
        let shown: String = String::from_utf8_lossy(&bytes)
            .chars()
            .take(2_000)
            .collect();
        let what = || {
            format!(
                "round {round}: {} {shown}\n{}",
                target.operation,
                answer.text()
            )
        };
        let status = answer.status.as_u16();
        // The provider's failure is the promised answer to its methods.
        assert!(status < 500, "{}", what());
        if status >= 400 {
            assert_eq!(
                answer.header("content-type"),
                "application/problem+json",
                "{}",
                what()
            );
            let problem = answer.json();
            assert_eq!(problem["status"], status, "{}", what());
            assert!(
                problem["code"].is_string() && problem["detail"].is_string(),
                "{}",
                what()
            );
            assert!(problem["request_id"].is_string(), "{}", what());
        }
        let key = format!("{} {status}", target.operation);
        let count = answered.get(&key).and_then(Value::as_u64).unwrap_or(0) + 1;
        answered.insert(key, json!(count));
    }
    for answer in EACH_SEEN {
        assert!(
            answered.contains_key(answer),
            "never {answer}: {answered:?}"
        );
    }
    // After all that, the node does its work.
    let id = app.open_invoice().await;
    app.get(&path_of(&id)).await.expect(200);
}

/// Values for a query that nobody would ask with.
const QUERIES: [&str; 14] = [
    "",
    "%00",
    "%ff",
    "%",
    "'",
    "%25",
    "-1",
    "99999999999999999999",
    "null",
    "true",
    "1e5",
    "2025-02-30",
    "inv_1",
    "%F0%9F%98%80",
];

#[tokio::test]
async fn no_query_gives_a_5xx() {
    let app = TestApp::start().await;
    let id = app.open_invoice().await;
    let document = app.get("/openapi.json").await.expect(200);
    for (path, item) in document["paths"].as_object().unwrap() {
        let parameters = item["get"]["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        for parameter in parameters
            .iter()
            .filter(|parameter| parameter["in"] == "query")
        {
            let name = parameter["name"].as_str().unwrap();
            // Waiting is what it asks for.
            for value in QUERIES.iter().filter(|_| name != "wait") {
                let target = path.replace("{id}", &id);
                let answer = app.get(&format!("{target}?{name}={value}")).await;
                let status = answer.status.as_u16();
                assert!(status < 500, "{target}?{name}={value}: {}", answer.text());
            }
        }
    }
}
