//! An invoice as it is read: every figure and label written out once, in its language.

use serde::Serialize;

use super::RenderContext;
use super::locale::{self, Words, fill, words};
use crate::domain::invoice::{Invoice, Line, Payment, State, Status};
use crate::domain::money::Money;
use crate::domain::party::{Locale, PageSize};
use crate::domain::totals::{LineTotals, TaxSubtotal};

mod bank;
mod party;
mod sums;

pub use bank::BankView;
use party::{issuer_view, party_view, small_print};
pub(super) use sums::category_name;
use sums::{allowance_label, sums};

/// What kind of document this is, beyond an invoice to be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    Draft,
    Open,
    Overdue,
    Paid,
    Void,
    Uncollectible,
}

/// A label and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    pub label: &'static str,
    pub value: String,
}

/// A name and the lines under it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PartyView {
    pub name: String,
    pub lines: Vec<String>,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineView {
    pub description: String,
    pub product: Option<String>,
    /// With its unit: `2.5 hours`.
    pub quantity: String,
    pub unit_price: String,
    /// The rate, or the name of the category when its rate is zero.
    pub tax: String,
    /// `Discount 10% (loyalty): -€24.98`.
    pub discount: Option<String>,
    /// As priced: with tax when prices include it.
    pub amount: String,
}

/// How much a sum stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SumWeight {
    Plain,
    Total,
    Due,
}

/// One row under the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SumView {
    pub label: String,
    pub amount: String,
    pub weight: SumWeight,
}

/// One payment that came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PaymentView {
    pub date: String,
    pub method: String,
    pub reference: Option<String>,
    pub amount: String,
}

/// A heading and the text under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NoteView {
    pub label: &'static str,
    pub text: String,
}

/// Everything a document, mail or page shows of an invoice.
#[derive(Debug, Clone, Serialize)]
pub struct DocumentView {
    #[serde(skip)]
    pub locale: Locale,
    /// `en`.
    pub language: &'static str,
    /// `w` in templates.
    #[serde(rename = "w")]
    pub words: &'static Words,
    #[serde(skip)]
    pub page_size: PageSize,
    /// `Invoice 2026-0001`, or `Draft invoice`.
    pub title: String,
    pub number: Option<String>,
    pub mark: Mark,
    /// The mark in words.
    pub mark_label: &'static str,
    pub sandbox: bool,
    /// What is due and when, what was paid and when, or that nothing is to be paid.
    pub headline: String,
    pub facts: Vec<Fact>,
    pub issuer: PartyView,
    /// What stands at the foot of every page: register entry, tax id.
    pub issuer_small_print: Vec<String>,
    pub bill_to: PartyView,
    pub ship_to: Option<PartyView>,
    pub lines: Vec<LineView>,
    /// Said under the lines.
    pub prices_include_tax: bool,
    pub sums: Vec<SumView>,
    /// Why no tax is due, one sentence each.
    pub exemptions: Vec<String>,
    /// Payment terms, memo.
    pub notes: Vec<NoteView>,
    /// Sentences that must not be missed: draft, void, sandbox.
    pub warnings: Vec<&'static str>,
    pub payments: Vec<PaymentView>,
    pub total: String,
    pub paid: String,
    pub due: String,
    /// Whether money is still to come.
    pub is_due: bool,
    pub due_on: Option<String>,
    /// The customer's page, once the invoice is issued.
    pub page_url: Option<String>,
    pub bank: Option<BankView>,
}

impl DocumentView {
    /// Writes out `invoice` in its own language.
    pub fn of(invoice: &Invoice, context: &RenderContext) -> Self {
        let said = &invoice.content;
        let locale = said.locale;
        let words = words(locale);
        let issued = invoice.issued();
        let mark = mark_of(invoice);
        let due = invoice.due();
        // A draft owes nothing yet, and nobody is asked for money that was written off.
        let is_due = due.is_positive() && matches!(invoice.state, State::Open { .. });
        let title = issued.map_or_else(
            || words.draft_invoice.to_owned(),
            |issued| fill(words.invoice_number, &[("number", &issued.number)]),
        );
        Self {
            locale,
            language: locale.code(),
            words,
            page_size: said.page_size,
            title,
            number: issued.map(|issued| issued.number.clone()),
            mark,
            mark_label: mark_label(mark, words),
            sandbox: context.sandbox,
            headline: headline(invoice, mark),
            facts: facts(invoice, words),
            issuer: issuer_view(&said.issuer, locale),
            issuer_small_print: small_print(&said.issuer, words),
            bill_to: party_view(&said.bill_to, locale),
            ship_to: said.ship_to.as_ref().map(|party| party_view(party, locale)),
            lines: std::iter::zip(&said.lines, &invoice.totals.lines)
                .map(|(line, totals)| line_view(line, totals, locale))
                .collect(),
            prices_include_tax: said.prices_include_tax,
            sums: sums(invoice),
            exemptions: exemptions(&invoice.totals.taxes, words),
            notes: notes(invoice, words),
            warnings: warnings(mark, context.sandbox, words),
            payments: invoice
                .payment
                .received
                .iter()
                .map(|payment| payment_view(payment, locale))
                .collect(),
            total: locale::money(locale, invoice.totals.total),
            paid: locale::money(locale, invoice.paid()),
            due: locale::money(locale, due),
            is_due,
            due_on: issued.map(|issued| locale::date(locale, issued.due_on)),
            page_url: issued
                .and(context.public_url.as_ref())
                .map(|url| format!("{}/i/{}", url.trim_end_matches('/'), invoice.page_token())),
            bank: bank::view(invoice, is_due),
        }
    }
}

