//! `faktor demo`: an invoice's whole life, as a REST client and a customer see it.

use std::io::Write;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use crate::actors::auth_cache::accounts::{self, AccountError, Person};
use crate::app::App;
use crate::clock::{self, Clock};
use crate::config::{Config, PaymentProvider, Secret};

/// How long any step of the demo may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the demo looks whether a step is done.
const LOOK: Duration = Duration::from_millis(25);
const ORGANIZATION: &str = "Ada Lovelace Engines Ltd";

/// Where the demo went wrong, as a sentence.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    #[error("{0}")]
    Start(#[from] crate::app::StartError),
    #[error("the node did not answer: {0}")]
    Http(#[from] reqwest::Error),
    #[error("{method} {path} answered {status}: {body}")]
    Refused {
        method: Method,
        path: String,
        status: StatusCode,
        body: String,
    },
    #[error("the invoice did not become {awaited} in time; it is: {invoice}")]
    TooSlow {
        awaited: &'static str,
        invoice: Value,
    },
    #[error(
        "the demo pays with a test card: payments.secret_key must be one of Stripe's test keys"
    )]
    LiveKey,
    #[error("can't make the demo's organization: {0}")]
    Account(#[from] AccountError),
    #[error("can't write to the terminal: {0}")]
    Output(#[from] std::io::Error),
}

/// The demo's node keeps its data apart from the real one.
fn demo_config(mut config: Config) -> Config {
    let unique = clock::random_hex::<4>();
    config.storage.data_dir = config.storage.data_dir.join(format!("demo-{unique}"));
    config
}

/// Runs the demo on a node of its own, tells each step on `out`, and leaves the node running.
pub(super) async fn run(config: Config, out: &mut impl Write) -> Result<App, DemoError> {
    let is_stripe = config.payments.provider == PaymentProvider::Stripe;
    if is_stripe && !config.payments.secret_key.expose().contains("_test_") {
        return Err(DemoError::LiveKey);
    }
    let config = demo_config(config);
    let places = Places::of(&config);
    let app = start(config).await?;
    let mut demo = Demo {
        base: app.public_url.clone(),
        client: client()?,
        token: Secret::default(),
        email: "ada@faktor.example".to_owned(),
        out,
    };
    match demo.walk(&app, &places).await {
        Ok(()) => Ok(app),
        Err(error) => {
            app.stop().await;
            Err(error)
        }
    }
}

/// Starts the node; on any free port if the configured one is taken.
async fn start(mut config: Config) -> Result<App, DemoError> {
    if tokio::net::TcpListener::bind(config.server.listen)
        .await
        .is_err()
    {
        config.server.listen.set_port(0);
        config.server.public_url.clear();
    }
    Ok(App::start(config, Clock::System).await?)
}

fn client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// Where the configured backends put things, in words.
struct Places {
    mail: String,
    files: String,
    /// Kafka's topics, if events go there.
    events: Option<String>,
}

impl Places {
    fn of(config: &Config) -> Self {
        let data_dir = &config.storage.data_dir;
        let mail = if config.mail.url.is_empty() {
            format!("in {}", data_dir.join("mail").display())
        } else {
            "by SMTP".to_owned()
        };
        let files = if config.storage.documents.is_empty() {
            format!("in {}", data_dir.join("documents").display())
        } else {
            "in the media store".to_owned()
        };
        let prefix = &config.events.topic_prefix;
        Self {
            mail,
            files,
            events: (!config.events.url.is_empty()).then(|| format!("{prefix}.invoice")),
        }
    }
}

struct Demo<'a, W> {
    base: String,
    client: Client,
    token: Secret,
    email: String,
    out: &'a mut W,
}

