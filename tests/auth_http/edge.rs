//! The whole HTTP edge over a real store, called in process, with a clock that the test moves.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use faktor::actors::auth_cache::AuthHandle;
use faktor::actors::auth_cache::accounts::{self, Person};
use faktor::actors::root::{Foundation, Parts, RunningActors};
use faktor::clock::Clock;
use faktor::config::{Config, DEFAULTS};
use faktor::http::{self, Services};
use faktor::outbound::mail::{Mail, Spool};
use faktor::outbound::media::{FileMedia, Media};
use faktor::outbound::payment::Payments;
use faktor::outbound::payment::sandbox::{SandboxOptions, SandboxProvider};
use faktor::render::RenderContext;
use faktor::store::cache::SharedCache;
use faktor::store::sql::{SqliteOptions, SqliteStore, StoreHandle};
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub(crate) const EMAIL: &str = "ada@example.com";
pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const START: Timestamp = Timestamp::constant(1_800_000_000, 0);

pub(crate) struct Edge {
    pub(crate) services: Services,
    pub(crate) folder: TempDir,
    /// Of the administrator.
    pub(crate) token: String,
    router: Router,
    _actors: RunningActors,
    _store: StoreHandle,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The answer's JSON, if it has the status; null without a body.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// A problem with status and code.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(problem["code"], code, "{problem}");
        problem
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// A node without users.
pub(crate) async fn empty_with(change: impl FnOnce(&mut Config)) -> Edge {
    let folder = tempfile::tempdir().unwrap();
    let mut config: Config = toml::from_str(DEFAULTS).unwrap();
    config.storage.data_dir = folder.path().to_owned();
    change(&mut config);
    let config = Arc::new(config);
    let clock = Clock::manual(START);
    let public_url = "http://faktor.test";
    let (stores, store) = SqliteStore::open(folder.path(), SqliteOptions::default())
        .await
        .unwrap();
    let sandbox = SandboxOptions::new(folder.path(), public_url, clock.clone());
    let payments = Arc::new(Payments::Sandbox(SandboxProvider::open(sandbox).unwrap()));
    let auth = AuthHandle::start(&config, clock.clone(), &stores)
        .await
        .unwrap();
    let parts = Parts::assemble(Foundation {
        config: Arc::clone(&config),
        clock: clock.clone(),
        stores: stores.clone(),
        mail: Mail::Spool(Spool::new(folder.path())),
        media: Media::Files(FileMedia::new(folder.path())),
        payments: Arc::clone(&payments),
        events: None,
        context: RenderContext {
            public_url: Some(public_url.to_owned()),
            sandbox: true,
            logo_png: None,
        },
        auth,
        cache: SharedCache::None,
        probes: Vec::new(),
        ownership: faktor::actors::ownership::Ownership::first(),
        represent: http::invoices::representation::represent(public_url),
    });
    let actors = RunningActors::start(parts.clone()).await.unwrap();
    let services = Services {
        config,
        public_url: public_url.into(),
        clock,
        stores,
        invoices: parts.invoices,
        auth: parts.auth,
        documents: parts.documents,
        inbox: parts.inbox,
        outbox: parts.outbox,
        payments,
        node: actors.handle(),
        cluster: None,
        metrics: PrometheusBuilder::new().build_recorder().handle(),
    };
    let router = http::router(services.clone(), CancellationToken::new());
    Edge {
        services,
        folder,
        token: String::new(),
        router,
        _actors: actors,
        _store: store,
    }
}

/// A node with an organization and its administrator, signed in.
pub(crate) async fn edge_with(change: impl FnOnce(&mut Config)) -> Edge {
    let mut edge = empty_with(change).await;
    let directory = edge.services.stores.directory.as_ref();
    accounts::found(directory, START, "Ada GmbH", &person("Ada", EMAIL))
        .await
        .unwrap();
    edge.token = edge.sign_in(EMAIL).await;
    edge
}

pub(crate) async fn edge() -> Edge {
    edge_with(|_| {}).await
}

pub(crate) fn person(first_name: &str, email: &str) -> Person {
    Person {
        first_name: first_name.to_owned(),
        last_name: "Lovelace".to_owned(),
        email: email.to_owned(),
        password: PASSWORD.to_owned(),
    }
}

pub(crate) fn user_body(email: &str, roles: &[&str]) -> Value {
    json!({
        "first_name": "Bob", "last_name": "Byte", "email": email, "roles": roles,
        "password": PASSWORD,
    })
}

impl Edge {
    pub(crate) fn later_s(&self, seconds: i64) {
        self.services.clock.advance_ms(seconds * 1_000);
    }

    /// One request; an empty token sends none.
    pub(crate) async fn send(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.answer(request.body(body).unwrap()).await
    }

    pub(crate) async fn answer(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text,
        }
    }

    /// The answer with its body unread.
    pub(crate) async fn stream(&self, request: Request<Body>) -> axum::response::Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// As the administrator.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(&self.token, "GET", path, None, &[]).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(&self.token, "POST", path, Some(body), &[]).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(&self.token, "PATCH", path, Some(body), &[]).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(&self.token, "DELETE", path, None, &[]).await
    }

    pub(crate) async fn me(&self, token: &str) -> Answer {
        self.send(token, "GET", "/v1/me", None, &[]).await
    }

    pub(crate) async fn login(&self, email: &str, password: &str) -> Answer {
        let body = json!({"email": email, "password": password});
        self.send("", "POST", "/v1/auth/token", Some(body), &[])
            .await
    }

    pub(crate) async fn sign_in(&self, email: &str) -> String {
        let tokens = self.login(email, PASSWORD).await.expect(200);
        tokens["access_token"].as_str().unwrap().to_owned()
    }

    /// Makes a user and signs it in: its id and token.
    pub(crate) async fn user(&self, email: &str, roles: &[&str]) -> (String, String) {
        let user = self
            .post("/v1/users", user_body(email, roles))
            .await
            .expect(201);
        (
            user["id"].as_str().unwrap().to_owned(),
            self.sign_in(email).await,
        )
    }

    pub(crate) async fn role(&self, name: &str, permissions: &[&str]) {
        let body = json!({"name": name, "permissions": permissions});
        self.post("/v1/roles", body).await.expect(201);
    }

    /// Makes an API key: its id and secret.
    pub(crate) async fn api_key(&self, roles: &[&str]) -> (String, String) {
        let body = json!({"name": "shop", "roles": roles});
        let key = self.post("/v1/api_keys", body).await.expect(201);
        let text = |field: &str| key[field].as_str().unwrap().to_owned();
        (text("id"), text("secret"))
    }

    /// The administrator's token of another organization on the same node.
    pub(crate) async fn stranger(&self) -> String {
        let directory = self.services.stores.directory.as_ref();
        let eve = person("Eve", "eve@example.com");
        accounts::found(directory, START, "Eve Ltd", &eve)
            .await
            .unwrap();
        self.sign_in("eve@example.com").await
    }
}
