//! The outside world of the embedded node: mail spool, document files, sandbox payments.

mod charges;
mod checkout;
mod mail;
mod media;
mod setting;
mod webhooks;
