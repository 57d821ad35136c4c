//! File in, file out: `POST /login`, `POST /upload`, `GET /download`, with the texts and statuses of
//! the Invoice Generator that they replace.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::error::ApiError;
use super::extract::{Authenticated, Params, RequestId, bearer, fingerprint};
use super::idempotency::{Key, mark_replayed};
use super::input::{Malformed, parse_id};
use super::invoices::{PAGE_SECRET_BYTES, document, wait_until};
use super::openapi::OpenErrors;
use crate::actors::auth_cache::AuthError;
use crate::clock;
use crate::domain::ids::InvoiceId;
use crate::domain::invoice::command::{Command, IdempotencyKey, Request as CommandRequest};
use crate::domain::invoice::{DocumentFormat, DocumentStatus, Source};
use crate::domain::permission::Permission;

mod upload;

use upload::UploadedInvoice;

pub(super) fn routes() -> OpenApiRouter<App> {
    // The form around the file takes a little more than the file.
    let form_limit = DefaultBodyLimit::max(MAX_FILE_BYTES + 64 * 1024);
    OpenApiRouter::new()
        .routes(routes!(upload))
        .layer(form_limit)
        .routes(routes!(login))
        .routes(routes!(download))
}

/// The largest file, in bytes.
const MAX_FILE_BYTES: usize = 5 * 1024 * 1024;
/// How long a download waits for its document.
const READY_WITHIN: Duration = Duration::from_secs(10);

static X_FILE_ID: HeaderName = HeaderName::from_static("x-file-id");

fn text(status: StatusCode, text: &'static str) -> Response {
    (status, text).into_response()
}

fn missing_credentials(challenge: &'static str) -> Response {
    let mut response = text(StatusCode::UNAUTHORIZED, "missing credentials");
    let headers = response.headers_mut();
    headers.insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(challenge),
    );
    response
}

fn not_authorized(challenge: &'static str) -> Response {
    let mut response = text(StatusCode::UNAUTHORIZED, "not authorized");
    let headers = response.headers_mut();
    headers.insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(challenge),
    );
    response
}

const BASIC: &str = "Basic realm=\"Faktor\", charset=\"UTF-8\"";
const BEARER: &str = super::error::BEARER;

/// Signs in with a name and password; answers one token for a day.
#[utoipa::path(
    post, path = "/login", tag = "files", operation_id = "login", security(()),
    params(("Authorization" = String, Header, description = "Basic credentials")),
    responses(
        (status = 200, description = "The token", body = String, content_type = "text/plain"),
        (status = 401, description = "missing credentials, or not authorized", body = String,
            content_type = "text/plain"),
        OpenErrors
    )
)]
async fn login(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    let Some((name, password)) = basic_credentials(&headers) else {
        return Ok(missing_credentials(BASIC));
    };
    match app.auth.login_basic(&name, &password).await {
        Ok(token) => Ok(token.into_response()),
        Err(AuthError::Unauthenticated { .. }) => Ok(not_authorized(BASIC)),
        Err(error) => Err(error.into()),
    }
}

/// The name and password of `Authorization: Basic …` (RFC 7617), neither empty.
fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    let given = !name.is_empty() && !password.is_empty();
    given.then(|| (name.to_owned(), password.to_owned()))
}

/// The caller with the permission, or the answer that says why not.
async fn allowed(
    app: &App,
    headers: &HeaderMap,
    permission: Permission,
) -> Result<Result<Authenticated, Response>, ApiError> {
    if !headers.contains_key(header::AUTHORIZATION) {
        return Ok(Err(missing_credentials(BEARER)));
    }
    let Ok(token) = bearer(headers) else {
        return Ok(Err(not_authorized(BEARER)));
    };
    match app.auth.authenticate(token).await {
        Ok(caller) if caller.permissions.contains(permission) => Ok(Ok(Authenticated(caller))),
        Ok(_) | Err(AuthError::Unauthenticated { .. }) => Ok(Err(not_authorized(BEARER))),
        Err(error) => Err(error.into()),
    }
}

