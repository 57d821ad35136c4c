//! `/v1/users`: who signs in, and with which roles.

use axum::extract::State;
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
use super::extract::{Authenticated, Id, Params, Payload};
use super::grants::{check_permissions, check_roles};
use super::idempotency::{Answer, Key, idempotent};
use super::input::{Field, Patch, optional, required};
use super::openapi::{ReadErrors, WriteErrors};
use super::paging::{List, take_page};
use super::show::At;
use crate::actors::auth_cache::accounts::{
    Person, check_email, check_name, check_password, new_user,
};
use crate::actors::auth_cache::normal_email;
use crate::clock;
use crate::domain::ids::UserId;
use crate::domain::permission::Permission;
use crate::domain::problem::Problems;
use crate::store::{StoreError, User};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, delete))
}

/// A user as answers show it; never its password.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub(super) struct UserView {
    #[schema(value_type = String, example = "usr_0192f0c1a2b37c1e8d5f6a7b8c9d0e1f")]
    id: UserId,
    #[schema(example = "user")]
    object: &'static str,
    version: u64,
    first_name: String,
    last_name: String,
    email: String,
    roles: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: At,
    #[schema(value_type = String, format = DateTime)]
    updated_at: At,
}

impl UserView {
    pub(super) fn of(user: &User) -> Self {
        Self {
            id: user.id,
            object: "user",
            version: user.version,
            first_name: user.first_name.clone(),
            last_name: user.last_name.clone(),
            email: user.email.clone(),
            roles: user.roles.clone(),
            created_at: At(user.created_at),
            updated_at: At(user.updated_at),
        }
    }
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateUser {
    /// 1 to 200 characters.
    #[schema(value_type = String, example = "Ada")]
    first_name: Option<Field<String>>,
    /// 1 to 200 characters.
    #[schema(value_type = String, example = "Lovelace")]
    last_name: Option<Field<String>>,
    /// At most 254 characters; unique. Upper and lower case are the same.
    #[schema(value_type = String, example = "ada@example.com")]
    email: Option<Field<String>>,
    /// Names of at most 20 roles.
    #[schema(value_type = Option<Vec<String>>, example = json!(["accountant"]))]
    roles: Option<Field<Vec<String>>>,
    /// 12 to 200 characters.
    #[schema(value_type = String, format = Password, write_only)]
    password: Option<Field<String>>,
}

impl CreateUser {
    /// The person and the names of the roles, with the problems found so far.
    fn read(self) -> (Person, Vec<String>, Problems) {
        let mut problems = Problems::new();
        let first_name = required(self.first_name, "first_name", &mut problems);
        let last_name = required(self.last_name, "last_name", &mut problems);
        let email = required(self.email, "email", &mut problems);
        let password = required(self.password, "password", &mut problems);
        let roles = optional(self.roles, "roles", &mut problems).unwrap_or_default();
        for (field, name) in [("first_name", &first_name), ("last_name", &last_name)] {
            if let Some(name) = name {
                check_name(field, name, &mut problems);
            }
        }
        if let Some(email) = &email {
            check_email("email", email, &mut problems);
        }
        if let Some(password) = &password {
            check_password("password", password, &mut problems);
        }
        let person = Person {
            first_name: first_name.unwrap_or_default(),
            last_name: last_name.unwrap_or_default(),
            email: email.unwrap_or_default(),
            password: password.unwrap_or_default(),
        };
        (person, roles, problems)
    }
}

/// What is absent stays as it is.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UpdateUser {
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    first_name: Patch<Field<String>>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    last_name: Patch<Field<String>>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    email: Patch<Field<String>>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    roles: Patch<Field<Vec<String>>>,
    /// Ends all sessions of the user.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password, write_only)]
    password: Patch<Field<String>>,
}

impl UpdateUser {
    /// Applies the change; gives the new password, if there is one, and the problems found so far.
    fn apply(self, user: &mut User) -> (Option<String>, Problems) {
        let mut problems = Problems::new();
        let has_password = self.password != Patch::Absent;
        let mut password = String::new();
        self.first_name
            .apply_required(&mut user.first_name, "first_name", &mut problems);
        self.last_name
            .apply_required(&mut user.last_name, "last_name", &mut problems);
        self.email
            .apply_required(&mut user.email, "email", &mut problems);
        self.roles
            .apply_required(&mut user.roles, "roles", &mut problems);
        self.password
            .apply_required(&mut password, "password", &mut problems);
        if problems.is_empty() {
            check_name("first_name", &user.first_name, &mut problems);
            check_name("last_name", &user.last_name, &mut problems);
            check_email("email", &user.email, &mut problems);
            if has_password {
                check_password("password", &password, &mut problems);
            }
        }
        user.email = normal_email(&user.email);
        (has_password.then_some(password), problems)
    }
}

/// List users, newest first.
///
/// Needs `user.get_all`.
#[utoipa::path(
    get, path = "/v1/users", tag = "identity", operation_id = "list_users",
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 100, description = "default 20"),
        ("starting_after" = Option<String>, Query, description = "the last id of the page before"),
    ),
    responses((status = 200, body = List<UserView>), ReadErrors),
)]
async fn list(
    State(app): State<App>,
    caller: Authenticated,
    mut params: Params,
) -> Result<Response, ApiError> {
    caller.require(Permission::UserGetAll)?;
    let page = take_page(&mut params);
    params.finish()?;
    let users = app
        .stores
        .identity
        .users(caller.organization, &page)
        .await?;
    answer::json(
        StatusCode::OK,
        &List::of(&users, |user| user.id, UserView::of),
    )
}

