//! What handlers take from a request: the caller, ids, query parameters, the body.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::App;
use super::error::{ApiError, BEARER};
use super::input::{Malformed, Object};
use crate::actors::auth_cache::Caller;
use crate::domain::ids::InvalidId;
use crate::domain::permission::Permission;
use crate::domain::problem::Problems;

/// The largest JSON body, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The id of the request, taken from or given to the caller. Put there by the middleware.
#[derive(Debug, Clone)]
pub struct RequestId(pub(super) HeaderValue);

impl RequestId {
    pub fn as_str(&self) -> &str {
        // Only visible ASCII is ever taken or made.
        self.0.to_str().unwrap_or_default()
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let id = parts.extensions.get::<Self>().cloned();
        id.ok_or_else(|| ApiError::internal("the request has no id: the middleware is missing"))
    }
}

/// An authenticated caller; without one the request ends with 401.
#[derive(Debug, Clone)]
pub struct Authenticated(pub Arc<Caller>);

impl std::ops::Deref for Authenticated {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl Authenticated {
    /// 403, naming the permission, unless the caller has it.
    pub fn require(&self, permission: Permission) -> Result<(), ApiError> {
        if self.0.permissions.contains(permission) {
            return Ok(());
        }
        let detail = format!("this needs the permission {permission}");
        Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", detail))
    }
}

/// The token of `Authorization: Bearer …`.
pub fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Err(ApiError::unauthenticated(
            BEARER,
            "send an access token or an API key: Authorization: Bearer …",
        ));
    };
    let malformed =
        || ApiError::unauthenticated(BEARER, "expected the form Authorization: Bearer <token>");
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(malformed)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(malformed());
    }
    Ok(token)
}

impl FromRequestParts<App> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let token = bearer(&parts.headers)?;
        Ok(Self(app.auth.authenticate(token).await?))
    }
}

/// The `{id}` of the path. A text that is no such id finds nothing: 404.
#[derive(Debug, Clone, Copy)]
pub struct Id<T>(pub T);

impl<T, S> FromRequestParts<S> for Id<T>
where
    T: FromStr<Err = InvalidId>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let not_found =
            |detail: String| ApiError::new(StatusCode::NOT_FOUND, "not_found", detail).param("id");
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| not_found("no such id".to_owned()))?;
        text.parse()
            .map(Self)
            .map_err(|error: InvalidId| not_found(format!("no such id: {error}")))
    }
}

/// The parameters of the query, each taken by name; what is left over is refused.
#[derive(Debug)]
pub struct Params {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    problems: Problems,
}

impl Params {
    fn of(uri: &Uri) -> Result<Self, ApiError> {
        let Query(pairs) = Query::try_from_uri(uri)
            .map_err(|_| ApiError::malformed("invalid_query", "the query can't be read"))?;
        Ok(Self {
            pairs,
            known: Vec::new(),
            problems: Problems::new(),
        })
    }

    /// Takes a parameter, read by `read`. An empty value counts as absent.
    pub fn take<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, Malformed>,
    ) -> Option<T> {
        self.known.push(name);
        let at = self.pairs.iter().position(|(given, _)| given == name)?;
        let (_, value) = self.pairs.remove(at);
        if value.is_empty() {
            return None;
        }
        match read(&value) {
            Ok(value) => Some(value),
            Err(Malformed { code, detail }) => {
                self.problems.add(name, code, detail);
                None
            }
        }
    }

    /// Takes a text.
    pub fn take_text(&mut self, name: &'static str) -> Option<String> {
        self.take(name, |text| {
            if text.chars().count() > 200 {
                return Err(Malformed::new("too_long", "at most 200 characters"));
            }
            Ok(text.to_owned())
        })
    }

    /// Takes a truth value.
    pub fn take_bool(&mut self, name: &'static str) -> Option<bool> {
        self.take(name, |text| {
            text.parse()
                .map_err(|_| Malformed::new("invalid_type", "expected true or false"))
        })
    }

    /// Notes a problem with a parameter that was taken.
    pub fn problem(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        self.problems.add(name, code, detail);
    }

    /// 400 with every problem: bad values, repeated and unknown parameters.
    pub fn finish(mut self) -> Result<(), ApiError> {
        for (name, _) in &self.pairs {
            if self.known.contains(&name.as_str()) {
                self.problems
                    .add(name, "repeated", "this parameter may be given once");
            } else {
                let detail = match self.known.as_slice() {
                    [] => "unknown parameter; none is allowed here".to_owned(),
                    known => format!("unknown parameter; allowed are {}", known.join(", ")),
                };
                self.problems.add(name, "unknown_field", detail);
            }
        }
        self.problems
            .finish(())
            .map_err(|problems| ApiError::with_problems(StatusCode::BAD_REQUEST, problems))
    }
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::of(&parts.uri)
    }
}

/// The body, read whole and at most [`MAX_BODY_BYTES`] long; what it says is read by the handler
/// once it knows that the caller may ask.
#[derive(Debug, Clone)]
pub struct Payload {
    method: Method,
    uri: Uri,
    content_type: Option<HeaderValue>,
    bytes: Bytes,
    /// The field that no fingerprint may cover.
    secret: Option<&'static str>,
}

impl<S: Sync> FromRequest<S> for Payload {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read_body(&parts.headers, body, MAX_BODY_BYTES).await?;
        Ok(Self {
            method: parts.method,
            uri: parts.uri,
            content_type: parts.headers.get(header::CONTENT_TYPE).cloned(),
            bytes,
            secret: None,
        })
    }
}

