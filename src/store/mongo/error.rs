//! What the driver says, in the words of the store.

use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::store::StoreError;

// https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
const DUPLICATE_KEY: i32 = 11_000;
const BSON_OBJECT_TOO_LARGE: i32 = 10_334;
/// An update's outcome that is larger than a document may be.
const RESULT_TOO_LARGE: i32 = 17_419;

/// The server's own limit of a document, in bytes.
const SERVER_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

pub(super) const TIMED_OUT: &str = "MongoDB did not answer within storage.statement_timeout_ms";
pub(super) const NOT_WITH_MAJORITY: &str =
    "MongoDB took a write, but not with a majority of its members";

/// Why an operation failed, by what is known of its outcome.
#[derive(Debug)]
pub(super) enum Failure {
    /// A unique field has the value already; nothing was written, or, of many, nothing from the
    /// duplicate on.
    Duplicate,
    /// It did not happen.
    Refused(StoreError),
    /// It may have happened, or may yet: the reply was lost, or is not the majority's.
    OutcomeUnknown(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        // Not the whole error: it holds the server's reply, and that the stored data.
        let reason = || error.kind.to_string();
        match error.kind.as_ref() {
            ErrorKind::Write(WriteFailure::WriteError(write)) => {
                by_code(write.code, || write.message.clone())
            }
            ErrorKind::InsertMany(many) => match many.write_errors.as_deref() {
                Some([write, ..]) => by_code(write.code, || write.message.clone()),
                _ => Self::OutcomeUnknown(NOT_WITH_MAJORITY.to_owned()),
            },
            ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => {
                Self::OutcomeUnknown(format!("{NOT_WITH_MAJORITY}: {}", concern.message))
            }
            ErrorKind::Command(command) if is_size(command.code) => too_large(),
            ErrorKind::Bson(_) => Self::Refused(corrupt(reason())),
            // No server was found to send it to.
            ErrorKind::ServerSelection { .. }
            | ErrorKind::Authentication { .. }
            | ErrorKind::InvalidArgument { .. }
            | ErrorKind::DnsResolve { .. }
            | ErrorKind::IncompatibleServer { .. } => Self::Refused(unavailable(reason())),
            _ => Self::OutcomeUnknown(reason()),
        }
    }
}

impl Failure {
    /// In the words of the store. Not a `From`: the compiler could tell less of `?` on a `StoreError`.
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Duplicate => StoreError::Conflict,
            Self::Refused(error) => error,
            Self::OutcomeUnknown(reason) => unavailable(reason),
        }
    }
}

fn by_code(code: i32, message: impl FnOnce() -> String) -> Failure {
    match code {
        DUPLICATE_KEY => Failure::Duplicate,
        _ if is_size(code) => too_large(),
        _ => Failure::Refused(unavailable(format!(
            "MongoDB refused a write: {}",
            message()
        ))),
    }
}

const fn is_size(code: i32) -> bool {
    matches!(code, BSON_OBJECT_TOO_LARGE | RESULT_TOO_LARGE)
}

/// Our own limit is far below: this is for a document that something else made larger.
const fn too_large() -> Failure {
    Failure::Refused(StoreError::TooLarge {
        bytes: SERVER_LIMIT_BYTES,
        allowed: SERVER_LIMIT_BYTES,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "so that it fits map_err")]
pub(super) fn unavailable(reason: impl ToString) -> StoreError {
    StoreError::Unavailable {
        reason: reason.to_string(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "so that it fits map_err")]
pub(super) fn corrupt(reason: impl ToString) -> StoreError {
    StoreError::Corrupt {
        reason: reason.to_string(),
    }
}
