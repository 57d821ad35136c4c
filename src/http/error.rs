//! Every answer that is not a success, in one form, decided in one place.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::actors::auth_cache::AuthError;
use crate::actors::documents::DocumentError;
use crate::actors::invoices::ExecuteError;
use crate::domain::invoice::decide::Refusal;
use crate::domain::problem::Problem;
use crate::outbound::media::MediaError;
use crate::outbound::payment::WebhookError;
use crate::store::StoreError;

/// Why a request is not answered with what it asked for (RFC 9457).
///
/// It becomes a response without a body; the edge's middleware, which knows the request id, writes
/// the `application/problem+json` and logs what may not be shown.
#[derive(Debug, Clone)]
pub struct ApiError(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: Cow<'static, str>,
    param: Option<String>,
    errors: Vec<Problem>,
    retry_after_s: Option<u64>,
    challenge: Option<&'static str>,
    cause: Option<String>,
}

/// The body of every error (`application/problem+json`, RFC 9457).
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "urn:faktor:problem:invoice_not_draft", "title": "Invoice not draft", "status": 409,
    "code": "invoice_not_draft", "detail": "only a draft can be changed; the invoice is open",
    "request_id": "0192f0c1a2b37c1e8d5f6a7b8c9d0e1f"
}))]
pub struct ProblemBody<'a> {
    /// A URI for the kind of problem; ends with its code.
    #[serde(rename = "type")]
    kind: String,
    /// The code as words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// A stable code for programs.
    code: &'a str,
    /// A sentence for people: what is wrong, and what is allowed.
    detail: &'a str,
    /// The field or parameter that is wrong, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<&'a str>,
    /// All problems found, when a body or query was checked.
    #[serde(skip_serializing_if = "<[Problem]>::is_empty")]
    #[schema(value_type = Vec<FieldProblem>)]
    errors: &'a [Problem],
    request_id: &'a str,
}

/// One problem with one field.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FieldProblem {
    /// The path of the field, such as `lines[2].unit_price`.
    #[schema(example = "lines[2].unit_price")]
    param: String,
    #[schema(example = "too_many_decimals")]
    code: String,
    detail: String,
}

/// The codes of problems with the form of a value, not with what it says: these are 400, not 422.
const MALFORMED: [&str; 6] = [
    "invalid_type",
    "invalid_number",
    "invalid_date",
    "invalid_timestamp",
    "invalid_id",
    "unknown_field",
];

impl ApiError {
    /// An error with a stable code and a sentence.
    pub fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Box::new(Inner {
            status,
            code: code.into(),
            detail: detail.into(),
            param: None,
            errors: Vec::new(),
            retry_after_s: None,
            challenge: None,
            cause: None,
        }))
    }

    /// 400.
    pub fn malformed(
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 401 with the challenge for `WWW-Authenticate`.
    pub fn unauthenticated(challenge: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut error = Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail);
        error.0.challenge = Some(challenge);
        error
    }

    /// 404; `what` as in "no such invoice".
    pub fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("no such {what}"),
        )
    }

    /// 409.
    pub fn conflict(
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 412: `If-Match` names another version.
    pub fn version_mismatch(current: u64) -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "version_mismatch",
            format!("If-Match names another version; the present one is {current}"),
        )
    }

    /// 429.
    pub fn throttled(retry_after_s: u64) -> Self {
        let detail = format!("too many attempts; try again in {retry_after_s} seconds");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail)
            .retry_after(retry_after_s)
    }

    /// 503 with `Retry-After`.
    pub fn unavailable(
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(1)
    }

    /// 500: `cause` is logged with the request id and never shown.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something went wrong on our side; the request id finds it in the log",
        )
        .caused_by(cause)
    }

    /// 400 when any problem is one of form, else 422; all of them are shown.
    pub fn invalid(problems: Vec<Problem>) -> Self {
        let malformed = problems
            .iter()
            .any(|problem| MALFORMED.contains(&problem.code.as_ref()));
        let status = if malformed {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::UNPROCESSABLE_ENTITY
        };
        Self::with_problems(status, problems)
    }

    /// One or more problems under a status of the caller's choice.
    pub fn with_problems(status: StatusCode, problems: Vec<Problem>) -> Self {
        let code = if status == StatusCode::BAD_REQUEST {
            "malformed"
        } else {
            "invalid"
        };
        match <[Problem; 1]>::try_from(problems) {
            Ok([problem]) => {
                let mut error = Self::new(status, problem.code.clone(), problem.detail.clone());
                error.0.param = Some(problem.param.clone());
                error.0.errors = vec![problem];
                error
            }
            Err(problems) => {
                let detail = format!("{} fields have problems", problems.len());
                let mut error = Self::new(status, code, detail);
                error.0.errors = problems;
                error
            }
        }
    }

    /// Names the field or parameter.
    #[must_use]
    pub fn param(mut self, param: impl Into<String>) -> Self {
        self.0.param = Some(param.into());
        self
    }

    /// Sets `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    /// What is logged and not shown.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// What went wrong inside, for the log.
    pub(super) fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    pub fn problems(&self) -> &[Problem] {
        &self.0.errors
    }

    /// Writes the body and headers into `response`, which has the status already or gets it.
    pub(super) fn render(&self, response: &mut Response, request_id: &str) {
        let inner = &*self.0;
        let body = ProblemBody {
            kind: format!("urn:faktor:problem:{}", inner.code),
            title: title(&inner.code),
            status: inner.status.as_u16(),
            code: &inner.code,
            detail: &inner.detail,
            param: inner.param.as_deref(),
            errors: &inner.errors,
            request_id,
        };
        *response.status_mut() = inner.status;
        *response.body_mut() = Body::from(serde_json::to_vec(&body).unwrap_or_default());
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = inner.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = inner.challenge {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            );
        }
    }
}

