//! `/v1/roles`: named sets of permissions.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::answer;
use super::conditional::{IfMatch, IfNoneMatch};
use super::error::ApiError;
use super::extract::{Authenticated, Params, Payload};
use super::grants::check_permissions;
use super::idempotency::{Answer, Key, idempotent};
use super::input::{Field, Malformed, Patch, required};
use super::openapi::{ReadErrors, WriteErrors};
use super::paging::{List, take_limit};
use super::show::At;
use crate::actors::auth_cache::roles::{BUILT_IN, built_in};
use crate::domain::ids::{ApiKeyId, OrganizationId};
use crate::domain::permission::{Permission, Permissions};
use crate::domain::problem::Problems;
use crate::store::{Page, PageRequest, Role, StoreError};

/// Roles an organization can make for itself.
const MAX_OWN_ROLES: usize = 100;
const MAX_NAME_CHARS: usize = 50;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, delete))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Role)]
struct RoleView {
    #[schema(example = "bookkeeper")]
    name: String,
    #[schema(example = "role")]
    object: &'static str,
    /// Built-in roles can't be changed.
    built_in: bool,
    version: u64,
    #[schema(value_type = Vec<String>, example = json!(["invoice.get_all", "invoice.get_by_id"]))]
    permissions: Vec<Permission>,
    /// Absent for built-in roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<At>,
    /// Absent for built-in roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    updated_at: Option<At>,
}

impl RoleView {
    fn own(role: &Role) -> Self {
        Self {
            name: role.name.clone(),
            object: "role",
            built_in: false,
            version: role.version,
            permissions: role.permissions.iter().collect(),
            created_at: Some(At(role.created_at)),
            updated_at: Some(At(role.updated_at)),
        }
    }

    fn built_in(name: &str, permissions: Permissions) -> Self {
        Self {
            name: name.to_owned(),
            object: "role",
            built_in: true,
            version: 1,
            permissions: permissions.iter().collect(),
            created_at: None,
            updated_at: None,
        }
    }
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateRole {
    /// 1 to 50 of a–z, 0–9, `_` and `-`, beginning with a letter.
    #[schema(value_type = String, example = "bookkeeper")]
    name: Option<Field<String>>,
    #[schema(value_type = Vec<String>, example = json!(["invoice.get_all"]))]
    permissions: Option<Field<Vec<String>>>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UpdateRole {
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    permissions: Patch<Field<Vec<String>>>,
}

fn check_name(name: &str, problems: &mut Problems) {
    let is_allowed =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    let begins_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins_well || name.len() > MAX_NAME_CHARS || !name.chars().all(is_allowed) {
        problems.add(
            "name",
            "invalid_name",
            "1 to 50 of the characters a–z, 0–9, _ and -, beginning with a letter",
        );
    } else if built_in(name).is_some() {
        problems.add(
            "name",
            "built_in",
            "this role is built in; choose another name",
        );
    }
}

fn read_permissions(names: &[String], problems: &mut Problems) -> Permissions {
    let mut read = Permissions::NONE;
    for (index, name) in names.iter().enumerate() {
        if let Ok(permission) = name.parse::<Permission>() {
            read = read.union(Permissions::from_iter([permission]));
        } else {
            problems.within_item("permissions", index, |problems| {
                let known: Vec<_> = Permission::ALL.iter().map(|known| known.name()).collect();
                let detail = format!("no such permission; there are {}", known.join(", "));
                problems.add("", "unknown_permission", detail);
            });
        }
        if index >= Permission::ALL.len() {
            let detail = format!("at most {} permissions", Permission::ALL.len());
            problems.add("permissions", "too_many", detail);
            break;
        }
    }
    read
}

/// List roles: the organization's own ones, newest first, then those built in.
///
/// Needs `role.get_all`.
#[utoipa::path(
    get, path = "/v1/roles", tag = "identity", operation_id = "list_roles",
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 100, description = "default 20"),
        ("starting_after" = Option<String>, Query, description = "the last name of the page before"),
    ),
    responses((status = 200, body = List<RoleView>), ReadErrors),
)]
async fn list(
    State(app): State<App>,
    caller: Authenticated,
    mut params: Params,
) -> Result<Response, ApiError> {
    caller.require(Permission::RoleGetAll)?;
    let limit = take_limit(&mut params);
    let after = params.take("starting_after", |name| Ok::<_, Malformed>(name.to_owned()));
    params.finish()?;
    let mut own = app.stores.identity.roles(caller.organization).await?;
    own.sort_by(|a, b| {
        b.created_at
            .cmp(&a.created_at)
            .then_with(|| a.name.cmp(&b.name))
    });
    let mut shown: Vec<_> = own.iter().map(RoleView::own).collect();
    shown.extend(
        BUILT_IN
            .iter()
            .filter_map(|name| Some(RoleView::built_in(name, built_in(name)?))),
    );
    if let Some(after) = after {
        let rest = shown
            .iter()
            .position(|role| role.name == after)
            .map_or(shown.len(), |at| at + 1);
        shown.drain(..rest);
    }
    let has_more = shown.len() > usize::from(limit);
    shown.truncate(usize::from(limit));
    let next = shown
        .last()
        .filter(|_| has_more)
        .map(|last| last.name.clone());
    answer::json(
        StatusCode::OK,
        &List {
            data: shown,
            has_more,
            next,
        },
    )
}

