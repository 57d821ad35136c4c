//! Nobody gives away, or takes over, more than they hold.

use axum::http::StatusCode;

use super::App;
use super::error::ApiError;
use super::extract::Authenticated;
use crate::actors::auth_cache::roles;
use crate::domain::permission::{Permission, Permissions};
use crate::domain::problem::Problems;

/// Roles of one user or key.
pub(super) const MAX_ROLES: usize = 20;

/// Checks the names of roles to be given: they exist, each stands there once, and the caller holds
/// all they permit (403).
pub(super) async fn check_roles(
    app: &App,
    caller: &Authenticated,
    names: &[String],
    mut problems: Problems,
) -> Result<(), ApiError> {
    let own = app.stores.identity.roles(caller.organization).await?;
    if names.len() > MAX_ROLES {
        problems.add("roles", "too_many", format!("at most {MAX_ROLES} roles"));
    }
    for (index, name) in names.iter().enumerate().take(MAX_ROLES) {
        problems.within_item("roles", index, |problems| {
            if !roles::exists(name, &own) {
                let detail = "no such role; GET /v1/roles lists those there are";
                problems.add("", "unknown_role", detail);
            } else if names[..index].contains(name) {
                problems.add("", "repeated", "this role stands there already");
            }
        });
    }
    problems.finish(())?;
    check_permissions(
        caller,
        app.auth.permissions_of(caller.organization, names).await?,
    )
}

/// 403 unless the caller holds every one of `permissions`; names those that are missing.
pub(super) fn check_permissions(
    caller: &Authenticated,
    permissions: Permissions,
) -> Result<(), ApiError> {
    let held = caller.permissions;
    if permissions.is_subset_of(held) {
        return Ok(());
    }
    let missing: Vec<_> = permissions
        .iter()
        .filter(|permission| !held.contains(*permission))
        .map(Permission::name)
        .collect();
    let detail = format!(
        "nobody can give, change or remove more than they hold; you lack {}",
        missing.join(", ")
    );
    Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", detail))
}
