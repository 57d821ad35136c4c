//! `/v1/auth`: signing in, staying signed in, signing out.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::answer;
use super::error::ApiError;
use super::extract::{Authenticated, Payload};
use super::input::{Field, optional};
use super::openapi::WriteErrors;
use crate::actors::auth_cache::Tokens;
use crate::domain::problem::Problems;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(token))
        .routes(routes!(revoke))
}

/// Either an e-mail address with its password, or a refresh token.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    #[schema(value_type = Option<String>, example = "ada@example.com")]
    email: Option<Field<String>>,
    #[schema(value_type = Option<String>, format = Password, write_only)]
    password: Option<Field<String>>,
    /// Usable once; the answer has the next one.
    #[schema(value_type = Option<String>)]
    refresh_token: Option<Field<String>>,
}

#[derive(Serialize, ToSchema)]
struct TokenAnswer {
    /// For `Authorization: Bearer …`.
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds.
    #[schema(example = 900)]
    expires_in: u64,
    /// Usable once. Using it a second time ends the session.
    refresh_token: String,
}

impl From<Tokens> for TokenAnswer {
    fn from(tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access_token,
            token_type: "Bearer",
            expires_in: tokens.expires_in_s,
            refresh_token: tokens.refresh_token,
        }
    }
}

enum Grant {
    Password { email: String, password: String },
    RefreshToken(String),
}

impl TokenRequest {
    fn read(self) -> Result<Grant, ApiError> {
        let mut problems = Problems::new();
        let email = optional(self.email, "email", &mut problems);
        let password = optional(self.password, "password", &mut problems);
        let refresh_token = optional(self.refresh_token, "refresh_token", &mut problems);
        problems.finish(())?;
        match (email, password, refresh_token) {
            (Some(email), Some(password), None) => Ok(Grant::Password { email, password }),
            (None, None, Some(refresh_token)) => Ok(Grant::RefreshToken(refresh_token)),
            _ => Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unclear_grant",
                "send either email and password, or refresh_token",
            )),
        }
    }
}

/// Sign in, or go on with a refresh token.
///
/// An unknown address and a wrong password get the same answer. After 10 failed logins within 15
/// minutes an address must wait; when too many logins wait at once, everybody must: 429 with
/// `Retry-After`. An `Idempotency-Key` has no effect here, because tokens are not kept.
#[utoipa::path(
    post, path = "/v1/auth/token", tag = "identity", operation_id = "create_token",
    request_body = TokenRequest,
    responses((status = 200, description = "signed in", body = TokenAnswer), WriteErrors),
    security(()),
)]
async fn token(State(app): State<App>, payload: Payload) -> Result<Response, ApiError> {
    let request: TokenRequest = payload.json()?;
    let tokens = match request.read()? {
        Grant::Password { email, password } => app.auth.login(&email, &password).await?,
        Grant::RefreshToken(refresh_token) => app.auth.refresh(&refresh_token).await?,
    };
    let mut response = answer::json(StatusCode::OK, &TokenAnswer::from(tokens))?;
    // RFC 6749, section 5.1.
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Sign out: ends the session with its access and refresh tokens.
///
/// 409: `no_session`, for an API key has none.
#[utoipa::path(
    post, path = "/v1/auth/revoke", tag = "identity", operation_id = "revoke_session",
    responses((status = 204, description = "the session has ended"), WriteErrors),
)]
async fn revoke(
    State(app): State<App>,
    caller: Authenticated,
    payload: Payload,
) -> Result<Response, ApiError> {
    let Nothing {} = payload.json_or_default()?;
    let (Some(user), Some(session)) = (caller.user, caller.session) else {
        return Err(ApiError::conflict(
            "no_session",
            if caller.user.is_some() {
                "the token's issuer keeps the session; sign out there"
            } else {
                "an API key has no session; DELETE /v1/api_keys/{id} revokes it"
            },
        ));
    };
    app.auth.revoke_session(user, session).await?;
    Ok(answer::no_content())
}

/// A body that says nothing.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}
