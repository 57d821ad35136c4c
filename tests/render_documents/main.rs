//! Documents, mails and pages as their readers get them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod mail;
mod page;
mod pdf;
mod samples;
mod sheets;
