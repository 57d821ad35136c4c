//! Which other origins' pages may call (CORS).

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, \
     x-request-id, traceparent",
);
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "etag, x-request-id, idempotency-replayed, retry-after, content-disposition, location, \
     x-file-id",
);
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("600");

/// The origins of `server.allowed_origins`; `*` allows any. Empty: only the same origin.
#[derive(Debug)]
pub(super) struct Origins {
    allowed: Vec<HeaderValue>,
    any: bool,
}

impl Origins {
    pub(super) fn new(origins: &[String]) -> Self {
        let allowed = origins
            .iter()
            .filter_map(|origin| HeaderValue::from_str(origin.trim_end_matches('/')).ok())
            .collect();
        Self {
            allowed,
            any: origins.iter().any(|origin| origin == "*"),
        }
    }

    /// The request's origin, when it may call.
    pub(super) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.allowed.is_empty() {
            return None;
        }
        let origin = headers.get(header::ORIGIN)?;
        (self.any || self.allowed.contains(origin)).then(|| origin.clone())
    }

    /// The answer to a preflight of an allowed origin.
    pub(super) fn preflight(request: &Request, origin: Option<&HeaderValue>) -> Option<Response> {
        let asks = request.method() == Method::OPTIONS
            && request
                .headers()
                .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !asks || origin.is_none() {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
        Some(response)
    }

    /// Marks an answer as readable by the origin.
    pub(super) fn mark(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        if self.allowed.is_empty() {
            return;
        }
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}
