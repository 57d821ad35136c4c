//! `/v1/api_keys`: keys for programs. The secret is shown once and kept only as a hash.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::answer;
use super::conditional::IfNoneMatch;
use super::error::ApiError;
use super::extract::{Authenticated, Id, Params, Payload};
use super::grants::{check_permissions, check_roles};
use super::idempotency::{Answer, Key, idempotent};
use super::input::{Field, required};
use super::openapi::{ReadErrors, WriteErrors};
use super::paging::{List, take_page};
use super::show::At;
use crate::actors::auth_cache::AuthHandle;
use crate::actors::auth_cache::accounts::check_name;
use crate::clock;
use crate::domain::ids::ApiKeyId;
use crate::domain::permission::Permission;
use crate::domain::problem::Problems;
use crate::store::ApiKey;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, revoke))
}

#[derive(Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(super) struct ApiKeyView {
    #[schema(value_type = String, example = "key_0192f0c1a2b37c1e8d5f6a7b8c9d0e1f")]
    id: ApiKeyId,
    #[schema(example = "api_key")]
    object: &'static str,
    name: String,
    roles: Vec<String>,
    /// The secret's first characters.
    #[schema(example = "fk_3f9a61c2")]
    prefix: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: At,
    /// To the hour.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<At>,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<At>,
}

impl ApiKeyView {
    pub(super) fn of(key: &ApiKey) -> Self {
        Self {
            id: key.id,
            object: "api_key",
            name: key.name.clone(),
            roles: key.roles.clone(),
            prefix: key.prefix.clone(),
            created_at: At(key.created_at),
            last_used_at: key.last_used_at.map(At),
            revoked_at: key.revoked_at.map(At),
        }
    }
}

/// A new key; the only time its secret is shown.
#[derive(Serialize, ToSchema)]
struct NewApiKey {
    #[serde(flatten)]
    key: ApiKeyView,
    /// For `Authorization: Bearer …`. It can't be shown again.
    secret: String,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateApiKey {
    /// 1 to 200 characters.
    #[schema(value_type = String, example = "web shop")]
    name: Option<Field<String>>,
    /// Names of 1 to 20 roles.
    #[schema(value_type = Vec<String>, example = json!(["accountant"]))]
    roles: Option<Field<Vec<String>>>,
}

/// List API keys, newest first, revoked ones too.
///
/// Needs `user.update`.
#[utoipa::path(
    get, path = "/v1/api_keys", tag = "identity", operation_id = "list_api_keys",
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 100, description = "default 20"),
        ("starting_after" = Option<String>, Query, description = "the last id of the page before"),
    ),
    responses((status = 200, body = List<ApiKeyView>), ReadErrors),
)]
async fn list(
    State(app): State<App>,
    caller: Authenticated,
    mut params: Params,
) -> Result<Response, ApiError> {
    caller.require(Permission::UserUpdate)?;
    let page = take_page(&mut params);
    params.finish()?;
    let keys = app
        .stores
        .identity
        .api_keys(caller.organization, &page)
        .await?;
    answer::json(
        StatusCode::OK,
        &List::of(&keys, |key| key.id, ApiKeyView::of),
    )
}

/// Make an API key. Its secret is in this answer only.
///
/// Needs `user.update`, and every permission of the roles given. 409: `secret_shown_once`, when an
/// `Idempotency-Key` comes again.
#[utoipa::path(
    post, path = "/v1/api_keys", tag = "identity", operation_id = "create_api_key",
    params(("Idempotency-Key" = Option<String>, Header, description = "a repeat is 409 `secret_shown_once`")),
    request_body = CreateApiKey,
    responses(
        (status = 201, body = NewApiKey, headers(("ETag" = String), ("Location" = String))),
        WriteErrors,
    ),
)]
async fn create(
    State(app): State<App>,
    caller: Authenticated,
    key: Key,
    payload: Payload,
) -> Result<Response, ApiError> {
    caller.require(Permission::UserUpdate)?;
    let body: CreateApiKey = payload.json()?;
    idempotent(&app, caller.organization, &key, &payload, async {
        let mut problems = Problems::new();
        let name = required(body.name, "name", &mut problems);
        let roles = required(body.roles, "roles", &mut problems);
        if let Some(name) = &name {
            check_name("name", name, &mut problems);
        }
        if roles.as_ref().is_some_and(Vec::is_empty) {
            problems.add("roles", "required", "a key without a role could do nothing");
        }
        let roles = roles.unwrap_or_default();
        check_roles(&app, &caller, &roles, problems).await?;
        let secret = AuthHandle::new_api_key_secret();
        let key = ApiKey {
            id: ApiKeyId::new(clock::new_uuid()),
            organization: caller.organization,
            name: name.unwrap_or_default().trim().to_owned(),
            roles,
            secret_hash: secret.hash,
            prefix: secret.prefix,
            created_at: app.clock.now(),
            last_used_at: None,
            revoked_at: None,
        };
        app.stores.identity.insert_api_key(&key).await?;
        let shown = NewApiKey {
            key: ApiKeyView::of(&key),
            secret: secret.secret,
        };
        Ok(Answer::with_secret(StatusCode::CREATED, &shown)?
            .at_version(1)
            .at(format!("/v1/api_keys/{}", key.id)))
    })
    .await
}

/// Read an API key, without its secret.
///
/// Needs `user.update`.
#[utoipa::path(
    get, path = "/v1/api_keys/{id}", tag = "identity", operation_id = "get_api_key",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = ApiKeyView),
        (status = 304, description = "If-None-Match names the present version"),
        ReadErrors,
    ),
)]
async fn get(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<ApiKeyId>,
    known: IfNoneMatch,
) -> Result<Response, ApiError> {
    caller.require(Permission::UserUpdate)?;
    let key = find(&app, &caller, id).await?;
    // A key changes once: when it is revoked.
    let version = if key.revoked_at.is_some() { 2 } else { 1 };
    answer::resource_unless_known(&known, version, || answer::to_json(&ApiKeyView::of(&key)))
}

/// Revoke an API key, at once and for good. It stays listed.
///
/// Needs `user.update`, and every permission the key has.
#[utoipa::path(
    delete, path = "/v1/api_keys/{id}", tag = "identity", operation_id = "revoke_api_key",
    params(("id" = String, Path)),
    responses((status = 204, description = "revoked, now or before"), WriteErrors),
)]
async fn revoke(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<ApiKeyId>,
) -> Result<Response, ApiError> {
    caller.require(Permission::UserUpdate)?;
    let key = find(&app, &caller, id).await?;
    check_permissions(
        &caller,
        app.auth
            .permissions_of(key.organization, &key.roles)
            .await?,
    )?;
    app.stores
        .identity
        .revoke_api_key(key.organization, key.id, app.clock.now())
        .await?;
    app.auth.forget_api_keys().await;
    Ok(answer::no_content())
}

async fn find(app: &App, caller: &Authenticated, id: ApiKeyId) -> Result<ApiKey, ApiError> {
    let key = app.stores.identity.api_key(caller.organization, id).await?;
    key.ok_or_else(|| ApiError::not_found("API key"))
}
