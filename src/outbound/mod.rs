//! The outside world: mail, files, payment providers, events, identity providers. One enum per seam.

mod durable_file;
pub mod events;
pub mod mail;
pub mod media;
pub mod oidc;
pub mod payment;
