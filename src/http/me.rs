//! `/v1/me`: the caller itself.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::answer;
use super::api_keys::ApiKeyView;
use super::error::ApiError;
use super::extract::{Authenticated, Payload};
use super::input::{Field, required};
use super::openapi::{ReadErrors, WriteErrors};
use super::users::UserView;
use crate::actors::auth_cache::accounts::check_password;
use crate::domain::ids::OrganizationId;
use crate::domain::invoice::command::Initiator;
use crate::domain::permission::Permission;
use crate::domain::problem::Problems;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(me))
        .routes(routes!(change_password))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Me)]
struct MeView {
    /// Null for an API key.
    user: Option<UserView>,
    /// Null for a user.
    api_key: Option<ApiKeyView>,
    organization: OrganizationView,
    roles: Vec<String>,
    /// The union over the roles.
    #[schema(value_type = Vec<String>)]
    permissions: Vec<Permission>,
}

#[derive(Serialize, ToSchema)]
struct OrganizationView {
    #[schema(value_type = String, example = "org_0192f0c1a2b37c1e8d5f6a7b8c9d0e1f")]
    id: OrganizationId,
    legal_name: String,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangePassword {
    #[schema(value_type = String, format = Password, write_only)]
    current_password: Option<Field<String>>,
    /// 12 to 200 characters.
    #[schema(value_type = String, format = Password, write_only)]
    new_password: Option<Field<String>>,
}

/// Who the caller is, and what it may do.
#[utoipa::path(
    get, path = "/v1/me", tag = "identity", operation_id = "get_me",
    responses((status = 200, body = MeView), ReadErrors),
)]
async fn me(State(app): State<App>, caller: Authenticated) -> Result<Response, ApiError> {
    let organization = app
        .stores
        .directory
        .organization(caller.organization)
        .await?;
    let organization = organization.ok_or_else(|| ApiError::not_found("organization"))?;
    let identity = &app.stores.identity;
    let user = match caller.user {
        Some(id) => identity.user(id).await?,
        None => None,
    };
    let api_key = match caller.initiator {
        Initiator::ApiKey(id) => identity.api_key(caller.organization, id).await?,
        _ => None,
    };
    let view = MeView {
        user: user.as_ref().map(UserView::of),
        api_key: api_key.as_ref().map(ApiKeyView::of),
        organization: OrganizationView {
            id: organization.id,
            legal_name: organization.issuer.legal_name,
        },
        roles: caller.roles.clone(),
        permissions: caller.permissions.iter().collect(),
    };
    answer::json(StatusCode::OK, &view)
}

/// Change the caller's own password. All its sessions end: sign in again.
///
/// 409: `no_password`, for an API key has none. 422: `wrong_password`.
#[utoipa::path(
    put, path = "/v1/me/password", tag = "identity",
    request_body = ChangePassword,
    responses((status = 204, description = "changed; all sessions have ended"), WriteErrors),
)]
async fn change_password(
    State(app): State<App>,
    caller: Authenticated,
    payload: Payload,
) -> Result<Response, ApiError> {
    let body: ChangePassword = payload.json()?;
    let identity = &app.stores.identity;
    let user = match caller.user {
        Some(id) => identity.user(id).await?,
        None => None,
    };
    let mut user =
        user.ok_or_else(|| ApiError::conflict("no_password", "an API key has no password"))?;
    let mut problems = Problems::new();
    let current = required(body.current_password, "current_password", &mut problems);
    let new = required(body.new_password, "new_password", &mut problems).unwrap_or_default();
    if problems.is_empty() {
        check_password("new_password", &new, &mut problems);
    }
    problems.finish(())?;
    if !app
        .auth
        .verify_password(&user, &current.unwrap_or_default())
        .await?
    {
        let mut problems = Problems::new();
        problems.add(
            "current_password",
            "wrong_password",
            "this is not the present password",
        );
        return Err(ApiError::invalid(problems.into_vec()));
    }
    user.password_hash = app.auth.hash_password(&new).await?;
    user.version += 1;
    user.updated_at = app.clock.now();
    identity.update_user(&user).await?;
    app.auth.revoke_sessions_of(user.id).await?;
    Ok(answer::no_content())
}
