//! The outside world: mail, files, payment providers, events. One enum per seam.

mod durable_file;
pub mod events;
pub mod mail;
pub mod media;
pub mod payment;
