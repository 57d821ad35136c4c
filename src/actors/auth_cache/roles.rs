//! What the names of roles stand for.

use crate::domain::ids::OrganizationId;
use crate::domain::permission::Permissions;
use crate::store::{IdentityStore, Role, StoreError};

/// Built in: may do everything.
pub use crate::store::ADMINISTRATOR;
/// Built in: all of invoices, and what they need to see.
pub const ACCOUNTANT: &str = "accountant";
/// The roles every organization has; they can't be changed.
pub const BUILT_IN: [&str; 2] = [ADMINISTRATOR, ACCOUNTANT];

/// The permissions of a built-in role.
pub fn built_in(name: &str) -> Option<Permissions> {
    match name {
        ADMINISTRATOR => Some(Permissions::all()),
        ACCOUNTANT => Some(Permissions::accountant()),
        _ => None,
    }
}

/// Whether a name stands for a role, built in or the organization's own.
pub fn exists(name: &str, own: &[Role]) -> bool {
    built_in(name).is_some() || own.iter().any(|role| role.name == name)
}

/// The union over the roles; a name that stands for no role gives nothing.
pub async fn permissions_of(
    store: &dyn IdentityStore,
    organization: OrganizationId,
    roles: &[String],
) -> Result<Permissions, StoreError> {
    // Most callers hold only built-in roles: no need to look.
    let own = if roles.iter().all(|name| built_in(name).is_some()) {
        vec![]
    } else {
        store.roles(organization).await?
    };
    Ok(union(roles, &own))
}

fn union(names: &[String], own: &[Role]) -> Permissions {
    names.iter().fold(Permissions::NONE, |held, name| {
        let of_role = built_in(name).or_else(|| {
            own.iter()
                .find(|role| role.name == *name)
                .map(|role| role.permissions)
        });
        held.union(of_role.unwrap_or(Permissions::NONE))
    })
}
