//! The outside world of the embedded node: mail spool, sandbox payments.
#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

mod charges;
mod checkout;
mod mail;
mod setting;
mod webhooks;
