//! The outside world of the embedded node: mail spool, document files, sandbox payments.
#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

mod charges;
mod checkout;
mod mail;
mod media;
mod setting;
mod webhooks;
