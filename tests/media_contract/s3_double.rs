//! A small S3: one bucket, one key, and every request's signature computed again as Amazon documents it
//! ("Signature Version 4").

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

pub(crate) const BUCKET: &str = "invoices";
pub(crate) const KEY: &str = "AKIDEXAMPLE";
/// With the characters that real ones have and URLs trip over.
pub(crate) const SECRET: &str = "wJalr+UtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// What the next request meets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// An error with a status and an S3 code.
    Error(u16, &'static str),
    /// Half of the body, then the connection ends.
    CutOff,
    /// Half of the body, as if that were all.
    Short,
    /// No answer at all.
    Silence,
}

#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) bytes: Bytes,
    pub(crate) content_type: String,
}

#[derive(Default)]
pub(crate) struct S3Double {
    pub(crate) address: String,
    pub(crate) objects: Mutex<BTreeMap<String, Object>>,
    pub(crate) faults: Mutex<VecDeque<Fault>>,
    /// Method, path and status of every request.
    pub(crate) log: Mutex<Vec<String>>,
}

impl S3Double {
    pub(crate) async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let double = Arc::new(Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            ..Self::default()
        });
        let router = axum::Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&double));
        tokio::spawn(async move { axum::serve(listener, router).await });
        double
    }

    /// The address of the bucket as an operator writes it.
    pub(crate) fn url(&self) -> String {
        format!(
            "s3://{BUCKET}/files/of/faktor?endpoint={}&region=eu-central-1&access_key_id={KEY}\
             &secret_access_key={SECRET}",
            self.address
        )
    }

    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    fn carry_out(&self, method: &Method, key: &str, headers: &HeaderMap, body: Bytes) -> Response {
        let mut objects = self.objects.lock().unwrap();
        if *method == Method::PUT {
            let content_type = text(headers, "content-type").to_owned();
            let object = Object {
                bytes: body,
                content_type,
            };
            let tag = etag(&object.bytes);
            objects.insert(key.to_owned(), object);
            return (StatusCode::OK, [(header::ETAG, tag)]).into_response();
        }
        let Some(object) = objects.get(key) else {
            return error(404, "NoSuchKey");
        };
        let bytes = object.bytes.clone();
        let tag = etag(&bytes);
        let from = text(headers, "range")
            .strip_prefix("bytes=")
            .and_then(|range| range.split('-').next()?.parse::<usize>().ok());
        let status = from.map_or(StatusCode::OK, |_| StatusCode::PARTIAL_CONTENT);
        let (from, all) = (from.unwrap_or(0), bytes.len());
        let answer = Response::builder()
            .status(status)
            .header(header::ETAG, tag)
            .header(header::LAST_MODIFIED, "Fri, 24 May 2013 00:00:00 GMT")
            .header(
                header::CONTENT_RANGE,
                format!("bytes {from}-{}/{all}", all.saturating_sub(1)),
            );
        let rest = bytes.slice(from..);
        let half = rest.slice(..rest.len() / 2);
        let fault = self.faults.lock().unwrap().pop_front();
        let (length, body) = match fault {
            Some(Fault::CutOff) => {
                let parts = [Ok(half), Err(std::io::Error::other("cut off"))];
                (
                    rest.len(),
                    Body::from_stream(futures_util::stream::iter(parts)),
                )
            }
            Some(Fault::Short) => (half.len(), Body::from(half)),
            _ => (rest.len(), Body::from(rest)),
        };
        answer
            .header(header::CONTENT_LENGTH, length)
            .body(body)
            .unwrap()
    }
}

