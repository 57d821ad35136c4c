//! The outside world: mail, files, payment providers. One enum per seam.

pub mod mail;
pub mod media;
pub mod payment;
