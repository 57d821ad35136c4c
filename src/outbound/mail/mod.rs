//! Outgoing mail.

use bytes::Bytes;
use jiff::Timestamp;

mod memory;
mod message;
mod smtp;
mod spool;

pub use memory::MemoryMail;
pub use smtp::{SmtpMail, SmtpStartError};
pub use spool::Spool;

/// A mail ready to go. Addresses were checked at the edge and are checked again when the message is
/// built, so that no header can be injected.
#[derive(Debug, Clone)]
pub struct OutgoingMail {
    /// Without angle brackets; stable over attempts.
    pub message_id: String,
    pub from_name: String,
    pub from: String,
    pub reply_to: Option<String>,
    pub to: Vec<String>,
    pub cc: Vec<String>,
    pub subject: String,
    pub text: String,
    pub html: String,
    pub attachments: Vec<Attachment>,
    pub date: Timestamp,
}

/// A file that goes with a mail.
#[derive(Debug, Clone)]
pub struct Attachment {
    pub file_name: String,
    pub media_type: String,
    pub bytes: Bytes,
}

/// Why a mail was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// Trying again can't help: a bad address, a 5xx.
    #[error("{detail}")]
    Permanent { detail: String },
    /// Trying this mail again may help.
    #[error("{detail}")]
    Temporary { detail: String },
    /// No mail can be handed over at present, and this one was not tried: it is not about this mail.
    #[error("{detail}")]
    Unavailable { detail: String },
}

/// The configured way for mail to leave.
#[derive(Debug, Clone)]
pub enum Mail {
    Spool(Spool),
    Smtp(SmtpMail),
    Memory(MemoryMail),
}

impl Mail {
    /// Hands the mail over; it is durable where it went when this returns. Sending the same
    /// `message_id` again leaves one mail in the spool; a mail server may deliver it twice.
    pub async fn send(&self, mail: &OutgoingMail) -> Result<(), MailError> {
        match self {
            Self::Spool(spool) => spool.send(mail).await,
            Self::Smtp(server) => server.send(mail).await,
            Self::Memory(memory) => memory.send(mail),
        }
    }

    /// Whether mail can be handed over at all; the reason when not.
    pub async fn ping(&self) -> Result<(), MailError> {
        match self {
            Self::Spool(spool) => spool.ping().await,
            Self::Smtp(server) => server.ping().await,
            Self::Memory(_) => Ok(()),
        }
    }
}