fn mark_of(invoice: &Invoice) -> Mark {
    match invoice.status() {
        Status::Draft | Status::Finalizing | Status::Deleted => Mark::Draft,
        Status::Open if invoice.is_overdue() => Mark::Overdue,
        Status::Open => Mark::Open,
        Status::Paid => Mark::Paid,
        Status::Void => Mark::Void,
        Status::Uncollectible => Mark::Uncollectible,
    }
}

const fn mark_label(mark: Mark, words: &Words) -> &'static str {
    match mark {
        Mark::Draft => words.draft,
        Mark::Open => words.open,
        Mark::Overdue => words.overdue,
        Mark::Paid => words.paid,
        Mark::Void => words.void,
        Mark::Uncollectible => words.uncollectible,
    }
}

fn headline(invoice: &Invoice, mark: Mark) -> String {
    let locale = invoice.content.locale;
    let words = words(locale);
    let total = locale::money(locale, invoice.totals.total);
    let due = locale::money(locale, invoice.due());
    let due_on = invoice
        .issued()
        .map(|issued| locale::date(locale, issued.due_on));
    let due_on = due_on.as_deref().unwrap_or_default();
    match (&invoice.state, mark) {
        (State::Void { .. }, _) => words.headline_void.to_owned(),
        (State::Paid { paid_at, .. }, _) => {
            let day = paid_at.to_zoned(jiff::tz::TimeZone::UTC).date();
            let day = locale::date(locale, day);
            fill(words.headline_paid, &[("amount", &total), ("date", &day)])
        }
        (_, Mark::Draft) => fill(words.headline_draft, &[("amount", &total)]),
        (_, Mark::Overdue) => fill(
            words.headline_overdue,
            &[("amount", &due), ("date", due_on)],
        ),
        _ => fill(words.headline_due, &[("amount", &due), ("date", due_on)]),
    }
}

fn facts(invoice: &Invoice, words: &'static Words) -> Vec<Fact> {
    let content = &invoice.content;
    let mut facts = Vec::with_capacity(5);
    let mut add = |label, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.trim().is_empty()) {
            facts.push(Fact { label, value });
        }
    };
    if let Some(issued) = invoice.issued() {
        add(words.number, Some(issued.number.clone()));
        add(
            words.issued_on,
            Some(locale::date(content.locale, issued.issued_on)),
        );
        add(
            words.due_on,
            Some(locale::date(content.locale, issued.due_on)),
        );
    } else {
        add(words.number, Some(words.draft.to_owned()));
    }
    add(words.purchase_order, content.purchase_order.clone());
    add(words.reference, content.reference.clone());
    facts
}

fn line_view(line: &Line, totals: &LineTotals, locale: Locale) -> LineView {
    let currency = totals.amount.currency;
    let discount = line.discount.as_ref().map(|discount| {
        let off = totals.amount.checked_sub(totals.before_discount);
        let off = off.unwrap_or(Money::zero(currency));
        let label = allowance_label(
            words(locale).discount,
            std::slice::from_ref(discount),
            locale,
        );
        format!("{label}: {}", locale::money(locale, off))
    });
    LineView {
        description: line.description.clone(),
        product: line.product.clone(),
        quantity: locale::quantity(locale, line.quantity, line.unit.as_deref()),
        unit_price: locale::unit_price(locale, line.unit_price, currency),
        tax: locale::percent(locale, line.tax.rate),
        discount,
        amount: locale::money(locale, totals.amount),
    }
}

/// Each reason once, in the order of the breakdown; a default one in the document's language.
fn exemptions(taxes: &[TaxSubtotal], words: &Words) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    for tax in taxes
        .iter()
        .filter(|tax| tax.category.needs_exemption_reason())
    {
        let given = tax.exemption_reason.as_deref();
        let name = category_name(tax.category, words).unwrap_or_default();
        let is_default = given.is_none() || given == tax.category.default_exemption_reason();
        let reason = if is_default {
            name
        } else {
            given.unwrap_or(name)
        };
        if !reason.is_empty() && !reasons.iter().any(|known| known == reason) {
            reasons.push(reason.to_owned());
        }
    }
    reasons
}

fn notes(invoice: &Invoice, words: &'static Words) -> Vec<NoteView> {
    let content = &invoice.content;
    [
        (words.terms, &content.payment_terms),
        (words.memo, &content.memo),
    ]
    .into_iter()
    .filter_map(|(label, text)| Some((label, text.as_ref()?.trim())))
    .filter(|(_, text)| !text.is_empty())
    .map(|(label, text)| NoteView {
        label,
        text: text.to_owned(),
    })
    .collect()
}

fn warnings(mark: Mark, sandbox: bool, words: &Words) -> Vec<&'static str> {
    let by_mark = match mark {
        Mark::Draft => Some(words.note_draft),
        Mark::Void => Some(words.note_void),
        Mark::Open | Mark::Overdue | Mark::Paid | Mark::Uncollectible => None,
    };
    by_mark
        .into_iter()
        .chain(sandbox.then_some(words.note_sandbox))
        .collect()
}

fn payment_view(payment: &Payment, locale: Locale) -> PaymentView {
    let words = words(locale);
    let method = match payment.method.as_str() {
        "bank_transfer" => words.bank_transfer.to_owned(),
        "card" => words.card.to_owned(),
        "cash" => words.cash.to_owned(),
        other => other.replace('_', " "),
    };
    PaymentView {
        date: locale::date(locale, payment.received_on),
        method,
        reference: payment.reference.clone(),
        amount: locale::money(locale, payment.amount),
    }
}