/// Make a role.
///
/// Needs `role.create`, and every permission of the role. 409: `name_taken`, `too_many_roles`.
#[utoipa::path(
    post, path = "/v1/roles", tag = "identity", operation_id = "create_role",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = CreateRole,
    responses(
        (status = 201, body = RoleView, headers(("ETag" = String), ("Location" = String))),
        WriteErrors,
    ),
)]
async fn create(
    State(app): State<App>,
    caller: Authenticated,
    key: Key,
    payload: Payload,
) -> Result<Response, ApiError> {
    caller.require(Permission::RoleCreate)?;
    let body: CreateRole = payload.json()?;
    idempotent(&app, caller.organization, &key, &payload, async {
        let mut problems = Problems::new();
        let name = required(body.name, "name", &mut problems).unwrap_or_default();
        let names = required(body.permissions, "permissions", &mut problems).unwrap_or_default();
        if problems.is_empty() {
            check_name(&name, &mut problems);
        }
        let permissions = read_permissions(&names, &mut problems);
        problems.finish(())?;
        check_permissions(&caller, permissions)?;
        if app.stores.identity.roles(caller.organization).await?.len() >= MAX_OWN_ROLES {
            let detail = format!("an organization has at most {MAX_OWN_ROLES} roles of its own");
            return Err(ApiError::conflict("too_many_roles", detail));
        }
        let now = app.clock.now();
        let role = Role {
            organization: caller.organization,
            name,
            permissions,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        app.stores.identity.insert_role(&role).await?;
        app.auth.forget_roles_of(caller.organization).await;
        Ok(Answer::json(StatusCode::CREATED, &RoleView::own(&role))?
            .at_version(role.version)
            .at(format!("/v1/roles/{}", role.name)))
    })
    .await
}

/// Read a role.
///
/// Needs `role.get_by_id`.
#[utoipa::path(
    get, path = "/v1/roles/{name}", tag = "identity", operation_id = "get_role",
    params(("name" = String, Path)),
    responses(
        (status = 200, body = RoleView),
        (status = 304, description = "If-None-Match names the present version"),
        ReadErrors,
    ),
)]
async fn get(
    State(app): State<App>,
    caller: Authenticated,
    Path(name): Path<String>,
    known: IfNoneMatch,
) -> Result<Response, ApiError> {
    caller.require(Permission::RoleGetById)?;
    let view = match built_in(&name) {
        Some(permissions) => RoleView::built_in(&name, permissions),
        None => RoleView::own(&find(&app, caller.organization, &name).await?),
    };
    answer::resource_unless_known(&known, view.version, || answer::to_json(&view))
}