/// Make a user.
///
/// Needs `user.create`, and every permission of the roles given. 409: `email_taken`.
#[utoipa::path(
    post, path = "/v1/users", tag = "identity", operation_id = "create_user",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = CreateUser,
    responses(
        (status = 201, body = UserView, headers(("ETag" = String), ("Location" = String))),
        WriteErrors,
    ),
)]
async fn create(
    State(app): State<App>,
    caller: Authenticated,
    key: Key,
    payload: Payload,
) -> Result<Response, ApiError> {
    caller.require(Permission::UserCreate)?;
    let payload = payload.with_secret("password");
    let body: CreateUser = payload.json()?;
    idempotent(&app, caller.organization, &key, &payload, async {
        let (person, roles, problems) = body.read();
        check_roles(&app, &caller, &roles, problems).await?;
        let mut id = UserId::new(key.new_id(caller.organization, "user"));
        if key.0.is_some()
            && let Ok(made) = find(&app, &caller, id).await
        {
            if made.email == normal_email(&person.email) {
                // Made before, but the answer was lost before it was kept.
                return made_answer(&made);
            }
            // The key was used for somebody else, longer ago than answers are kept.
            id = UserId::new(clock::new_uuid());
        }
        let hash = app.auth.hash_password(&person.password).await?;
        let now = app.clock.now();
        let user = new_user(id, caller.organization, &person, roles, hash, now);
        app.stores.identity.insert_user(&user).await?;
        made_answer(&user)
    })
    .await
}

/// Read a user.
///
/// Needs `user.get_by_id`.
#[utoipa::path(
    get, path = "/v1/users/{id}", tag = "identity", operation_id = "get_user",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = UserView),
        (status = 304, description = "If-None-Match names the present version"),
        ReadErrors,
    ),
)]
async fn get(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<UserId>,
    known: IfNoneMatch,
) -> Result<Response, ApiError> {
    caller.require(Permission::UserGetById)?;
    let user = find(&app, &caller, id).await?;
    answer::resource_unless_known(&known, user.version, || {
        answer::to_json(&UserView::of(&user))
    })
}

/// Change a user. A new password ends its sessions; new roles take effect at once.
///
/// Needs `user.update`, and every permission the user has or gets. 409: `email_taken`,
/// `last_administrator`.
#[utoipa::path(
    patch, path = "/v1/users/{id}", tag = "identity", operation_id = "update_user",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = UpdateUser,
    responses((status = 200, body = UserView), WriteErrors),
)]
async fn update(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<UserId>,
    if_match: IfMatch,
    payload: Payload,
) -> Result<Response, ApiError> {
    caller.require(Permission::UserUpdate)?;
    let change: UpdateUser = payload.json()?;
    let mut user = find(&app, &caller, id).await?;
    if_match.check(user.version)?;
    check_permissions(
        &caller,
        app.auth
            .permissions_of(user.organization, &user.roles)
            .await?,
    )?;
    let (password, problems) = change.apply(&mut user);
    check_roles(&app, &caller, &user.roles, problems).await?;
    if let Some(password) = &password {
        user.password_hash = app.auth.hash_password(password).await?;
    }
    user.version += 1;
    user.updated_at = app.clock.now();
    write(&app, &user, &if_match).await?;
    if password.is_some() {
        app.auth.revoke_sessions_of(user.id).await?;
    } else {
        app.auth.forget_user(user.id).await;
    }
    let body = answer::to_json(&UserView::of(&user))?;
    Ok(answer::resource(StatusCode::OK, user.version, body))
}

/// Remove a user; its sessions end.
///
/// Needs `user.delete`, and every permission the user has. 409: `last_administrator`.
#[utoipa::path(
    delete, path = "/v1/users/{id}", tag = "identity", operation_id = "delete_user",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204, description = "removed"), WriteErrors),
)]
async fn delete(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<UserId>,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    caller.require(Permission::UserDelete)?;
    let user = find(&app, &caller, id).await?;
    if_match.check(user.version)?;
    check_permissions(
        &caller,
        app.auth
            .permissions_of(user.organization, &user.roles)
            .await?,
    )?;
    if !app
        .stores
        .identity
        .delete_user(user.organization, user.id)
        .await?
    {
        return Err(no_such_user());
    }
    app.auth.revoke_sessions_of(user.id).await?;
    Ok(answer::no_content())
}

async fn write(app: &App, user: &User, if_match: &IfMatch) -> Result<(), ApiError> {
    let identity = &app.stores.identity;
    match identity.update_user(user).await {
        // Another change came in between: to the caller's If-Match the version is another one.
        Err(StoreError::Conflict) if *if_match != IfMatch::Any => {
            let present = identity.user(user.id).await?.ok_or_else(no_such_user)?;
            Err(ApiError::version_mismatch(present.version))
        }
        written => Ok(written?),
    }
}

fn made_answer(user: &User) -> Result<Answer, ApiError> {
    Ok(Answer::json(StatusCode::CREATED, &UserView::of(user))?
        .at_version(user.version)
        .at(format!("/v1/users/{}", user.id)))
}

/// The user, if it is one of the caller's organization.
async fn find(app: &App, caller: &Authenticated, id: UserId) -> Result<User, ApiError> {
    let user = app.stores.identity.user(id).await?;
    user.filter(|user| user.organization == caller.organization)
        .ok_or_else(no_such_user)
}

fn no_such_user() -> ApiError {
    ApiError::not_found("user")
}
