//! An invoice as the API shows it: the one place that writes it.

use std::sync::Arc;

use bytes::Bytes;
use jiff::civil::Date;
use serde::Serialize;
use utoipa::ToSchema;

use super::content::{AllowanceInput, TaxInput};
use crate::actors::invoices::Represent;
use crate::domain::ids::{CustomerId, InvoiceId};
use crate::domain::invoice::effect::EffectKindName;
use crate::domain::invoice::{DeliveryStatus, DocumentStatus, Invoice, PaymentStatus, Status};
use crate::domain::money::{Currency, Money};
use crate::domain::party::{Issuer, Locale, Metadata, PageSize, Party, Rounding};
use crate::domain::problem::Problem;
use crate::domain::tax::TaxCategory;
use crate::http::answer::to_json;
use crate::http::error::ApiError;
use crate::http::party::PartyInput;
use crate::http::show::{Amount, At, Number, Text};

mod fill;

pub use fill::representation;

/// What addresses are built from.
#[derive(Debug, Clone, Copy)]
pub struct Links<'a> {
    /// Without a trailing slash.
    pub public_url: &'a str,
}

/// An invoice.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Invoice)]
pub struct InvoiceBody<'a> {
    #[schema(value_type = String, example = "inv_0192f0c1a2b37c1e8d5f6a7b8c9d0e1f")]
    id: InvoiceId,
    #[schema(example = "invoice")]
    object: &'static str,
    /// Counts changes; the resource's `ETag`.
    version: u64,
    /// draft, finalizing, open, paid, void or uncollectible.
    #[schema(value_type = String, example = "open")]
    status: Status,
    #[schema(example = "2026-0001")]
    number: Option<&'a str>,
    /// api or upload.
    #[schema(example = "api")]
    source: &'static str,
    #[schema(value_type = Object)]
    issuer: &'a Issuer,
    #[schema(value_type = Option<String>)]
    customer: Option<CustomerId>,
    #[schema(value_type = PartyInput)]
    bill_to: &'a Party,
    #[schema(value_type = Option<PartyInput>)]
    ship_to: Option<&'a Party>,
    #[schema(value_type = String, example = "EUR")]
    currency: Currency,
    prices_include_tax: bool,
    #[schema(value_type = String)]
    rounding: Rounding,
    #[schema(value_type = String)]
    locale: Locale,
    #[schema(value_type = String)]
    page_size: PageSize,
    purchase_order: Option<&'a str>,
    reference: Option<&'a str>,
    memo: Option<&'a str>,
    payment_terms: Option<&'a str>,
    due_in_days: u16,
    lines: Vec<LineBody<'a>>,
    #[schema(value_type = Vec<AllowanceInput>)]
    discounts: Vec<AllowanceBody<'a>>,
    #[schema(value_type = Vec<AllowanceInput>)]
    charges: Vec<AllowanceBody<'a>>,
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    metadata: &'a Metadata,
    totals: TotalsBody<'a>,
    payment: PaymentBody<'a>,
    document: DocumentBody<'a>,
    delivery: DeliveryBody<'a>,
    /// Effects under way.
    pending: Vec<PendingBody<'a>>,
    overdue: bool,
    /// The customer's page; none before the invoice is issued.
    page_url: Option<String>,
    #[schema(value_type = String)]
    created_at: At,
    #[schema(value_type = String)]
    updated_at: At,
    #[schema(value_type = Option<String>, example = "2026-11-21")]
    issued_on: Option<Date>,
    #[schema(value_type = Option<String>)]
    due_on: Option<Date>,
    #[schema(value_type = Option<String>)]
    finalized_at: Option<At>,
    #[schema(value_type = Option<String>)]
    paid_at: Option<At>,
    #[schema(value_type = Option<String>)]
    voided_at: Option<At>,
    #[schema(value_type = Option<String>)]
    marked_uncollectible_at: Option<At>,
    /// When the customer first opened the page.
    #[schema(value_type = Option<String>)]
    first_viewed_at: Option<At>,
}

/// A line with what it comes to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InvoiceLine)]
pub struct LineBody<'a> {
    /// The line's place, from 1.
    #[schema(value_type = String, example = "1")]
    id: Text<usize>,
    description: &'a str,
    product: Option<&'a str>,
    #[schema(value_type = String, example = "2.5")]
    quantity: Number,
    unit: Option<&'a str>,
    #[schema(value_type = String, example = "99.90")]
    unit_price: Amount,
    #[schema(value_type = Option<AllowanceInput>)]
    discount: Option<AllowanceBody<'a>>,
    #[schema(value_type = TaxInput)]
    tax: TaxBody<'a>,
    /// As priced: after its discount, with tax when prices include it.
    #[schema(value_type = Option<String>, example = "224.78")]
    amount: Option<Text<Money>>,
    /// Without tax.
    #[schema(value_type = Option<String>, example = "224.78")]
    net: Option<Text<Money>>,
}

#[derive(Debug, Serialize)]
struct TaxBody<'a> {
    category: TaxCategory,
    rate: Number,
    #[serde(skip_serializing_if = "Option::is_none")]
    exemption_reason: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct AllowanceBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// What the invoice comes to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Totals)]