impl<W: Write> Demo<'_, W> {
    async fn walk(&mut self, app: &App, places: &Places) -> Result<(), DemoError> {
        writeln!(
            self.out,
            "Faktor's demo: one invoice, from a draft to paid.\n"
        )?;
        let password = clock::random_hex::<8>();
        self.set_up(app, &password).await?;
        self.step("node", &format!("listens on {}", self.base))?;
        self.sign_in(&password).await?;
        self.step("user", &format!("{} signed in", self.email))?;

        let draft = self.draft().await?;
        let id = text(&draft, "/id");
        self.step(
            "draft",
            &format!(
                "{id}, {} {}",
                text(&draft, "/totals/total"),
                text(&draft, "/currency")
            ),
        )?;

        let finalized = self
            .post(&format!("/v1/invoices/{id}/finalize"), json!({}))
            .await?;
        let number = text(&finalized, "/number");
        self.step(
            "number",
            &format!("{number}, due on {}", text(&finalized, "/due_on")),
        )?;

        let ready = self
            .until(&id, "/document/status", "ready", "rendered and stored")
            .await?;
        self.step(
            "PDF",
            &format!(
                "{} bytes, SHA-256 {}…",
                ready.pointer("/document/pdf/bytes").unwrap_or(&Value::Null),
                &text(&ready, "/document/pdf/sha256")
                    .chars()
                    .take(16)
                    .collect::<String>()
            ),
        )?;

        self.post(&format!("/v1/invoices/{id}/send"), json!({}))
            .await?;
        let sent = self.until(&id, "/delivery/status", "sent", "sent").await?;
        let link = text(&sent, "/payment/url");
        self.step("payment link", &link)?;
        self.step(
            "mail",
            &format!("to {}, {}", text(&sent, "/delivery/to/0"), places.mail),
        )?;

        let provider = app.services.payments.name();
        let how = if provider == "sandbox" {
            self.customer_pays(&link).await?;
            "by the sandbox provider's signed webhook".to_owned()
        } else {
            let card = json!({"payment_method": "pm_card_visa"});
            self.post(&format!("/v1/invoices/{id}/pay"), card).await?;
            format!("at {provider}, with a test card")
        };
        let paid = self.until(&id, "/status", "paid", "paid").await?;
        self.step(
            "payment",
            &format!(
                "{} {} {how}",
                text(&paid, "/totals/paid"),
                text(&paid, "/currency")
            ),
        )?;
        self.step("paid", &format!("invoice {number} is paid"))?;
        self.until(
            &id,
            "/document/status",
            "ready",
            "stored with its PAID mark",
        )
        .await?;
        self.farewell(&id, &text(&paid, "/page_url"), &password, places)
    }

    /// An organization of the demo's own; on a store that has others, it stands beside them.
    async fn set_up(&mut self, app: &App, password: &str) -> Result<(), DemoError> {
        if let Some((_, token)) = app
            .setup_url
            .as_deref()
            .and_then(|url| url.split_once("token="))
        {
            let first = json!({
                "token": token, "organization_name": ORGANIZATION, "first_name": "Ada",
                "last_name": "Lovelace", "email": self.email, "password": password,
            });
            self.post("/v1/setup", first).await?;
            return Ok(());
        }
        self.email = format!("ada-{}@faktor.example", clock::random_hex::<4>());
        let ada = Person {
            first_name: "Ada".to_owned(),
            last_name: "Lovelace".to_owned(),
            email: self.email.clone(),
            password: password.to_owned(),
        };
        let services = &app.services;
        let directory = services.stores.directory.as_ref();
        accounts::found(directory, services.clock.now(), ORGANIZATION, &ada).await?;
        Ok(())
    }

    async fn sign_in(&mut self, password: &str) -> Result<(), DemoError> {
        let credentials = json!({"email": self.email, "password": password});
        let answer = self.post("/v1/auth/token", credentials).await?;
        self.token = Secret::new(text(&answer, "/access_token"));
        self.request(Method::PATCH, "/v1/organization", Some(json!({
            "address": {"line1": "12 St James's Square", "city": "London", "postal_code": "SW1Y 4JH", "country": "GB"},
            "tax_id": "GB123456789",
            "iban": "DE02120300000000202051",
        })))
        .await?;
        Ok(())
    }

    async fn draft(&self) -> Result<Value, DemoError> {
        self.post("/v1/invoices", json!({
            "bill_to": {
                "name": "Menabrea Analytics GmbH",
                "email": "ap@menabrea.example",
                "tax_id": "DE123456789",
                "address": {"line1": "Ring 1", "city": "Berlin", "postal_code": "10115", "country": "DE"},
            },
            "currency": "EUR",
            "due_in_days": 14,
            "lines": [
                {"description": "Consulting", "quantity": "2.5", "unit": "hour", "unit_price": "99.90",
                 "discount": {"percent": "10"}, "tax": {"category": "S", "rate": "19"}},
                {"description": "Difference engine, maintenance", "quantity": "1", "unit_price": "480",
                 "tax": {"category": "S", "rate": "19"}},
            ],
            "discounts": [{"amount": "5.00", "reason": "loyalty"}],
            "memo": "Thank you for working with us.",
        }))
        .await
    }

    /// What a customer does on the provider's page.
    async fn customer_pays(&self, link: &str) -> Result<(), DemoError> {
        let pay = format!("{link}/pay");
        let answer = self
            .client
            .post(&pay)
            .form(&[("payment_method", "pm_ok")])
            .send()
            .await?;
        let status = answer.status();
        if status.is_redirection() || status.is_success() {
            return Ok(());
        }
        let body = answer.text().await?;
        Err(DemoError::Refused {
            method: Method::POST,
            path: pay,
            status,
            body,
        })
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value, DemoError> {
        self.request(Method::POST, path, Some(body)).await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, DemoError> {
        let mut request = self
            .client
            .request(method.clone(), format!("{}{path}", self.base));
        if !self.token.is_empty() {
            request = request.bearer_auth(self.token.expose());
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        if !status.is_success() {
            let body = answer.text().await?;
            return Err(DemoError::Refused {
                method,
                path: path.to_owned(),
                status,
                body,
            });
        }
        Ok(answer.json().await?)
    }

    /// Looks at the invoice until the field has the value.
    async fn until(
        &self,
        id: &str,
        field: &str,
        value: &str,
        awaited: &'static str,
    ) -> Result<Value, DemoError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let invoice = self
                .request(Method::GET, &format!("/v1/invoices/{id}"), None)
                .await?;
            if text(&invoice, field) == value {
                return Ok(invoice);
            }
            if Instant::now() > deadline {
                return Err(DemoError::TooSlow { awaited, invoice });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn step(&mut self, what: &str, detail: &str) -> Result<(), DemoError> {
        writeln!(self.out, "  ✓ {what:<14}{detail}")?;
        Ok(self.out.flush()?)
    }

    fn farewell(
        &mut self,
        id: &str,
        page_url: &str,
        password: &str,
        places: &Places,
    ) -> Result<(), DemoError> {
        let (base, email) = (&self.base, &self.email);
        let Places {
            mail,
            files,
            events,
        } = places;
        writeln!(
            self.out,
            "\nLook at it:\n  \
             the customer's page   {page_url}\n  \
             the PDF               {page_url}/document.pdf\n  \
             the API's pages       {base}/docs\n  \
             the mail              {mail}\n  \
             the files             {files}\n  \
             sign in as            {email}, password {password}\n  \
             the invoice           GET {base}/v1/invoices/{id}"
        )?;
        if let Some(topic) = events {
            writeln!(self.out, "  the events            Kafka's topic {topic}")?;
        }
        Ok(self.out.flush()?)
    }
}

/// The text at a JSON pointer, empty if there is none.
fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
