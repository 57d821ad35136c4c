//! An invoice's document: the stored one of an issued invoice, a rendered one otherwise.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::TryStreamExt as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{find, links, representation};
use crate::domain::ids::InvoiceId;
use crate::domain::invoice::{DocumentFormat, DocumentStatus, Invoice, StoredDocument};
use crate::domain::permission::Permission;
use crate::http::App;
use crate::http::answer::not_modified;
use crate::http::conditional::IfNoneMatch;
use crate::http::error::ApiError;
use crate::http::extract::{Authenticated, Id, Params};
use crate::http::input::Malformed;
use crate::http::openapi::ReadErrors;
use crate::render;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(document))
}

/// The invoice as a document: the stored one once issued, a DRAFT-marked one before.
#[utoipa::path(
    get, path = "/v1/invoices/{id}/document", tag = "invoices", operation_id = "invoice_document",
    params(
        ("id" = String, Path),
        ("format" = Option<String>, Query, description = "pdf (default), xlsx, csv or json"),
        ("If-None-Match" = Option<String>, Header)
    ),
    responses(
        (status = 200, description = "The document", body = Vec<u8>,
            content_type = "application/octet-stream",
            headers(("ETag" = String), ("Content-Disposition" = String))),
        (status = 304, description = "The caller has this document"),
        ReadErrors
    )
)]
async fn document(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<InvoiceId>,
    known: IfNoneMatch,
    mut params: Params,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceGetById)?;
    let format = params.take("format", read_format);
    params.finish()?;
    let published = find(&app, &caller, id).await?;
    let format = format.unwrap_or(DocumentFormat::Pdf);
    answer(&app, Arc::clone(&published.invoice), format, &known).await
}

fn read_format(text: &str) -> Result<DocumentFormat, Malformed> {
    match text {
        "pdf" => Ok(DocumentFormat::Pdf),
        "xlsx" => Ok(DocumentFormat::Xlsx),
        "csv" => Ok(DocumentFormat::Csv),
        "json" => Ok(DocumentFormat::Json),
        _ => Err(Malformed::new(
            "unknown_value",
            "expected pdf, xlsx, csv or json",
        )),
    }
}

/// The stored document, when it is the one asked for and says what the invoice says.
fn stored(invoice: &Invoice, format: DocumentFormat) -> Option<&StoredDocument> {
    let ready = invoice.issued().is_some() && invoice.document.status == DocumentStatus::Ready;
    invoice
        .document
        .stored
        .as_ref()
        .filter(|stored| ready && stored.format == format)
}

/// The document with its headers, or 304.
pub(in crate::http) async fn answer(
    app: &App,
    invoice: Arc<Invoice>,
    format: DocumentFormat,
    known: &IfNoneMatch,
) -> Result<Response, ApiError> {
    let stored = stored(&invoice, format);
    let tag = match stored {
        Some(stored) => format!("\"{}\"", stored.sha256),
        // The same version renders to the same bytes.
        None => format!("\"{}-{}\"", invoice.version, format.extension()),
    };
    let tag = HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""));
    if known.has(&tag) {
        return Ok(not_modified(tag));
    }
    let mut response = match (stored, format) {
        (Some(stored), _) => download(app, &invoice, stored).await?,
        (None, DocumentFormat::Json) => {
            let json = representation::bytes(&invoice, links(app))?;
            file(json.into(), &invoice, format)
        }
        (None, _) => {
            let rendered = app.documents.render(Arc::clone(&invoice), format).await?;
            file(rendered.into(), &invoice, format)
        }
    };
    response.headers_mut().insert(header::ETAG, tag);
    Ok(response)
}

/// The stored document, read as fast as the client takes it. Its length is said beforehand, so that a
/// client sees an end that comes too early, as that of a damaged document does.
pub(in crate::http) async fn download(
    app: &App,
    invoice: &Invoice,
    stored: &StoredDocument,
) -> Result<Response, ApiError> {
    let reader = app.documents.stored(stored).await?;
    let id = invoice.id;
    let parts = reader.into_stream().inspect_err(move |error| {
        tracing::error!(invoice = %id, %error, "a document ends in the middle of its download");
    });
    let mut response = file(Body::from_stream(parts), invoice, stored.format);
    let length = HeaderValue::from(stored.bytes);
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length);
    Ok(response)
}

fn file(body: Body, invoice: &Invoice, format: DocumentFormat) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(render::media_type(format)),
    );
    headers.insert(
        header::CONTENT_DISPOSITION,
        content_disposition(&render::file_name(invoice, format)),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    response
}

/// A download under `name`, which `render` makes of nothing but letters, digits and `-_.`.
fn content_disposition(name: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("attachment; filename=\"{name}\""))
        .unwrap_or(HeaderValue::from_static("attachment"))
}