fn too_large(limit: usize) -> ApiError {
    let detail = format!("the body may have at most {limit} bytes");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

/// Reads a body of at most `limit` bytes; 413 beyond it.
pub async fn read_body(
    headers: &HeaderMap,
    body: axum::body::Body,
    limit: usize,
) -> Result<Bytes, ApiError> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > limit) {
        return Err(too_large(limit));
    }
    let mut chunks = body.into_data_stream();
    let mut first = Bytes::new();
    let mut joined: Option<BytesMut> = None;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk
            .map_err(|_| ApiError::malformed("incomplete_body", "the body ended too early"))?;
        if first.len().max(joined.as_ref().map_or(0, BytesMut::len)) + chunk.len() > limit {
            return Err(too_large(limit));
        }
        match &mut joined {
            Some(joined) => joined.extend_from_slice(&chunk),
            None if first.is_empty() => first = chunk,
            None => {
                let mut all = BytesMut::with_capacity(announced.unwrap_or(0).max(first.len() * 2));
                all.extend_from_slice(&first);
                all.extend_from_slice(&chunk);
                joined = Some(all);
            }
        }
    }
    Ok(joined.map_or(first, BytesMut::freeze))
}

/// The part of a content type before its parameters.
pub fn media_type(value: Option<&HeaderValue>) -> Option<&str> {
    let text = value?.to_str().ok()?;
    Some(text.split(';').next().unwrap_or(text).trim())
}

impl Payload {
    /// A body made for a test or taken from elsewhere.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Reads the body as JSON: 415 for another content type, 400 for what can't be read (naming
    /// the field), 422 for a field that is missing.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ApiError> {
        let is_json = media_type(self.content_type.as_ref())
            .is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"));
        if !is_json {
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "send JSON with Content-Type: application/json",
            ));
        }
        read_json(&self.bytes)
    }

    /// Like [`Payload::json`], but no body at all reads as the default.
    pub fn json_or_default<'a, T: Deserialize<'a> + Default>(&'a self) -> Result<T, ApiError> {
        if self.bytes.is_empty() {
            Ok(T::default())
        } else {
            self.json()
        }
    }

    /// Keeps a field of the body out of the fingerprint, which is stored: a fast hash over a
    /// password would let whoever reads the store guess it.
    #[must_use]
    pub fn with_secret(self, field: &'static str) -> Self {
        Self {
            secret: Some(field),
            ..self
        }
    }

    /// A stable 64-bit hash of method, path and raw body: tells a repeat from another request.
    pub fn fingerprint(&self) -> u64 {
        let query = self.uri.query().unwrap_or_default();
        let target = [self.method.as_str(), self.uri.path(), query];
        match self.secret {
            None => fingerprint(&target, &self.bytes),
            Some(secret) => fingerprint(&target, &without_field(&self.bytes, secret)),
        }
    }

    /// Method and path: the route part of a kept answer's key.
    pub fn target(&self) -> (&Method, &str) {
        (&self.method, self.uri.path())
    }
}

/// A JSON object without one of its fields; nothing if it is none, as that is refused anyway.
fn without_field(body: &[u8], field: &str) -> Vec<u8> {
    let fields = serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(body);
    let mut rest = fields.unwrap_or_default();
    rest.remove(field);
    serde_json::to_vec(&rest).unwrap_or_default()
}

/// The first 8 bytes of the SHA-256 over the parts, each ended by a zero byte, and the body.
pub fn fingerprint(parts: &[&str], body: &[u8]) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    hash.update(body);
    hash.finalize()
        .iter()
        .take(8)
        .fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// Reads JSON, refusing anything after it; errors name the field by its path.
pub fn read_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ApiError> {
    // Keeping the path costs more than the reading, so it is kept only to tell of an error.
    // Checking the whole for UTF-8 once costs less than checking each value.
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(Object(value)) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    read_json_by_path(bytes)
}

fn read_json_by_path<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let Object(value) = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        json_error(&error.into_inner(), &path)
    })?;
    deserializer.end().map_err(|error| json_error(&error, ""))?;
    Ok(value)
}

fn json_error(error: &serde_json::Error, path: &str) -> ApiError {
    let text = error.to_string();
    if !error.is_data() {
        return ApiError::malformed("invalid_json", format!("the body is not JSON: {text}"));
    }
    let detail = text.split(" at line ").next().unwrap_or(&text);
    // The names of our types mean nothing to the caller.
    let detail = match detail.split_once("expected struct ") {
        Some((before, _)) => format!("{before}expected an object"),
        None => detail.to_owned(),
    };
    let path = path.trim_start_matches('.');
    let named = detail.split('`').nth(1).unwrap_or_default();
    let inside = |field: &str| match path {
        "" | "?" => field.to_owned(),
        // The reader counts the unknown field as part of the path, or does not, depending on depth.
        path if path == field || path.ends_with(&format!(".{field}")) => path.to_owned(),
        path => format!("{path}.{field}"),
    };
    let (status, code, param) = if detail.starts_with("unknown field") {
        (StatusCode::BAD_REQUEST, "unknown_field", inside(named))
    } else if detail.starts_with("missing field") {
        (StatusCode::UNPROCESSABLE_ENTITY, "required", inside(named))
    } else if detail.starts_with("duplicate field") {
        (StatusCode::BAD_REQUEST, "repeated", inside(named))
    } else if path.is_empty() || path == "." {
        return ApiError::malformed("invalid_type", detail);
    } else {
        (StatusCode::BAD_REQUEST, "invalid_type", path.to_owned())
    };
    let mut problems = Problems::new();
    problems.add(&param, code, detail);
    ApiError::with_problems(status, problems.into_vec())
}

#[cfg(test)]
mod tests;
