//! `/i/{token}`: the customer's page of one invoice. The token is the only proof, so a wrong one and
//! one of no invoice look the same.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use jiff::Timestamp;
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::App;
use super::conditional::IfNoneMatch;
use super::error::ApiError;
use super::extract::RequestId;
use super::invoices::{document, wait_until};
use super::openapi::OpenErrors;
use crate::actors::invoices::{ExecuteError, Executed, Published};
use crate::domain::ids::InvoiceId;
use crate::domain::invoice::command::{Command, Initiator, Request};
use crate::domain::invoice::decide::Refusal;
use crate::domain::invoice::effect::EffectKindName;
use crate::domain::invoice::{DocumentFormat, Invoice};
use crate::domain::party::Locale;
use crate::render::{self, RenderContext};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(show))
        .routes(routes!(pdf))
        .routes(routes!(xlsx))
        .routes(routes!(pay))
}

/// How long a customer waits for the provider's page.
const LINK_WITHIN: Duration = Duration::from_secs(10);

static X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// The invoice of a token: its id, then its page's secret.
async fn find(app: &App, token: &str) -> Result<Arc<Published>, ApiError> {
    let not_found = || ApiError::not_found("invoice page");
    let (id, secret) = token.split_at_checked(32).ok_or_else(not_found)?;
    let id = Uuid::try_parse(id).map_err(|_| not_found())?;
    let published = match app.invoices.get_for_page(InvoiceId::new(id)).await {
        Ok(published) => published,
        Err(ExecuteError::Refused(_)) => return Err(not_found()),
        Err(error) => return Err(error.into()),
    };
    let invoice = &published.invoice;
    let proven = bool::from(invoice.page_secret.as_bytes().ct_eq(secret.as_bytes()));
    // A draft is nothing for the customer yet.
    if proven && invoice.issued().is_some() {
        Ok(published)
    } else {
        Err(not_found())
    }
}

/// What the customer does reaches the invoice as a command like any other.
async fn execute(
    app: &App,
    invoice: &Invoice,
    command: Command,
    request_id: &RequestId,
) -> Result<Executed, ExecuteError> {
    let request = Request {
        command,
        by: Initiator::Customer,
        key: None,
        expected_version: None,
        request_id: request_id.as_str().to_owned(),
    };
    app.invoices
        .execute(invoice.organization, invoice.id, request)
        .await
}

/// Shows the invoice to its customer.
#[utoipa::path(
    get, path = "/i/{token}", tag = "customer page", operation_id = "customer_page", security(()),
    params(("token" = String, Path)),
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        OpenErrors
    )
)]
async fn show(
    State(app): State<App>,
    Path(token): Path<String>,
    request_id: RequestId,
) -> Result<Response, ApiError> {
    let published = match find(&app, &token).await {
        Err(error) if error.status() == StatusCode::NOT_FOUND => {
            let page = Html(render::page::missing_page());
            return Ok(as_page((StatusCode::NOT_FOUND, page).into_response()));
        }
        found => found?,
    };
    let mut invoice = Arc::clone(&published.invoice);
    if invoice.first_viewed_at.is_none() {
        // That the customer looked is worth knowing, but not worth failing for.
        match execute(&app, &invoice, Command::View, &request_id).await {
            Ok(done) => invoice = done.invoice,
            Err(error) => tracing::warn!(invoice.id = %invoice.id, %error, "a view was not kept"),
        }
    }
    let context = RenderContext {
        public_url: Some(app.public_url.to_string()),
        sandbox: app.payments.name() == "sandbox",
        logo_png: logo(&app, &invoice).await?,
    };
    let page = render::page::invoice_page(&invoice, &context)
        .map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(as_page(Html(page).into_response()))
}

async fn logo(app: &App, invoice: &Invoice) -> Result<Option<Arc<Vec<u8>>>, ApiError> {
    let Some(logo) = invoice.content.issuer.logo else {
        return Ok(None);
    };
    let asset = app
        .stores
        .directory
        .asset(invoice.organization, logo)
        .await?;
    Ok(asset.map(|asset| Arc::new(asset.bytes)))
}

/// Neither kept by caches nor found by search engines, and allowed only what the page needs.
fn as_page(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(render::page::content_security_policy()),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ROBOTS_TAG.clone(), HeaderValue::from_static("noindex"));
    response
}

