//! Lists of invoices.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::links;
use super::representation::{InvoiceBody, representation};
use crate::domain::invoice::Status;
use crate::domain::money::Currency;
use crate::domain::permission::Permission;
use crate::http::App;
use crate::http::answer::json;
use crate::http::error::ApiError;
use crate::http::extract::{Authenticated, Params};
use crate::http::input::{Malformed, parse_date, parse_id};
use crate::http::openapi::ReadErrors;
use crate::http::paging::{List, take_page};
use crate::store::InvoiceFilter;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Lists invoices, newest first.
#[utoipa::path(
    get, path = "/v1/invoices", tag = "invoices", operation_id = "list_invoices",
    params(
        ("status" = Option<String>, Query, description = "draft, finalizing, open, paid, void or uncollectible"),
        ("customer" = Option<String>, Query),
        ("number" = Option<String>, Query),
        ("currency" = Option<String>, Query),
        ("overdue" = Option<bool>, Query),
        ("issued_from" = Option<String>, Query, description = "YYYY-MM-DD, inclusive"),
        ("issued_to" = Option<String>, Query, description = "YYYY-MM-DD, inclusive"),
        ("created_from" = Option<String>, Query, description = "YYYY-MM-DD (UTC), inclusive"),
        ("created_to" = Option<String>, Query, description = "YYYY-MM-DD (UTC), inclusive"),
        ("q" = Option<String>, Query, description = "Part of number, customer name, purchase order or reference"),
        ("limit" = Option<u16>, Query, description = "1–100, default 20"),
        ("starting_after" = Option<String>, Query, description = "An invoice's id")
    ),
    responses((status = 200, description = "A part of the list", body = List<InvoiceBody>), ReadErrors)
)]
async fn list(
    State(app): State<App>,
    caller: Authenticated,
    mut params: Params,
) -> Result<Response, ApiError> {
    caller.require(Permission::InvoiceGetAll)?;
    let filter = take_filter(&mut params);
    let page = take_page(&mut params);
    params.finish()?;
    let found = app
        .stores
        .invoices
        .list(caller.organization, &filter, &page)
        .await?;
    let shown = List {
        data: found
            .data
            .iter()
            .map(|invoice| representation(invoice, links(&app)))
            .collect(),
        has_more: found.has_more,
        next: found
            .data
            .last()
            .filter(|_| found.has_more)
            .map(|last| last.id.to_string()),
    };
    json(StatusCode::OK, &shown)
}

fn take_filter(params: &mut Params) -> InvoiceFilter {
    let filter = InvoiceFilter {
        status: params.take("status", read_status),
        customer: params.take("customer", parse_id),
        number: params.take_text("number"),
        currency: params.take("currency", read_currency),
        overdue: params.take_bool("overdue"),
        issued_from: params.take("issued_from", parse_date),
        issued_to: params.take("issued_to", parse_date),
        created_from: params.take("created_from", parse_date),
        created_to: params.take("created_to", parse_date),
        q: params.take_text("q"),
    };
    for (from, to, name) in [
        (filter.issued_from, filter.issued_to, "issued_to"),
        (filter.created_from, filter.created_to, "created_to"),
    ] {
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            params.problem(name, "out_of_range", "the end lies before the beginning");
        }
    }
    filter
}

fn read_status(text: &str) -> Result<Status, Malformed> {
    Status::parse(text)
        .filter(|status| *status != Status::Deleted)
        .ok_or_else(|| {
            let expected = "expected draft, finalizing, open, paid, void or uncollectible";
            Malformed::new("unknown_value", expected)
        })
}

fn read_currency(text: &str) -> Result<Currency, Malformed> {
    text.parse()
        .map_err(|error: crate::domain::money::UnknownCurrency| {
            Malformed::new("unknown_currency", error.to_string())
        })
}