/// Change what a role permits; it takes effect at once.
///
/// Needs `role.update`, and every permission the role has or gets. 409: `role_built_in`.
#[utoipa::path(
    patch, path = "/v1/roles/{name}", tag = "identity", operation_id = "update_role",
    params(("name" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = UpdateRole,
    responses((status = 200, body = RoleView), WriteErrors),
)]
async fn update(
    State(app): State<App>,
    caller: Authenticated,
    Path(name): Path<String>,
    if_match: IfMatch,
    payload: Payload,
) -> Result<Response, ApiError> {
    caller.require(Permission::RoleUpdate)?;
    let change: UpdateRole = payload.json()?;
    check_own(&name)?;
    let mut role = find(&app, caller.organization, &name).await?;
    if_match.check(role.version)?;
    let mut problems = Problems::new();
    let mut names: Vec<String> = role
        .permissions
        .iter()
        .map(|held| held.name().to_owned())
        .collect();
    change
        .permissions
        .apply_required(&mut names, "permissions", &mut problems);
    let permissions = read_permissions(&names, &mut problems);
    problems.finish(())?;
    check_permissions(&caller, role.permissions.union(permissions))?;
    role.permissions = permissions;
    role.version += 1;
    role.updated_at = app.clock.now();
    match app.stores.identity.update_role(&role).await {
        Err(StoreError::Conflict) if if_match != IfMatch::Any => {
            let present = find(&app, caller.organization, &name).await?;
            return Err(ApiError::version_mismatch(present.version));
        }
        written => written?,
    }
    app.auth.forget_roles_of(caller.organization).await;
    let body = answer::to_json(&RoleView::own(&role))?;
    Ok(answer::resource(StatusCode::OK, role.version, body))
}

/// Remove a role that nobody holds.
///
/// Needs `role.delete`, and every permission of the role. 409: `role_built_in`, `role_in_use`.
#[utoipa::path(
    delete, path = "/v1/roles/{name}", tag = "identity", operation_id = "delete_role",
    params(("name" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204, description = "removed"), WriteErrors),
)]
async fn delete(
    State(app): State<App>,
    caller: Authenticated,
    Path(name): Path<String>,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    caller.require(Permission::RoleDelete)?;
    check_own(&name)?;
    let role = find(&app, caller.organization, &name).await?;
    if_match.check(role.version)?;
    check_permissions(&caller, role.permissions)?;
    let identity = &app.stores.identity;
    if identity.users_with_role(caller.organization, &name).await? > 0
        || is_held_by_a_key(&app, caller.organization, &name).await?
    {
        return Err(ApiError::conflict(
            "role_in_use",
            "users or API keys hold this role; take it from them first",
        ));
    }
    if !identity.delete_role(caller.organization, &name).await? {
        return Err(no_such_role());
    }
    app.auth.forget_roles_of(caller.organization).await;
    Ok(answer::no_content())
}

/// A role made again under an old name must not give an old key what the new one means.
async fn is_held_by_a_key(
    app: &App,
    organization: OrganizationId,
    name: &str,
) -> Result<bool, ApiError> {
    let mut starting_after: Option<ApiKeyId> = None;
    loop {
        let request = PageRequest {
            limit: 100,
            starting_after,
        };
        let Page { data, has_more } = app.stores.identity.api_keys(organization, &request).await?;
        let holds = data
            .iter()
            .any(|key| key.revoked_at.is_none() && key.roles.iter().any(|role| role == name));
        starting_after = data.last().map(|key| key.id);
        if holds || !has_more || starting_after.is_none() {
            return Ok(holds);
        }
    }
}

async fn find(app: &App, organization: OrganizationId, name: &str) -> Result<Role, ApiError> {
    let own = app.stores.identity.roles(organization).await?;
    own.into_iter()
        .find(|role| role.name == name)
        .ok_or_else(no_such_role)
}

fn no_such_role() -> ApiError {
    ApiError::not_found("role")
}

fn check_own(name: &str) -> Result<(), ApiError> {
    if built_in(name).is_none() {
        return Ok(());
    }
    Err(ApiError::conflict(
        "role_built_in",
        "this role is built in and can't be changed",
    ))
}
