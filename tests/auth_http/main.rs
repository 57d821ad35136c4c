//! Who may do what: tokens, users, roles, API keys and the first start, over HTTP.

#![expect(clippy::unwrap_used, reason = "a helper that fails must fail its test")]

mod api_keys;
#[expect(dead_code, reason = "a fixture of which this suite needs a part")]
mod edge;
mod permissions;
mod roles;
mod setup;
mod tokens;
mod users;
