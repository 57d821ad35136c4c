//! Judges a command against an invoice: facts, or a refusal. Pure.

use jiff::Timestamp;

use super::super::ids::InvoiceId;
use super::super::problem::Problem;
use super::command::{Command, Request};
use super::entry::{Entry, Recorded};
use super::event::PublicEvent;
use super::{Invoice, Status};

/// Why a command is not carried out. Always an answer to the caller, never a crash.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
pub enum Refusal {
    /// No such invoice, or deleted.
    #[error("no such invoice")]
    NotFound,
    /// A create for an id that exists.
    #[error("the invoice exists already")]
    AlreadyExists,
    #[error("only a draft can be changed; the invoice is {}", status.name())]
    InvoiceNotDraft { status: Status },
    #[error("the invoice is not open; it is {}", status.name())]
    InvoiceNotOpen { status: Status },
    #[error("the invoice is paid")]
    AlreadyPaid,
    #[error("the invoice is void")]
    AlreadyVoid,
    #[error("a number is being allocated; try again in a moment")]
    Finalizing,
    #[error("a charge is in flight")]
    PaymentInProgress,
    #[error("a send to other recipients is under way")]
    SendInProgress,
    #[error("money has been received for the invoice")]
    InvoiceHasPayments,
    /// `If-Match` names another version.
    #[error("the invoice is at version {current}")]
    VersionMismatch { current: u64 },
    #[error("the idempotency key was used with another request")]
    IdempotencyKeyReused,
    /// Valid values that break a rule in this state.
    #[error("a rule is broken")]
    Invalid { problems: Vec<Problem> },
}

/// Judges `command`; `invoice` is `None` before the first entry.
pub fn decide(
    invoice: Option<&Invoice>,
    id: InvoiceId,
    command: &Command,
    now: Timestamp,
) -> Result<Vec<Entry>, Refusal> {
    let _ = (invoice, id, command, now);
    Err(Refusal::NotFound)
}

/// What a request comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The same request was carried out before and left this version.
    Replayed { version: u64 },
    /// Nothing to do: the invoice already is as asked.
    Unchanged,
    Changed {
        invoice: Box<Invoice>,
        recorded: Vec<Recorded>,
        events: Vec<PublicEvent>,
    },
}

/// Repeats, preconditions, [`decide`], then [`super::evolve::evolve`]: everything an actor does
/// before its one write.
pub fn step(
    invoice: Option<&Invoice>,
    id: InvoiceId,
    request: &Request,
    now: Timestamp,
) -> Result<Step, Refusal> {
    let _ = (invoice, id, request, now);
    Err(Refusal::NotFound)
}
