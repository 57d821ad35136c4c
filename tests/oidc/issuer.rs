//! An issuer that a test can make do what a real one never does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

pub(crate) const AUDIENCE: &str = "faktor-api";

pub(crate) struct TestIssuer {
    pub(crate) url: String,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    url: Mutex<String>,
    keys: Mutex<Vec<SigningKey>>,
    asked: AtomicU64,
    away: AtomicBool,
}

struct SigningKey {
    id: String,
    algorithm: Algorithm,
    encoding: EncodingKey,
    published: Value,
}

impl Drop for TestIssuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl TestIssuer {
    pub(crate) async fn start() -> Self {
        Self::start_as(async |own| own.to_owned()).await
    }

    /// An issuer that goes by another address than its own, such as a proxy's.
    pub(crate) async fn start_as(name: impl AsyncFnOnce(&str) -> String) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = name(&format!("http://{}", listener.local_addr().unwrap())).await;
        let shared = Arc::new(Shared::default());
        shared.url.lock().unwrap().clone_from(&url);
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/other/.well-known/openid-configuration", get(discovery))
            .route(
                "/huge/.well-known/openid-configuration",
                get(async || " ".repeat(2 << 20)),
            )
            .route("/keys", get(keys))
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            url,
            shared,
            server,
        }
    }

    /// A new key, published from now on.
    pub(crate) fn publish(&self, algorithm: Algorithm, id: &str) {
        let encoding = generate(algorithm);
        let jwk = Jwk::from_encoding_key(&encoding, algorithm).unwrap();
        let mut published = serde_json::to_value(jwk).unwrap();
        published["kid"] = id.into();
        published["use"] = "sig".into();
        self.shared.keys.lock().unwrap().push(SigningKey {
            id: id.to_owned(),
            algorithm,
            encoding,
            published,
        });
    }

    /// A token with these claims, and the usual ones where they say nothing.
    pub(crate) fn token(&self, key: &str, claims: &Value) -> String {
        let mut all = json!({
            "iss": self.url, "aud": AUDIENCE, "iat": now_s(), "exp": now_s() + 60, "typ": "Bearer",
        });
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        let keys = self.shared.keys.lock().unwrap();
        let key = keys.iter().find(|known| known.id == key).unwrap();
        let mut header = Header::new(key.algorithm);
        header.kid = Some(key.id.clone());
        jsonwebtoken::encode(&header, &all, &key.encoding).unwrap()
    }

    /// The old trick: HS256, with what is public as the secret.
    pub(crate) fn signed_with_the_public_key(&self, key: &str, claims: &Value) -> String {
        let good = self.token(key, claims);
        let claims: Value = serde_json::from_slice(
            &URL_SAFE_NO_PAD
                .decode(good.split('.').nth(1).unwrap())
                .unwrap(),
        )
        .unwrap();
        let keys = self.shared.keys.lock().unwrap();
        let key = keys.iter().find(|known| known.id == key).unwrap();
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(key.id.clone());
        let secret = EncodingKey::from_secret(key.published.to_string().as_bytes());
        jsonwebtoken::encode(&header, &claims, &secret).unwrap()
    }

    pub(crate) fn asked_for_keys(&self) -> u64 {
        self.shared.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn go_away(&self) {
        self.shared.away.store(true, Ordering::SeqCst);
    }
}

pub(crate) fn header(header: &Value) -> String {
    URL_SAFE_NO_PAD.encode(header.to_string())
}

pub(crate) fn now_s() -> i64 {
    faktor::clock::Clock::System.now().as_second()
}

fn generate(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::generate().unwrap();
            let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
            EncodingKey::from_ed_der(der.as_ref())
        }
        Algorithm::ES256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
            EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref())
        }
        _ => {
            let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
            let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
            let text = STANDARD.encode(der.as_ref());
            let lines: Vec<_> = text
                .as_bytes()
                .chunks(64)
                .map(|line| std::str::from_utf8(line).unwrap())
                .collect();
            let pem = format!(
                "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
                lines.join("\n")
            );
            EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()
        }
    }
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Response {
    let url = shared.url.lock().unwrap().clone();
    axum::Json(json!({"issuer": url, "jwks_uri": format!("{url}/keys")})).into_response()
}

async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    shared.asked.fetch_add(1, Ordering::SeqCst);
    if shared.away.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let mut published = vec![
        json!({"kty": "XYZ", "kid": "of a kind that nobody knows"}),
        json!({"kty": "oct", "kid": "secret", "k": "AAAA"}),
    ];
    let known = shared.keys.lock().unwrap();
    published.extend(known.iter().map(|key| key.published.clone()));
    axum::Json(json!({"keys": published})).into_response()
}
