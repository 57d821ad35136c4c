//! Why a command is not carried out.

use serde::{Deserialize, Serialize};

use super::super::super::problem::Problem;
use super::super::Status;

/// Why a command is not carried out. Always an answer to the caller, never a crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
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
    /// A draft can't be voided, only deleted.
    #[error("a draft has no number yet, so there is nothing to void: delete it instead")]
    DraftNotVoidable,
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
    /// A retry of what may have been carried out, but came too long ago to be recognized.
    #[error(
        "whether the request was carried out is not known, as too much came after it; read the invoice before you ask for it again"
    )]
    OutcomeUnknown,
    /// Valid values that break a rule in this state.
    #[error("a rule is broken")]
    Invalid { problems: Vec<Problem> },
}

impl Refusal {
    /// One problem with one field.
    pub fn invalid(
        param: impl Into<String>,
        code: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let problem = Problem {
            param: param.into(),
            code: code.into(),
            detail: detail.into(),
        };
        Self::Invalid {
            problems: vec![problem],
        }
    }

    /// A stable machine-readable code, as the API's `code`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::InvoiceNotDraft { .. } => "invoice_not_draft",
            Self::InvoiceNotOpen { .. } => "invoice_not_open",
            Self::DraftNotVoidable => "draft_not_voidable",
            Self::AlreadyPaid => "already_paid",
            Self::AlreadyVoid => "already_void",
            Self::Finalizing => "finalizing",
            Self::PaymentInProgress => "payment_in_progress",
            Self::SendInProgress => "send_in_progress",
            Self::InvoiceHasPayments => "invoice_has_payments",
            Self::VersionMismatch { .. } => "version_mismatch",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Invalid { .. } => "invalid",
        }
    }
}

impl From<Vec<Problem>> for Refusal {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Invalid { problems }
    }
}
