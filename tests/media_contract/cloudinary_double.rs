//! A small Cloudinary: upload, download and ping of one product environment, every signature computed
//! again as "Generating authentication signatures" in its documentation defines it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Multipart, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use faktor::clock::Clock;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(crate) const CLOUD: &str = "demo-cloud";
pub(crate) const KEY: &str = "874837483274837";
pub(crate) const SECRET: &str = "a676b67565c6767a6767d6767f676fe1";
/// How long a signature is good for, in seconds.
const SIGNATURE_TTL_S: i64 = 3_600;

/// What the next request meets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    Status(u16),
    /// The upload is kept, but its answer never arrives.
    LostAnswer,
    /// Half of the body, then the connection ends.
    CutOff,
    Short,
}

#[derive(Default)]
pub(crate) struct CloudinaryDouble {
    pub(crate) address: String,
    /// By `resource_type/type/public_id`.
    pub(crate) assets: Mutex<BTreeMap<String, Bytes>>,
    pub(crate) faults: Mutex<VecDeque<Fault>>,
    /// The parameters of every upload that was carried out.
    pub(crate) uploads: Mutex<Vec<BTreeMap<String, String>>>,
    pub(crate) pings: Mutex<usize>,
}

impl CloudinaryDouble {
    pub(crate) async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let double = Arc::new(Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            ..Self::default()
        });
        let router = Router::new()
            .route("/v1_1/{cloud}/ping", get(ping))
            .route("/v1_1/{cloud}/{resource_type}/upload", post(upload))
            .route("/v1_1/{cloud}/{resource_type}/download", get(download))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&double));
        tokio::spawn(async move { axum::serve(listener, router).await });
        double
    }

    /// The address of the environment as an operator writes it.
    pub(crate) fn url(&self) -> String {
        format!("cloudinary://{KEY}:{SECRET}@{CLOUD}?api={}", self.address)
    }

    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    fn fault(&self) -> Option<Fault> {
        self.faults.lock().unwrap().pop_front()
    }
}

type Double = State<Arc<CloudinaryDouble>>;

fn error(status: u16, message: &str) -> Response {
    let body = Json(json!({"error": {"message": message}}));
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

/// Why the parameters of a call don't authenticate it.
fn refusal(cloud: &str, parameters: &BTreeMap<String, String>) -> Option<Response> {
    let value = |name: &str| parameters.get(name).map_or("", String::as_str);
    if cloud != CLOUD {
        return Some(error(401, &format!("Invalid cloud_name {cloud}")));
    }
    if value("api_key") != KEY {
        return Some(error(401, "Unknown API key"));
    }
    // All parameters but these, sorted by name, joined, and the secret behind them.
    let signed: Vec<_> = parameters
        .iter()
        .filter(|(name, _)| {
            ![
                "file",
                "cloud_name",
                "resource_type",
                "api_key",
                "signature",
            ]
            .contains(&name.as_str())
        })
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let to_sign = signed.join("&");
    let digest = Sha256::digest(format!("{to_sign}{SECRET}").as_bytes());
    if value("signature") != hex::encode(digest) {
        let message = format!("Invalid Signature. String to sign - '{to_sign}'.");
        return Some(error(401, &message));
    }
    let age_s = value("timestamp")
        .parse::<i64>()
        .map_or(i64::MAX, |then_s| Clock::System.now().as_second() - then_s);
    (age_s.abs() > SIGNATURE_TTL_S).then(|| error(400, "Stale request"))
}

async fn upload(
    State(double): Double,
    Path((cloud, resource_type)): Path<(String, String)>,
    mut form: Multipart,
) -> Response {
    let mut parameters = BTreeMap::new();
    let mut file = None;
    while let Some(field) = form.next_field().await.unwrap() {
        let name = field.name().unwrap().to_owned();
        if name == "file" {
            file = Some(field.bytes().await.unwrap());
        } else {
            parameters.insert(name, field.text().await.unwrap());
        }
    }
    if let Some(refusal) = refusal(&cloud, &parameters) {
        return refusal;
    }
    let fault = double.fault();
    if let Some(Fault::Status(status)) = fault {
        return error(status, "General Error");
    }
    let Some(file) = file else {
        return error(400, "Missing required parameter - file");
    };
    if file.is_empty() {
        return error(400, "Empty file");
    }
    let public_id = parameters["public_id"].clone();
    let delivery = parameters.get("type").map_or("upload", String::as_str);
    let asset = format!("{resource_type}/{delivery}/{public_id}");
    let overwrite = parameters
        .get("overwrite")
        .is_none_or(|overwrite| overwrite == "true");
    let kept = {
        let mut assets = double.assets.lock().unwrap();
        if overwrite || !assets.contains_key(&asset) {
            assets.insert(asset.clone(), file);
        }
        assets[&asset].clone()
    };
    double.uploads.lock().unwrap().push(parameters);
    if matches!(fault, Some(Fault::LostAnswer)) {
        return std::future::pending().await;
    }
    let answer: Value = json!({
        "public_id": public_id, "resource_type": resource_type, "bytes": kept.len(),
        "version": 1_312_461_204, "overwritten": true,
    });
    Json(answer).into_response()
}

async fn download(
    State(double): Double,
    Path((cloud, resource_type)): Path<(String, String)>,
    Query(parameters): Query<BTreeMap<String, String>>,
) -> Response {
    if let Some(refusal) = refusal(&cloud, &parameters) {
        return refusal;
    }
    let fault = double.fault();
    if let Some(Fault::Status(status)) = fault {
        return error(status, "General Error");
    }
    let public_id = &parameters["public_id"];
    let delivery = parameters.get("type").map_or("upload", String::as_str);
    let asset = format!("{resource_type}/{delivery}/{public_id}");
    let found = double.assets.lock().unwrap().get(&asset).cloned();
    let Some(bytes) = found else {
        return error(404, &format!("Resource not found - {public_id}"));
    };
    let half = bytes.slice(..bytes.len() / 2);
    match fault {
        Some(Fault::CutOff) => {
            let parts = [Ok(half), Err(std::io::Error::other("cut off"))];
            let body = Body::from_stream(futures_util::stream::iter(parts));
            ([(header::CONTENT_LENGTH, bytes.len())], body).into_response()
        }
        Some(Fault::Short) => half.into_response(),
        _ => bytes.into_response(),
    }
}

async fn ping(State(double): Double, Path(cloud): Path<String>, headers: HeaderMap) -> Response {
    *double.pings.lock().unwrap() += 1;
    let expected = format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{KEY}:{SECRET}"))
    );
    let given = headers.get(header::AUTHORIZATION);
    if cloud != CLOUD || given.is_none_or(|given| *given != expected) {
        return error(401, "Invalid credentials");
    }
    match double.fault() {
        Some(Fault::Status(status)) => error(status, "General Error"),
        _ => Json(json!({"status": "ok"})).into_response(),
    }
}
