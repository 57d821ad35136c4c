//! Successful answers.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;

use super::conditional::{IfNoneMatch, etag};
use super::error::ApiError;
use crate::json;

/// Bytes of JSON.
pub fn to_json<T: Serialize>(body: &T) -> Result<Bytes, ApiError> {
    json::written(body, Bytes::copy_from_slice)
        .map_err(|error| ApiError::internal(format!("an answer can't be written: {error}")))
}

/// An answer with a JSON body.
pub fn json<T: Serialize>(status: StatusCode, body: &T) -> Result<Response, ApiError> {
    Ok(json_bytes(status, to_json(body)?))
}

/// An answer with a JSON body that is there already.
pub fn json_bytes(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// A versioned resource: its body with its `ETag`.
pub fn resource(status: StatusCode, version: u64, body: Bytes) -> Response {
    let mut response = json_bytes(status, body);
    response.headers_mut().insert(header::ETAG, etag(version));
    response
}

/// A versioned resource, or 304 when the caller has it already.
pub fn resource_unless_known(
    known: &IfNoneMatch,
    version: u64,
    body: impl FnOnce() -> Result<Bytes, ApiError>,
) -> Result<Response, ApiError> {
    let tag = etag(version);
    if known.has(&tag) {
        return Ok(not_modified(tag));
    }
    let mut response = json_bytes(StatusCode::OK, body()?);
    response.headers_mut().insert(header::ETAG, tag);
    Ok(response)
}

/// 304.
pub fn not_modified(tag: HeaderValue) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().insert(header::ETAG, tag);
    response
}

/// 204.
pub fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
