//! The sandbox's web pages: where customers pay, and where tests look into the books.

use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::methods::{self, Behaviour, METHODS, Method};
use super::{Charge, ChargeStatus, PayOutcome, SandboxProvider, Session, SessionState};
use crate::domain::ids::InvoiceId;
use crate::outbound::payment::ProviderError;

/// What a checkout page shows.
#[derive(Debug, Clone)]
pub struct CheckoutView {
    pub session: Session,
    /// Where its form is posted to, with the field `payment_method`.
    pub pay_url: String,
    pub methods: &'static [Method],
    /// Why the last attempt brought no money.
    pub problem: Option<String>,
}

/// Makes the checkout page's HTML. Given by the caller, as pages are made in another layer.
pub type PageRenderer = fn(&CheckoutView) -> String;

#[derive(Clone)]
struct Pages {
    provider: SandboxProvider,
    render: PageRenderer,
}

/// `GET /sandbox/checkout/{id}`, `POST /sandbox/checkout/{id}/pay` and
/// `GET /sandbox/charges?invoice=inv_…`. None asks who is calling: a session's id can't be guessed,
/// and the money is play money.
pub fn router(provider: SandboxProvider, render: PageRenderer) -> Router {
    Router::new()
        .route("/sandbox/checkout/{id}", get(show))
        .route("/sandbox/checkout/{id}/pay", post(pay))
        .route("/sandbox/charges", get(charges))
        .with_state(Pages { provider, render })
}

async fn show(State(pages): State<Pages>, Path(id): Path<String>) -> Response {
    match pages.provider.session(&id).await {
        Ok(Some(session)) => pages.page(StatusCode::OK, session, None),
        Ok(None) => missing(),
        Err(error) => unavailable(&error),
    }
}

#[derive(Deserialize)]
struct PayForm {
    payment_method: String,
}

async fn pay(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    Form(form): Form<PayForm>,
) -> Response {
    let method = methods::known(&form.payment_method).unwrap_or(&methods::UNKNOWN);
    if method.behaviour == Behaviour::Unavailable {
        let session = match pages.provider.session(&id).await {
            Ok(Some(session)) => session,
            Ok(None) => return missing(),
            Err(error) => return unavailable(&error),
        };
        let problem = "The bank can't be reached. Nothing was charged; please try again.";
        return pages.page(
            StatusCode::SERVICE_UNAVAILABLE,
            session,
            Some(problem.to_owned()),
        );
    }
    match pages.provider.pay(&id, method).await {
        Ok(PayOutcome::Paid { session }) if method.behaviour == Behaviour::LoseReply => {
            let problem = "The payment was made, but the way back to the shop was lost.";
            pages.page(
                StatusCode::GATEWAY_TIMEOUT,
                session,
                Some(problem.to_owned()),
            )
        }
        Ok(PayOutcome::Paid { session }) => Redirect::to(&session.return_url).into_response(),
        Ok(PayOutcome::Declined { session, detail }) => {
            pages.page(StatusCode::PAYMENT_REQUIRED, session, Some(detail))
        }
        Ok(PayOutcome::NotOpen { session }) => {
            let (status, problem) = match session.state {
                SessionState::Expired => (StatusCode::GONE, "This page has expired."),
                _ => (
                    StatusCode::CONFLICT,
                    "This was already paid. Nothing more was charged.",
                ),
            };
            pages.page(status, session, Some(problem.to_owned()))
        }
        Ok(PayOutcome::Missing) => missing(),
        Err(error) => unavailable(&error),
    }
}

#[derive(Deserialize)]
struct ChargesQuery {
    invoice: String,
}

#[derive(Serialize)]
struct ChargeList {
    data: Vec<ChargeView>,
}

/// A charge as tests see it.
#[derive(Serialize)]
struct ChargeView {
    id: String,
    invoice: InvoiceId,
    effect: String,
    session: Option<String>,
    /// In minor units.
    amount: i64,
    currency: String,
    payment_method: String,
    /// `succeeded` or `failed`.
    status: &'static str,
    code: Option<String>,
    created_at: String,
}

async fn charges(State(pages): State<Pages>, Query(query): Query<ChargesQuery>) -> Response {
    let Ok(invoice) = query.invoice.parse() else {
        let problem = "invoice is not the id of an invoice (inv_…)\n";
        return (StatusCode::BAD_REQUEST, problem).into_response();
    };
    match pages.provider.charges(invoice).await {
        Ok(charges) => {
            let data = charges.into_iter().map(ChargeView::from).collect();
            Json(ChargeList { data }).into_response()
        }
        Err(error) => unavailable(&error),
    }
}

impl From<Charge> for ChargeView {
    fn from(charge: Charge) -> Self {
        let (status, code) = match charge.status {
            ChargeStatus::Succeeded => ("succeeded", None),
            ChargeStatus::Failed { code, .. } => ("failed", Some(code)),
        };
        Self {
            id: charge.id,
            invoice: charge.invoice,
            effect: charge.effect.to_string(),
            session: charge.session,
            amount: charge.amount.minor,
            currency: charge.amount.currency.to_string(),
            payment_method: charge.payment_method,
            status,
            code,
            created_at: charge.created_at.to_string(),
        }
    }
}

impl Pages {
    fn page(&self, status: StatusCode, session: Session, problem: Option<String>) -> Response {
        let pay_url = format!("{}/pay", self.provider.checkout_url(&session.id));
        let view = CheckoutView {
            session,
            pay_url,
            methods: &METHODS,
            problem,
        };
        let mut response = (status, Html((self.render)(&view))).into_response();
        // A page with a state is not to be shown from a cache.
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, "There is no such checkout page.\n").into_response()
}

fn unavailable(error: &ProviderError) -> Response {
    tracing::error!(%error, "the sandbox can't answer");
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "The sandbox is not available.\n",
    )
        .into_response()
}

/// The barest page that works, for tests and tools.
pub fn plain_page(view: &CheckoutView) -> String {
    let session = &view.session;
    let problem = view.problem.as_ref().map_or_else(String::new, |problem| {
        format!("<p role=\"alert\">{}</p>", escaped(problem))
    });
    let form = match session.state {
        SessionState::Open => {
            let buttons =
                view.methods
                    .iter()
                    .fold(String::new(), |html, Method { id, label, .. }| {
                        html + "<button name=\"payment_method\" value=\""
                            + id
                            + "\">"
                            + label
                            + "</button>"
                    });
            format!(
                "<form method=\"post\" action=\"{}\">{buttons}</form>",
                escaped(&view.pay_url)
            )
        }
        state => format!("<p>This page is {}.</p>", state.name()),
    };
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>SANDBOX checkout</title>\
         <h1>SANDBOX</h1><p>{description}</p><p>{amount} {currency}</p>{problem}{form}\
         <p><a href=\"{return_url}\">Back</a></p></html>",
        description = escaped(&session.description),
        amount = session.amount,
        currency = session.amount.currency,
        return_url = escaped(&session.return_url),
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
