//! The contract of the HTTP interface against a real node on a real port.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it can't go on"
)]

mod content;
mod contract;
mod defects;
mod events;
mod files;
mod fuzz;
mod invoices;
mod page;
mod payments;
mod robustness;
mod sending;
#[path = "../support/mod.rs"]
mod support;
mod webhooks;

use faktor::actors::auth_cache::accounts::{self, Person};
use serde_json::{Value, json};

use support::{Answer, PASSWORD, TestApp, read};

/// The example of the contract.
pub(crate) fn example() -> Value {
    json!({
        "bill_to": {"name": "Ada GmbH", "email": "ap@ada.example", "tax_id": "DE123456789",
            "address": {"line1": "Ring 1", "city": "Berlin", "postal_code": "10115",
                "country": "DE"}},
        "ship_to": null, "currency": "EUR", "prices_include_tax": false, "purchase_order": "PO-7",
        "memo": "Thank you", "due_in_days": 14,
        "lines": [{"description": "Consulting", "product": null, "quantity": "2.5", "unit": "hour",
            "unit_price": "99.90", "discount": {"percent": "10"},
            "tax": {"category": "S", "rate": "19"}}],
        "discounts": [{"amount": "5.00", "reason": "loyalty"}], "metadata": {"project": "x"}
    })
}

pub(crate) fn path_of(id: &str) -> String {
    format!("/v1/invoices/{id}")
}

/// The administrator's token of another organization on the same node.
pub(crate) async fn stranger(app: &TestApp) -> String {
    let services = &app.app.services;
    let eve = Person {
        first_name: "Eve".to_owned(),
        last_name: "Else".to_owned(),
        email: "eve@example.com".to_owned(),
        password: PASSWORD.to_owned(),
    };
    let directory = services.stores.directory.as_ref();
    accounts::found(directory, services.clock.now(), "Eve Ltd", &eve)
        .await
        .unwrap();
    app.sign_in("eve@example.com", PASSWORD).await
}

/// The secret of a new API key that has just these permissions.
pub(crate) async fn key_with(app: &TestApp, role: &str, permissions: &[&str]) -> String {
    let body = json!({"name": role, "permissions": permissions});
    app.post("/v1/roles", body).await.expect(201);
    let body = json!({"name": role, "roles": [role]});
    let key = app.post("/v1/api_keys", body).await.expect(201);
    key["secret"].as_str().unwrap().to_owned()
}

/// A JSON body as it is written, byte by byte.
pub(crate) async fn post_text(app: &TestApp, path: &str, body: impl Into<Vec<u8>>) -> Answer {
    let request = app
        .client
        .post(format!("{}{path}", app.base))
        .bearer_auth(&app.token)
        .header("content-type", "application/json")
        .body(body.into());
    read(request.send().await.unwrap()).await
}

/// The fields that a problem names, in order.
pub(crate) fn params_of(problem: &Value) -> Vec<String> {
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    let mut params: Vec<_> = errors
        .iter()
        .map(|error| error["param"].as_str().unwrap().to_owned())
        .collect();
    params.sort_unstable();
    params
}
