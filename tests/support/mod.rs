//! A whole node for a test: real store, real files, real HTTP on a free port, its own data directory.

#![expect(dead_code, reason = "every test binary uses a part of it")]

pub(crate) mod backends;
pub(crate) mod fault_proxy;
pub(crate) mod profile;

use std::time::Duration;

use faktor::app::App;
use faktor::clock::Clock;
use faktor::config::Config;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Whose mails are in the spool.
const DEFAULT_SENDER: &str = "invoices@faktor.local";
pub(crate) const EMAIL: &str = "admin@faktor.test";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct TestApp {
    pub(crate) app: App,
    pub(crate) dir: TempDir,
    pub(crate) base: String,
    pub(crate) client: Client,
    pub(crate) token: String,
    mail_from: String,
}

/// An answer, read to the end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) bytes: bytes::Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The answer's JSON, if it has the status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        if self.bytes.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// Asserts a problem with status and code, as API.md promises it.
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{problem}"
        );
        for field in ["type", "title", "detail", "request_id"] {
            assert!(problem[field].is_string(), "no {field} in {problem}");
        }
        problem
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// A configuration for a test: free port, own directory, quick retries.
pub(crate) fn config(dir: &TempDir) -> Config {
    let mut config: Config = toml::from_str(faktor::config::DEFAULTS).expect("the defaults");
    config.server.listen = "127.0.0.1:0".parse().expect("an address");
    config.storage.data_dir = dir.path().join("data");
    config.effects.first_delay_ms = 20;
    config.effects.max_delay_ms = 200;
    config.actors.sweep_interval_ms = 50;
    config.payments.timeout_ms = 1_000;
    if profile::is_real() {
        profile::make_real(&mut config);
    }
    config
}

impl TestApp {
    /// A node with an organization and its administrator, who is signed in.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut config = config(&dir);
        change(&mut config);
        Self::start_in(dir, config, Clock::System).await
    }

    pub(crate) async fn start_in(dir: TempDir, config: Config, clock: Clock) -> Self {
        profile::prepare(&config).await;
        let mail_from = config.mail.from.clone();
        let app = App::start(config, clock).await.expect("the node starts");
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_mins(1))
            .build()
            .expect("a client");
        let base = app.public_url.clone();
        let mut test = Self {
            app,
            dir,
            base,
            client,
            token: String::new(),
            mail_from,
        };
        if let Some(token) = test.setup_token() {
            test.post(
                "/v1/setup",
                json!({
                    "token": token, "organization_name": "Test GmbH", "first_name": "Ada",
                    "last_name": "Admin", "email": EMAIL, "password": PASSWORD,
                }),
            )
            .await;
        }
        test.token = test.sign_in(EMAIL, PASSWORD).await;
        test
    }

    fn setup_token(&self) -> Option<String> {
        let url = self.app.setup_url.as_deref()?;
        url.split_once("token=").map(|(_, token)| token.to_owned())
    }

    pub(crate) async fn sign_in(&self, email: &str, password: &str) -> String {
        let credentials = json!({"email": email, "password": password});
        let answer = self
            .call(Method::POST, "/v1/auth/token", Some(credentials), &[])
            .await;
        answer.expect(200)["access_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    /// One request with the administrator's token and any further headers.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        let own_authorization = headers.iter().any(|(name, _)| *name == "authorization");
        if !self.token.is_empty() && !own_authorization {
            request = request.bearer_auth(&self.token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        read(request.send().await.expect("an answer")).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, &[]).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body), &[]).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path, Some(body), &[]).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None, &[]).await
    }

    /// A draft of 119.00 EUR; its id.
    pub(crate) async fn draft(&self) -> String {
        let answer = self.post("/v1/invoices", draft_body()).await;
        answer.expect(201)["id"].as_str().expect("an id").to_owned()
    }

    /// An open invoice of 119.00 EUR; its id.
    pub(crate) async fn open_invoice(&self) -> String {
        let id = self.draft().await;
        self.post(&format!("/v1/invoices/{id}/finalize"), json!({}))
            .await
            .expect(200);
        id
    }

    pub(crate) async fn invoice(&self, id: &str) -> Value {
        self.get(&format!("/v1/invoices/{id}")).await.expect(200)
    }

    /// Looks at the invoice until the condition holds.
    pub(crate) async fn until(
        &self,
        id: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let invoice = self.invoice(id).await;
            if holds(&invoice) {
                return invoice;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "not {what} in time: {invoice:#}"
            );
            tokio::task::yield_now().await;
        }
    }

    /// What the sandbox provider has in its books for an invoice.
    pub(crate) async fn charges(&self, id: &str) -> Vec<Value> {
        let answer = self
            .get(&format!("/sandbox/charges?invoice={id}"))
            .await
            .expect(200);
        let charges = answer.get("data").unwrap_or(&answer);
        charges.as_array().expect("a list of charges").clone()
    }

    /// The mails that went out, as text.
    pub(crate) async fn mails(&self) -> Vec<String> {
        if self.mail_from != DEFAULT_SENDER {
            return profile::caught_mails(&self.mail_from).await;
        }
        let spool = self.dir.path().join("data").join("mail");
        let Ok(entries) = std::fs::read_dir(spool) else {
            return Vec::new();
        };
        entries
            .filter_map(Result::ok)
            .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "eml"))
            .map(|entry| std::fs::read_to_string(entry.path()).expect("a readable mail"))
            .collect()
    }

    pub(crate) async fn stop(self) {
        self.app.stop().await;
    }
}

pub(crate) async fn read(answer: reqwest::Response) -> Answer {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let bytes = answer.bytes().await.expect("a body");
    Answer {
        status,
        headers,
        bytes,
    }
}

/// One line of 100.00 EUR with 19 % tax: 119.00.
pub(crate) fn draft_body() -> Value {
    json!({
        "bill_to": {"name": "Ada GmbH", "email": "ap@ada.example"},
        "currency": "EUR",
        "lines": [{"description": "Consulting", "quantity": "1", "unit_price": "100",
                   "tax": {"category": "S", "rate": "19"}}],
    })
}