/// The invoice as PDF.
#[utoipa::path(
    get, path = "/i/{token}/document.pdf", tag = "customer page", operation_id = "customer_pdf",
    security(()), params(("token" = String, Path)),
    responses(
        (status = 200, description = "The document", body = Vec<u8>, content_type = "application/pdf"),
        OpenErrors
    )
)]
async fn pdf(
    State(app): State<App>,
    Path(token): Path<String>,
    known: IfNoneMatch,
) -> Result<Response, ApiError> {
    let invoice = Arc::clone(&find(&app, &token).await?.invoice);
    document::answer(&app, invoice, DocumentFormat::Pdf, &known).await
}

/// The invoice as a spreadsheet.
#[utoipa::path(
    get, path = "/i/{token}/document.xlsx", tag = "customer page", operation_id = "customer_xlsx",
    security(()), params(("token" = String, Path)),
    responses(
        (status = 200, description = "The document", body = Vec<u8>,
            content_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        OpenErrors
    )
)]
async fn xlsx(
    State(app): State<App>,
    Path(token): Path<String>,
    known: IfNoneMatch,
) -> Result<Response, ApiError> {
    let invoice = Arc::clone(&find(&app, &token).await?.invoice);
    document::answer(&app, invoice, DocumentFormat::Xlsx, &known).await
}

/// Leads to the provider's page, which is made first if there is none.
#[utoipa::path(
    post, path = "/i/{token}/pay", tag = "customer page", operation_id = "customer_pay",
    security(()), params(("token" = String, Path)),
    responses(
        (status = 303, description = "On to the provider, or back when nothing is to be paid",
            headers(("Location" = String))),
        (status = 409, description = "A charge is under way", content_type = "text/html"),
        OpenErrors
    )
)]
async fn pay(
    State(app): State<App>,
    Path(token): Path<String>,
    request_id: RequestId,
) -> Result<Response, ApiError> {
    let published = find(&app, &token).await?;
    if let Some(url) = payment_url(&published.invoice, app.clock.now()) {
        return Ok(Redirect::to(url).into_response());
    }
    let back = || Redirect::to(&format!("/i/{token}")).into_response();
    let asked = execute(&app, &published.invoice, Command::OfferPayment, &request_id).await;
    match asked {
        Ok(_) => {}
        Err(ExecuteError::Refused(
            Refusal::AlreadyPaid | Refusal::AlreadyVoid | Refusal::InvoiceNotOpen { .. },
        )) => return Ok(back()),
        Err(ExecuteError::Refused(Refusal::PaymentInProgress)) => return Ok(is_being_paid()),
        Err(error) => return Err(error.into()),
    }
    let (organization, id) = (published.invoice.organization, published.invoice.id);
    let deadline = Instant::now() + LINK_WITHIN;
    let reached = wait_until(&app, organization, id, deadline, |published| {
        let invoice = &published.invoice;
        payment_url(invoice, app.clock.now()).is_some()
            || !invoice.due().is_positive()
            || invoice.charge_in_flight().is_some()
            || gave_up(invoice)
    });
    let published = reached.await?;
    let invoice = &published.invoice;
    if invoice.charge_in_flight().is_some() {
        return Ok(is_being_paid());
    }
    match payment_url(invoice, app.clock.now()) {
        Some(url) => Ok(Redirect::to(url).into_response()),
        None if !invoice.due().is_positive() => Ok(back()),
        None if gave_up(invoice) => Ok(notice(
            StatusCode::FAILED_DEPENDENCY,
            "The payment page could not be made",
            "Please go back and pay another way, or try again later.",
        )),
        None => Ok(notice(
            StatusCode::SERVICE_UNAVAILABLE,
            "The payment page is being made",
            "This takes longer than usual. Please go back and try again in a moment.",
        )),
    }
}

fn is_being_paid() -> Response {
    notice(
        StatusCode::CONFLICT,
        "A payment is under way",
        "This invoice is being paid at this moment. Please go back and look again in a while.",
    )
}

/// A page with a sentence, for a person who can't go on.
fn notice(status: StatusCode, title: &str, text: &str) -> Response {
    let page = Html(render::page::notice_page(Locale::En, title, text));
    as_page((status, page).into_response())
}

/// Whether no attempt to make the provider's page follows.
fn gave_up(invoice: &Invoice) -> bool {
    let mut links = invoice
        .effects
        .iter()
        .filter(|effect| effect.kind.name() == EffectKindName::PaymentLink);
    links.clone().next().is_some() && links.all(|effect| effect.parked)
}

/// The provider's page for just what is due, if it stays open for long enough to pay there.
fn payment_url(invoice: &Invoice, now: Timestamp) -> Option<&str> {
    let due = invoice.due();
    invoice
        .payment
        .link
        .as_deref()
        .filter(|link| link.takes(due, now) && invoice.charge_in_flight().is_none())
        .map(|link| link.url.as_str())
}
