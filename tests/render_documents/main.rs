//! Documents, mails and pages as their readers get them.

mod mail;
mod page;
mod pdf;
mod samples;
mod sheets;
