//! The outside world: mail, files, payment providers, identity providers. One enum per seam.

mod durable_file;
pub mod mail;
pub mod media;
pub mod oidc;
pub mod payment;
