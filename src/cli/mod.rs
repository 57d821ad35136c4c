//! The `faktor` command.

pub mod args;
pub mod config;
pub mod password;
pub mod user;
