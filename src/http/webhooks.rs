//! What payment providers tell: stored before it is acknowledged.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::answer::json;
use super::error::ApiError;
use super::extract::{MAX_BODY_BYTES, read_body};
use super::openapi::OpenErrors;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(receive))
        .routes(routes!(receive_stripe))
}

#[derive(Debug, Serialize, ToSchema)]
struct Received {
    received: bool,
}

/// Takes a provider's event. The signature and its age are checked over the raw body.
#[utoipa::path(
    post, path = "/v1/webhooks/{provider}", tag = "webhooks", operation_id = "receive_webhook",
    security(()),
    params(("provider" = String, Path, example = "sandbox")),
    request_body(content = String, content_type = "application/json"),
    responses((status = 200, description = "Stored", body = Received), OpenErrors)
)]
async fn receive(
    State(app): State<App>,
    Path(provider): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    take(&app, &provider, request).await
}

/// The same for Stripe, at the address that Envoice had.
#[utoipa::path(
    post, path = "/webhook/stripe", tag = "webhooks", operation_id = "receive_stripe_webhook",
    security(()),
    request_body(content = String, content_type = "application/json"),
    responses((status = 200, description = "Stored", body = Received), OpenErrors)
)]
async fn receive_stripe(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    take(&app, "stripe", request).await
}

async fn take(app: &App, provider: &str, request: Request) -> Result<Response, ApiError> {
    let configured = app.payments.name();
    if provider != configured {
        let detail = format!("this installation's payment provider is {configured}");
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "unknown_provider",
            detail,
        ));
    }
    let (parts, body) = request.into_parts();
    let body = read_body(&parts.headers, body, MAX_BODY_BYTES).await?;
    let signature = parts
        .headers
        .get(app.payments.signature_header())
        .and_then(|value| value.to_str().ok());
    let event = app
        .payments
        .verify_webhook(signature, &body, app.clock.now())?;
    app.inbox.receive(configured, &event, &body).await?;
    json(StatusCode::OK, &Received { received: true })
}