/// Takes an invoice as a JSON file with a number and totals of its own, checks them, and turns it into
/// a document in the background. The header `X-File-Id` has the id for the download; a mail tells when the
/// document is ready.
#[utoipa::path(
    post, path = "/upload", tag = "files", operation_id = "upload",
    params(
        ("format" = Option<String>, Query, description = "pdf (default), excel or csv"),
        ("Idempotency-Key" = Option<String>, Header)
    ),
    request_body(content = UploadedInvoice, content_type = "multipart/form-data",
        description = "Exactly one file of at most 5 MiB: an invoice in JSON"),
    responses(
        (status = 200, description = "success!", body = String, content_type = "text/plain",
            headers(("X-File-Id" = String))),
        (status = 400, description = "exactly 1 file required, or invalid format", body = String,
            content_type = "text/plain"),
        (status = 401, description = "missing credentials, or not authorized", body = String,
            content_type = "text/plain"),
        (status = 422, description = "The file's figures are wrong, or its number is taken; \
            `errors` names each",
            body = super::error::ProblemBody, content_type = "application/problem+json"),
        OpenErrors
    )
)]
async fn upload(
    State(app): State<App>,
    key: Key,
    request_id: RequestId,
    mut params: Params,
    request: Request,
) -> Result<Response, ApiError> {
    let caller = match allowed(&app, request.headers(), Permission::InvoiceCreate).await? {
        Ok(caller) => caller,
        Err(answer) => return Ok(answer),
    };
    let Some(file) = single_file(request).await? else {
        return Ok(text(StatusCode::BAD_REQUEST, "exactly 1 file required"));
    };
    let format = match params.take("format", |text| Ok(read_format(text))) {
        Some(None) => {
            let supported = "invalid format. supported: pdf, excel, csv";
            return Ok(text(StatusCode::BAD_REQUEST, supported));
        }
        given => given.flatten(),
    };
    params.finish()?;
    let settings = app.organization(caller.organization).await?;
    let import = UploadedInvoice::read(&file)?.check(&settings)?;
    let notify = match caller.user {
        Some(user) => app.stores.identity.user(user).await?.map(|user| user.email),
        None => None,
    };
    let id = key.new_invoice_id(&app.invoices, caller.organization, "upload");
    let command = Command::Import {
        organization: caller.organization,
        content: Arc::new(import.content),
        page_secret: clock::random_hex::<PAGE_SECRET_BYTES>(),
        number: import.number,
        issued_on: import.issued_on,
        format: format.unwrap_or(DocumentFormat::Pdf),
        notify,
    };
    let key = key.0.map(|key| IdempotencyKey {
        key,
        fingerprint: fingerprint(&["POST", "/upload", upload::format_name(format)], &file),
        keep: true,
        unsure_for_ms: None,
    });
    let request = CommandRequest {
        command,
        by: caller.initiator.clone(),
        key,
        expected_version: None,
        request_id: request_id.as_str().to_owned(),
    };
    let done = app.invoices.execute(caller.organization, id, request).await;
    let done = done.map_err(upload::refused)?;
    let mut response = text(StatusCode::OK, "success!");
    if let Ok(fid) = HeaderValue::from_str(&done.invoice.id.to_string()) {
        response.headers_mut().insert(X_FILE_ID.clone(), fid);
    }
    if done.replayed {
        mark_replayed(&mut response);
    }
    Ok(response)
}

fn read_format(text: &str) -> Option<DocumentFormat> {
    match text.to_ascii_lowercase().as_str() {
        "pdf" => Some(DocumentFormat::Pdf),
        "excel" => Some(DocumentFormat::Xlsx),
        "csv" => Some(DocumentFormat::Csv),
        _ => None,
    }
}

