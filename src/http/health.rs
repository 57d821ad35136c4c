//! Health, metrics and the API's own documentation.

use std::sync::OnceLock;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::answer::{json, json_bytes, to_json};
use super::error::ApiError;
use crate::actors::root::Dependency;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(liveness))
        .routes(routes!(readiness))
        .routes(routes!(startup))
        .routes(routes!(metrics))
        .routes(routes!(document))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Health)]
struct HealthBody {
    /// ok, unavailable or draining.
    status: &'static str,
    /// What this node depends on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    dependencies: Vec<Dependency>,
}

/// Whether the process answers.
#[utoipa::path(
    get, path = "/health/liveness", tag = "operations", operation_id = "liveness", security(()),
    responses((status = 200, description = "It does", body = HealthBody))
)]
async fn liveness() -> Result<Response, ApiError> {
    json(
        StatusCode::OK,
        &HealthBody {
            status: "ok",
            dependencies: Vec::new(),
        },
    )
}

/// Whether the node takes requests: each dependency and its state.
#[utoipa::path(
    get, path = "/health/readiness", tag = "operations", operation_id = "readiness", security(()),
    responses(
        (status = 200, description = "It does", body = HealthBody),
        (status = 503, description = "A required dependency is down, or the node is draining",
            body = HealthBody)
    )
)]
async fn readiness(State(app): State<App>) -> Result<Response, ApiError> {
    let dependencies = app.node.dependencies().await;
    let status = if app.is_draining() {
        "draining"
    } else if dependencies.iter().all(|it| it.ok || !it.required) {
        "ok"
    } else {
        "unavailable"
    };
    let code = if status == "ok" {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut response = json(
        code,
        &HealthBody {
            status,
            dependencies,
        },
    )?;
    if code != StatusCode::OK {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

/// Whether the node has started: it answers only once it has.
#[utoipa::path(
    get, path = "/health/startup", tag = "operations", operation_id = "startup", security(()),
    responses((status = 200, description = "It has", body = HealthBody))
)]
async fn startup() -> Result<Response, ApiError> {
    json(
        StatusCode::OK,
        &HealthBody {
            status: "ok",
            dependencies: Vec::new(),
        },
    )
}

/// Metrics in Prometheus's text form.
#[utoipa::path(
    get, path = "/metrics", tag = "operations", operation_id = "metrics", security(()),
    responses((status = 200, description = "Metrics", body = String, content_type = "text/plain"))
)]
async fn metrics(State(app): State<App>) -> Response {
    let mut response = json_bytes(StatusCode::OK, Bytes::from(app.metrics.render()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    response
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "operations", operation_id = "openapi", security(()),
    responses((status = 200, description = "The OpenAPI document", body = Object))
)]
async fn document() -> Result<Response, ApiError> {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let bytes = if let Some(bytes) = DOCUMENT.get() {
        bytes.clone()
    } else {
        let bytes = to_json(&super::openapi())?;
        DOCUMENT.get_or_init(|| bytes).clone()
    };
    Ok(json_bytes(StatusCode::OK, bytes))
}
