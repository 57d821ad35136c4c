//! The outside world: mail, files, payment providers. One enum per seam.

mod durable_file;
pub mod mail;
pub mod media;
pub mod payment;