/// The one file of the form; `None` when there is none, or more than one, or no form.
async fn single_file(request: Request) -> Result<Option<Bytes>, ApiError> {
    let Ok(mut form) = Multipart::from_request(request, &()).await else {
        return Ok(None);
    };
    let mut file = None;
    loop {
        let field = match form.next_field().await {
            Ok(Some(field)) => field,
            Ok(None) => return Ok(file),
            Err(error) => return unreadable(error.status()),
        };
        let is_file = field.file_name().is_some();
        let bytes = match field.bytes().await {
            Ok(bytes) => bytes,
            Err(error) => return unreadable(error.status()),
        };
        if bytes.len() > MAX_FILE_BYTES {
            return unreadable(StatusCode::PAYLOAD_TOO_LARGE);
        }
        if is_file && file.replace(bytes).is_some() {
            return Ok(None);
        }
    }
}

fn unreadable(status: StatusCode) -> Result<Option<Bytes>, ApiError> {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        let detail = format!("the file may have at most {MAX_FILE_BYTES} bytes");
        return Err(ApiError::new(status, "body_too_large", detail));
    }
    Ok(None)
}

/// The document made from an uploaded file. Only the organization that uploaded it gets it.
#[utoipa::path(
    get, path = "/download", tag = "files", operation_id = "download",
    params(("fid" = String, Query, description = "The file's id")),
    responses(
        (status = 200, description = "The document", body = Vec<u8>,
            content_type = "application/octet-stream", headers(("Content-Disposition" = String))),
        (status = 400, description = "fid is required", body = String, content_type = "text/plain"),
        (status = 401, description = "missing credentials, or not authorized", body = String,
            content_type = "text/plain"),
        (status = 409, description = "The document is not ready, or could not be made",
            body = super::error::ProblemBody, content_type = "application/problem+json"),
        OpenErrors
    )
)]
async fn download(
    State(app): State<App>,
    mut params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let caller = match allowed(&app, &headers, Permission::InvoiceGetById).await? {
        Ok(caller) => caller,
        Err(answer) => return Ok(answer),
    };
    let Some(fid) = params.take("fid", |text| Ok::<_, Malformed>(text.to_owned())) else {
        return Ok(text(StatusCode::BAD_REQUEST, "fid is required"));
    };
    params.finish()?;
    let id: InvoiceId = parse_id(&fid).map_err(|_| ApiError::not_found("file"))?;
    let deadline = Instant::now() + READY_WITHIN;
    let reached = wait_until(&app, caller.organization, id, deadline, |published| {
        published.invoice.document.status != DocumentStatus::Pending
    });
    let published = reached.await.map_err(|error| match error.status() {
        StatusCode::NOT_FOUND => ApiError::not_found("file"),
        _ => error,
    })?;
    let invoice = &published.invoice;
    if !matches!(invoice.source, Source::Upload { .. }) {
        return Err(ApiError::not_found("file"));
    }
    match (invoice.document.status, &invoice.document.stored) {
        (DocumentStatus::Ready, Some(stored)) => document::download(&app, invoice, stored).await,
        (DocumentStatus::Failed, _) => Err(ApiError::conflict(
            "document_failed",
            "the document could not be made",
        )),
        _ => Err(
            ApiError::conflict("document_not_ready", "the document is still being made")
                .retry_after(1),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(value: &str) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        basic_credentials(&headers)
    }

    #[test]
    fn basic_credentials_are_read_as_rfc_7617_says() {
        let expected = Some(("ada".to_owned(), "a:b".to_owned()));
        assert_eq!(
            credentials(&format!("Basic {}", BASE64_STANDARD.encode("ada:a:b"))),
            expected
        );
        for nothing in [
            "Basic",
            "Basic !",
            "Bearer x",
            &format!("Basic {}", BASE64_STANDARD.encode("ada:")),
        ] {
            assert_eq!(credentials(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn the_formats_are_those_of_the_invoice_generator() {
        assert_eq!(read_format("PDF"), Some(DocumentFormat::Pdf));
        assert_eq!(read_format("excel"), Some(DocumentFormat::Xlsx));
        assert_eq!(read_format("csv"), Some(DocumentFormat::Csv));
        assert_eq!(read_format("xlsx"), None);
    }
}
