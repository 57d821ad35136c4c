//! A scope as a short text: in the names of keys, and in the messages that tell of revocations.

use uuid::Uuid;

use crate::domain::ids::{OrganizationId, UserId};
use crate::store::cache::{Revoked, Scope};

const API_KEYS: &str = "api_keys";
const USER: &str = "user:";
const ORGANIZATION: &str = "organization:";

pub(super) fn write(scope: Scope) -> String {
    match scope {
        Scope::User(id) => format!("{USER}{}", id.uuid()),
        Scope::Organization(id) => format!("{ORGANIZATION}{}", id.uuid()),
        Scope::ApiKeys => API_KEYS.to_owned(),
    }
}

/// What can't be read, as from a newer node, may concern anything.
pub(super) fn read(message: &str) -> Revoked {
    let scope = if message == API_KEYS {
        Some(Scope::ApiKeys)
    } else if let Some(id) = message.strip_prefix(USER) {
        Uuid::try_parse(id)
            .ok()
            .map(|id| Scope::User(UserId::new(id)))
    } else if let Some(id) = message.strip_prefix(ORGANIZATION) {
        let id = Uuid::try_parse(id).ok();
        id.map(|id| Scope::Organization(OrganizationId::new(id)))
    } else {
        None
    };
    scope.map_or(Revoked::Anything, Revoked::One)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written_and_an_unknown_one_revokes_anything() {
        let id = Uuid::from_u128(7);
        for scope in [
            Scope::User(UserId::new(id)),
            Scope::Organization(OrganizationId::new(id)),
            Scope::ApiKeys,
        ] {
            assert_eq!(read(&write(scope)), Revoked::One(scope));
        }
        for unknown in ["", "user:", "user:x", "session:1"] {
            assert_eq!(read(unknown), Revoked::Anything, "{unknown}");
        }
    }
}