/// `invoice_not_draft` as `Invoice not draft`.
fn title(code: &str) -> String {
    let mut words = code.replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.0.status;
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Vec<Problem>> for ApiError {
    fn from(problems: Vec<Problem>) -> Self {
        Self::invalid(problems)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::NotFound => return Self::not_found("invoice"),
            Refusal::VersionMismatch { current } => return Self::version_mismatch(*current),
            Refusal::Invalid { problems } => {
                return Self::with_problems(StatusCode::UNPROCESSABLE_ENTITY, problems.clone());
            }
            Refusal::IdempotencyKeyReused => return Self::idempotency_key_reused(),
            Refusal::OutcomeUnknown => {
                return Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "outcome_unknown",
                    refusal.to_string(),
                );
            }
            Refusal::Finalizing => {
                return Self::conflict("invoice_finalizing", refusal.to_string()).retry_after(1);
            }
            Refusal::AlreadyExists => "already_exists",
            Refusal::InvoiceNotDraft { .. } => "invoice_not_draft",
            Refusal::InvoiceNotOpen { .. } => "invoice_not_open",
            Refusal::DraftNotVoidable => "draft_not_voidable",
            Refusal::AlreadyPaid => "already_paid",
            Refusal::AlreadyVoid => "already_void",
            Refusal::PaymentInProgress => "payment_in_progress",
            Refusal::SendInProgress => "send_in_progress",
            Refusal::InvoiceHasPayments => "invoice_has_payments",
        };
        Self::conflict(code, refusal.to_string())
    }
}

impl ApiError {
    /// 422: the key came with another body before.
    pub fn idempotency_key_reused() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "the idempotency key was used with another request; use a new key for a new request",
        )
    }
}

impl From<ExecuteError> for ApiError {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Refused(refusal) => refusal.into(),
            ExecuteError::Busy => Self::unavailable(
                "busy",
                "too many commands are waiting; try again in a moment",
            ),
            ExecuteError::Crashed => Self::internal("the invoice's actor crashed"),
            ExecuteError::NotOwner => StoreError::NotOwner.into(),
            ExecuteError::Unreachable => Self::unavailable(
                "owner_unreachable",
                "the node that owns the invoice can't be reached; the same Idempotency-Key asks again",
            ),
            ExecuteError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => {
                Self::conflict("conflict", "another write came first; read again")
            }
            StoreError::NotOwner => {
                Self::unavailable("not_owner", "the invoice is moving to another node")
            }
            StoreError::Taken { field } => Self::conflict(
                format!("{field}_taken"),
                format!("{field} is already in use"),
            )
            .param(field),
            StoreError::TooLarge { .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invoice_too_large",
                format!("{error}; nothing was written, what is stored stays as it is"),
            ),
            StoreError::Unavailable { .. } => Self::unavailable(
                "store_unavailable",
                "the store is not available; nothing was written",
            )
            .caused_by(error.to_string()),
            StoreError::LastAdministrator => {
                Self::conflict("last_administrator", error.to_string())
            }
            StoreError::Corrupt { .. }
            | StoreError::SchemaTooNew { .. }
            | StoreError::InUse { .. } => Self::internal(error.to_string()),
        }
    }
}

/// The challenge of a request without or with useless credentials (RFC 6750).
pub const BEARER: &str = "Bearer";

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Unauthenticated { detail } => Self::unauthenticated(BEARER, detail),
            AuthError::Throttled { retry_after_s } => Self::throttled(retry_after_s),
            AuthError::Crashed => Self::internal(error.to_string()),
            AuthError::Store(error) => error.into(),
        }
    }
}

impl From<DocumentError> for ApiError {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::Busy => Self::unavailable(
                "busy",
                "too many documents are being made; try again in a moment",
            ),
            DocumentError::Store(error) => Self::from(error),
            DocumentError::Media(MediaError::Unavailable { .. } | MediaError::Denied { .. }) => {
                Self::unavailable(
                    "media_unavailable",
                    "the document can't be read at present; try again in a moment",
                )
                .caused_by(error.to_string())
            }
            DocumentError::Crashed | DocumentError::Render(_) | DocumentError::Media(_) => {
                Self::internal(error.to_string())
            }
        }
    }
}

impl From<WebhookError> for ApiError {
    fn from(error: WebhookError) -> Self {
        let code = match error {
            WebhookError::MissingSignature => "missing_signature",
            WebhookError::BadSignature => "bad_signature",
            WebhookError::TooOld { .. } => "signature_too_old",
            WebhookError::FromTheFuture { .. } => "signature_from_the_future",
            WebhookError::Malformed { .. } => "malformed",
        };
        Self::malformed(code, error.to_string())
    }
}

#[cfg(test)]
mod tests;
