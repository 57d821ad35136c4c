//! Requests to Stripe's API and what their answers mean.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::ProviderError;
use crate::config::Secret;

/// The version of the API that all requests ask for, whatever the account's default is.
pub const API_VERSION: &str = "2026-09-30.endive";

/// The largest answer that is read: a page of a hundred events is below one MiB.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// The longest part of Stripe's sentences that is passed on, in characters.
const MAX_MESSAGE_CHARS: usize = 300;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
static IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
static REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
static STRIPE_VERSION: HeaderName = HeaderName::from_static("stripe-version");

/// Names and values in the order they are sent. The order is fixed by the code, so that a repeat is
/// the same request byte for byte.
pub(super) type Form = Vec<(&'static str, String)>;

/// A connection to Stripe. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    http: Client,
    /// Without a trailing slash.
    api_url: String,
}

/// An answer with the object that was asked for.
#[derive(Debug)]
pub(super) struct Reply<T> {
    pub(super) object: T,
    /// Stripe repeated what it had answered to this key before: the object may have moved on.
    pub(super) replayed: bool,
}

/// Why there is no object.
#[derive(Debug)]
pub(super) enum Failure {
    /// Stripe can't have seen the request.
    NotSent(String),
    /// It was sent, and no answer came that can be read.
    NoAnswer(String),
    Refused(Refusal),
}

/// What Stripe answered instead. Source: <https://docs.stripe.com/api/errors>.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// As in [`Reply::replayed`].
    pub(super) replayed: bool,
    pub(super) error: ApiError,
    request_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ApiError {
    #[serde(rename = "type", default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) code: Option<String>,
    #[serde(default)]
    pub(super) decline_code: Option<String>,
    #[serde(default)]
    pub(super) message: Option<String>,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ApiError,
}

impl Wire {
    /// The error is a sentence; it shows no part of the key.
    pub(super) fn new(
        api_url: &str,
        secret_key: &Secret,
        timeout: Duration,
    ) -> Result<Self, String> {
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", secret_key.expose()))
                .map_err(|_| "the secret key has characters that no key has".to_owned())?;
        authorization.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization);
        headers.insert(
            STRIPE_VERSION.clone(),
            HeaderValue::from_static(API_VERSION),
        );
        let http = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("faktor/", env!("CARGO_PKG_VERSION")))
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .https_only(api_url.starts_with("https://"))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            http,
            api_url: api_url.trim_end_matches('/').to_owned(),
        })
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Form,
    ) -> Result<Reply<T>, Failure> {
        self.ask(self.request(Method::GET, path).query(query)).await
    }

    /// With a key, Stripe does it once however often it is sent, for at least 24 hours.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &Form,
        key: Option<&str>,
    ) -> Result<Reply<T>, Failure> {
        let mut request = self.request(Method::POST, path).form(form);
        if let Some(key) = key {
            request = request.header(&IDEMPOTENCY_KEY, key);
        }
        self.ask(request).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}/v1/{path}", self.api_url))
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<Reply<T>, Failure> {
        let mut answer = request.send().await.map_err(not_answered)?;
        let status = answer.status();
        let replayed = answer.headers().contains_key(&IDEMPOTENT_REPLAYED);
        let request_id = answer
            .headers()
            .get(&REQUEST_ID)
            .and_then(|id| id.to_str().ok())
            .map(str::to_owned);
        let body = read(&mut answer).await?;
        if status.is_success() {
            let object = serde_json::from_slice(&body).map_err(|error| {
                Failure::NoAnswer(format!("Stripe's answer can't be read: {error}"))
            })?;
            return Ok(Reply { object, replayed });
        }
        // A proxy's answer has another body: the status alone tells then.
        let error = serde_json::from_slice::<ErrorBody>(&body)
            .map(|body| body.error)
            .unwrap_or_default();
        Err(Failure::Refused(Refusal {
            status: status.as_u16(),
            replayed,
            error,
            request_id,
        }))
    }
}

async fn read(answer: &mut reqwest::Response) -> Result<Bytes, Failure> {
    let mut body = BytesMut::new();
    while let Some(part) = answer.chunk().await.map_err(not_answered)? {
        if body.len() + part.len() > MAX_ANSWER_BYTES {
            let detail = format!("Stripe's answer is larger than {MAX_ANSWER_BYTES} bytes");
            return Err(Failure::NoAnswer(detail));
        }
        body.extend_from_slice(&part);
    }
    Ok(body.freeze())
}

/// Without a connection nothing was sent; after that, anything may have arrived.
fn not_answered(error: reqwest::Error) -> Failure {
    let not_sent = error.is_connect() || error.is_builder();
    let error = error.without_url();
    let reason = std::error::Error::source(&error)
        .map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
    if not_sent {
        Failure::NotSent(format!("Stripe can't be reached: {reason}"))
    } else {
        Failure::NoAnswer(format!("no answer from Stripe: {reason}"))
    }
}

impl Refusal {
    /// Whether Stripe does not know the thing that was asked about.
    pub(super) fn is_missing(&self) -> bool {
        self.status == 404 || self.error.code.as_deref() == Some("resource_missing")
    }

    /// Whether the key was used before with another request: something was done under it.
    pub(super) fn is_other_request(&self) -> bool {
        self.status == 400 && self.error.kind.as_deref() == Some("idempotency_error")
    }

    /// Whether the secret key is wrong, revoked, or not allowed to do this.
    pub(super) fn is_about_the_key(&self) -> bool {
        matches!(self.status, 401 | 403)
    }

    /// A sentence for the operator. What Stripe says of a key is left out.
    fn sentence(&self) -> String {
        let status = self.status;
        let request = self
            .request_id
            .as_ref()
            .map_or_else(String::new, |id| format!(" (request {id})"));
        if self.is_about_the_key() {
            return format!("Stripe does not accept the secret key: status {status}{request}");
        }
        let code = self.error.code.as_ref().or(self.error.kind.as_ref());
        let code = code.map_or_else(String::new, |code| format!(", {code}"));
        let message: String = self
            .error
            .message
            .as_deref()
            .unwrap_or("no reason given")
            .chars()
            .take(MAX_MESSAGE_CHARS)
            .collect();
        format!("Stripe answered {status}{code}: {message}{request}")
    }
}

/// The generic meaning of an answer; callers look first for what has a meaning of its own.
/// Source: <https://docs.stripe.com/error-low-level>.
impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotSent(detail) => Self::Unavailable { detail },
            Failure::NoAnswer(detail) => Self::OutcomeUnknown { detail },
            Failure::Refused(refusal) => {
                let detail = refusal.sentence();
                match refusal.status {
                    // Not begun: a key to replace, too many requests, an object that is locked.
                    401 | 403 | 429 => Self::Unavailable { detail },
                    // The same request is under way; or Stripe does not know what it did.
                    409 | 500.. => Self::OutcomeUnknown { detail },
                    _ => Self::Rejected { detail },
                }
            }
        }
    }
}