async fn answer(State(double): State<Arc<S3Double>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let path = parts.uri.path().to_owned();
    let early = {
        let mut faults = double.faults.lock().unwrap();
        match faults.front().copied() {
            Some(fault @ (Fault::Error(..) | Fault::Silence)) => {
                faults.pop_front();
                Some(fault)
            }
            _ => None,
        }
    };
    let response = match (early, refusal(&parts, &body)) {
        (Some(Fault::Silence), _) => std::future::pending().await,
        (Some(Fault::Error(status, code)), _) | (_, Some((status, code))) => error(status, code),
        _ => match path.strip_prefix(&format!("/{BUCKET}/")) {
            Some(key) => double.carry_out(&parts.method, key, &parts.headers, body),
            None => error(404, "NoSuchBucket"),
        },
    };
    let line = format!("{} {path} {}", parts.method, response.status().as_u16());
    double.log.lock().unwrap().push(line);
    response
}

fn error(status: u16, code: &str) -> Response {
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>No.</Message></Error>");
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", &sha256(bytes)[..32])
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).map(|value| value.to_str().unwrap());
    value.unwrap_or_default()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Why the request is not carried out, as S3 says it.
fn refusal(parts: &axum::http::request::Parts, body: &[u8]) -> Option<(u16, &'static str)> {
    let headers = &parts.headers;
    let payload = text(headers, "x-amz-content-sha256");
    if payload != sha256(body) {
        return Some((400, "XAmzContentSHA256Mismatch"));
    }
    let checksum = BASE64_STANDARD.encode(Sha256::digest(body));
    if parts.method == Method::PUT && text(headers, "x-amz-checksum-sha256") != checksum {
        return Some((400, "BadDigest"));
    }
    let authorization = text(headers, "authorization");
    let field = |name: &str| {
        let (_, rest) = authorization.split_once(&format!("{name}="))?;
        Some(rest.split(',').next()?.trim())
    };
    let (Some(credential), Some(signed), Some(given)) = (
        field("Credential"),
        field("SignedHeaders"),
        field("Signature"),
    ) else {
        return Some((403, "AccessDenied"));
    };
    let (key, scope) = credential.split_once('/')?;
    if key != KEY {
        return Some((403, "InvalidAccessKeyId"));
    }
    let signed: Vec<_> = signed.split(';').collect();
    let must = ["host", "x-amz-date", "x-amz-content-sha256"];
    if !must.iter().all(|name| signed.contains(name)) {
        return Some((403, "AccessDenied"));
    }
    let canonical = canonical_request(
        parts.method.as_str(),
        parts.uri.path(),
        parts.uri.query().unwrap_or_default(),
        &signed
            .iter()
            .map(|name| (*name, text(headers, name)))
            .collect::<Vec<_>>(),
        payload,
    );
    let expected = signature(&canonical, text(headers, "x-amz-date"), scope, SECRET);
    (given != expected).then_some((403, "SignatureDoesNotMatch"))
}

/// The first step of the signature: the request on lines of its own.
fn canonical_request(
    method: &str,
    path: &str,
    query: &str,
    headers: &[(&str, &str)],
    payload: &str,
) -> String {
    let mut query: Vec<_> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    query.sort_unstable();
    let mut lines = format!("{method}\n{path}\n{}\n", query.join("&"));
    for (name, value) in headers {
        writeln!(lines, "{name}:{}", value.trim()).unwrap();
    }
    let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    write!(lines, "\n{}\n{payload}", names.join(";")).unwrap();
    lines
}

/// The other steps: the string to sign, the key derived from the scope's parts, the signature.
fn signature(canonical: &str, date: &str, scope: &str, secret: &str) -> String {
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        sha256(canonical.as_bytes())
    );
    let key = scope
        .split('/')
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| {
            mac(&key, part)
        });
    hex::encode(mac(&key, &to_sign))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Amazon's published example "GET object", from "Examples: Signature calculations".
#[test]
fn the_double_computes_the_signature_of_amazons_example() {
    let empty = sha256(b"");
    let canonical = canonical_request(
        "GET",
        "/test.txt",
        "",
        &[
            ("host", "examplebucket.s3.amazonaws.com"),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", &empty),
            ("x-amz-date", "20130524T000000Z"),
        ],
        &empty,
    );
    assert_eq!(
        signature(
            &canonical,
            "20130524T000000Z",
            "20130524/us-east-1/s3/aws4_request",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
        ),
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    );
}
