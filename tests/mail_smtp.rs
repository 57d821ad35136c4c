//! Mail handed over by SMTP: to a server of the test's own, which can do what no real one does, and
//! to the catcher, when it is there.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it can't go on"
)]

#[path = "mail_smtp/connections.rs"]
mod connections;
#[path = "mail_smtp/exchange.rs"]
mod exchange;
#[path = "mail_smtp/node.rs"]
mod node;
#[path = "mail_smtp/protection.rs"]
mod protection;
#[path = "mail_smtp/server.rs"]
mod server;
#[path = "support/mod.rs"]
mod support;

use support::backends;

use std::time::Duration;

use bytes::Bytes;
use faktor::clock;
use faktor::outbound::mail::{Attachment, Mail, MailError, OutgoingMail, SmtpMail};

/// A mail to this address, with an id of its own.
pub(crate) fn mail_to(to: &str) -> OutgoingMail {
    OutgoingMail {
        message_id: format!("inv_{}-mail-1@faktor.local", clock::random_hex::<16>()),
        from_name: "Ada GmbH".to_owned(),
        from: "invoices@faktor.local".to_owned(),
        reply_to: None,
        to: vec![to.to_owned()],
        cc: Vec::new(),
        subject: "Rechnung über 118,88 €".to_owned(),
        text: "Guten Tag,\n.\n..\n.MAIL FROM:<x@evil.example>\nFrom here on…\n".to_owned(),
        html: "<p>Guten Tag</p>".to_owned(),
        attachments: vec![Attachment {
            file_name: "Rechnung.pdf".to_owned(),
            media_type: "application/pdf".to_owned(),
            bytes: Bytes::from((0..=255_u8).cycle().take(5_000).collect::<Vec<_>>()),
        }],
        date: "2026-11-21T10:00:00Z".parse().unwrap(),
    }
}

/// The mail server at this address, with patience for a slow machine.
pub(crate) fn smtp(url: &str, max_connections: u32) -> SmtpMail {
    SmtpMail::new(url, Duration::from_secs(20), max_connections).unwrap()
}

#[track_caller]
pub(crate) fn permanent(outcome: Result<(), MailError>) -> String {
    match outcome {
        Err(MailError::Permanent { detail }) => detail,
        other => panic!("not refused for good: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn temporary(outcome: Result<(), MailError>) -> String {
    match outcome {
        Err(MailError::Temporary { detail }) => detail,
        other => panic!("not refused for now: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn unavailable(outcome: Result<(), MailError>) -> String {
    match outcome {
        Err(MailError::Unavailable { detail }) => detail,
        other => panic!("not unavailable: {other:?}"),
    }
}

pub(crate) fn by(server: &SmtpMail) -> Mail {
    Mail::Smtp(server.clone())
}