pub struct TotalsBody<'a> {
    #[schema(value_type = String, example = "224.78")]
    lines_net: Text<Money>,
    #[schema(value_type = String, example = "5.00")]
    discount: Text<Money>,
    #[schema(value_type = String, example = "0.00")]
    charge: Text<Money>,
    #[schema(value_type = String, example = "219.78")]
    net: Text<Money>,
    taxes: Vec<TaxSubtotalBody<'a>>,
    #[schema(value_type = String, example = "41.76")]
    tax: Text<Money>,
    #[schema(value_type = String, example = "261.54")]
    total: Text<Money>,
    #[schema(value_type = String, example = "0.00")]
    paid: Text<Money>,
    #[schema(value_type = String, example = "261.54")]
    due: Text<Money>,
}

/// One row of the tax breakdown.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TaxSubtotal)]
pub struct TaxSubtotalBody<'a> {
    #[schema(value_type = String, example = "S")]
    category: TaxCategory,
    #[schema(value_type = String, example = "19")]
    rate: Number,
    #[schema(value_type = String, example = "219.78")]
    base: Text<Money>,
    #[schema(value_type = String, example = "41.76")]
    amount: Text<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exemption_reason: Option<&'a str>,
}

/// Money coming in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PaymentState)]
pub struct PaymentBody<'a> {
    /// unpaid, processing, `partially_paid`, paid, overpaid or refunded.
    #[schema(value_type = String, example = "unpaid")]
    status: PaymentStatus,
    /// The provider's page on which the customer pays, while money is due.
    url: Option<&'a str>,
    #[schema(example = "sandbox")]
    provider: Option<&'a str>,
    received: Vec<PaymentReceivedBody<'a>>,
    /// The last charge that ended without money.
    last_failure: Option<FailureBody<'a>>,
}

/// A payment that came in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PaymentReceived)]
pub struct PaymentReceivedBody<'a> {
    #[schema(value_type = String, example = "261.54")]
    amount: Text<Money>,
    #[schema(example = "bank_transfer")]
    method: &'a str,
    #[schema(value_type = String, example = "2026-11-21")]
    received_on: Date,
    #[schema(value_type = String)]
    recorded_at: At,
    reference: Option<&'a str>,
    provider: Option<&'a str>,
    /// The provider's id of the payment.
    provider_payment: Option<&'a str>,
}

/// Why a charge brought no money.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChargeFailure)]
pub struct FailureBody<'a> {
    #[schema(example = "card_declined")]
    code: &'a str,
    detail: &'a str,
    #[schema(value_type = String)]
    at: At,
}

/// The stored document.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DocumentState)]
pub struct DocumentBody<'a> {
    /// none, pending, ready or failed.
    #[schema(value_type = String, example = "ready")]
    status: DocumentStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pdf: Option<StoredBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xlsx: Option<StoredBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    csv: Option<StoredBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<StoredBody<'a>>,
}

/// A stored file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StoredFile)]
pub struct StoredBody<'a> {
    /// Lowercase hexadecimal.
    sha256: &'a str,
    bytes: u64,
}

/// The way to the customer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeliveryState)]
pub struct DeliveryBody<'a> {
    /// none, pending, sent or failed.
    #[schema(value_type = String, example = "sent")]
    status: DeliveryStatus,
    to: &'a [String],
    cc: &'a [String],
    #[schema(value_type = Option<String>)]
    sent_at: Option<At>,
    /// When a scheduled send will be done.
    #[schema(value_type = Option<String>)]
    scheduled_at: Option<At>,
    /// The mail's `Message-ID`.
    message_id: Option<&'a str>,
    /// Why a scheduled send could not be done.
    #[serde(skip_serializing_if = "<[Problem]>::is_empty")]
    #[schema(value_type = Vec<crate::http::error::FieldProblem>)]
    problems: &'a [Problem],
}

/// An effect under way.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PendingEffect)]
pub struct PendingBody<'a> {
    #[schema(value_type = String, example = "document")]
    kind: EffectKindName,
    /// Attempts that have failed.
    attempts: u32,
    /// None once parked.
    #[schema(value_type = Option<String>)]
    next_attempt_at: Option<At>,
    last_error: Option<EffectErrorBody<'a>>,
    /// Given up until `POST …/retry`.
    parked: bool,
}

/// Why an attempt failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EffectError)]
pub struct EffectErrorBody<'a> {
    #[schema(example = "provider_unavailable")]
    code: &'a str,
    detail: &'a str,
}

/// The address of the customer's page.
pub fn page_url(invoice: &Invoice, links: Links<'_>) -> String {
    format!("{}/i/{}", links.public_url, invoice.page_token())
}

/// The JSON of an invoice.
pub fn bytes(invoice: &Invoice, links: Links<'_>) -> Result<Bytes, ApiError> {
    to_json(&representation(invoice, links))
}

/// Writes the JSON of invoices, for a node whose pages are found below this address.
pub fn represent(public_url: &str) -> Arc<Represent> {
    let public_url = public_url.to_owned();
    Arc::new(move |invoice| {
        let links = Links {
            public_url: &public_url,
        };
        bytes(invoice, links)
            .map_err(|error| error.cause().unwrap_or_else(|| error.detail()).to_owned())
    })
}
