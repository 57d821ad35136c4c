//! The invoice as a table of values: what CSV and XLSX both write, so that neither has figures of
//! its own.

use jiff::civil::Date;
use rust_decimal::Decimal;

use super::locale::{self, Words, words};
use super::view::{DocumentView, SumWeight, category_name};
use crate::domain::invoice::{AllowanceValue, Invoice, Line};
use crate::domain::money::Money;
use crate::domain::totals::LineTotals;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    /// May have more decimals than the currency.
    Price,
    Money,
}

/// A column of the lines.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) label: String,
    pub(super) kind: Kind,
    /// Characters.
    pub(super) width: f64,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    Empty,
    Text(String),
    Number(Decimal),
    Date(Date),
}

/// How a sum follows from the cells above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The sum of the lines' last column.
    Lines,
    /// A figure of its own: a discount, a charge, tax, what was paid.
    Given,
    /// The sum of the sums above, from the subtotal on, but for other sums of sums.
    SumsAbove,
    /// What is left to pay: never less than nothing.
    Due,
}

/// One row under the lines.
#[derive(Debug, Clone)]
pub(super) struct SumRow {
    pub(super) label: String,
    pub(super) amount: Money,
    pub(super) origin: Origin,
    pub(super) weight: SumWeight,
}

/// A label with its value, beside the lines.
pub(super) type Detail = (String, Cell);

/// The whole table.
pub(super) struct Sheet {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
    pub(super) sums: Vec<SumRow>,
    /// Sentences that must not be missed: draft, void, sandbox.
    pub(super) warnings: Vec<&'static str>,
    pub(super) details: Vec<Detail>,
}

impl Sheet {
    pub(super) fn of(invoice: &Invoice, view: &DocumentView) -> Self {
        let rows = std::iter::zip(&invoice.content.lines, &invoice.totals.lines)
            .enumerate()
            .map(|(at, (line, totals))| row(at + 1, line, totals, invoice))
            .collect();
        Self {
            columns: columns(invoice, view.words),
            rows,
            sums: sums(invoice, view.words),
            warnings: view.warnings.clone(),
            details: details(invoice, view),
        }
    }
}

fn columns(invoice: &Invoice, words: &Words) -> Vec<Column> {
    let code = invoice.currency();
    let column = |label: &str, kind, width| Column {
        label: label.to_owned(),
        kind,
        width,
    };
    let money = |label: &str, kind| column(&format!("{label} ({code})"), kind, 18.0);
    let mut columns = vec![
        column("#", Kind::Number, 5.0),
        column(words.description, Kind::Text, 48.0),
        column(words.product, Kind::Text, 14.0),
        column(words.quantity, Kind::Number, 11.0),
        column(words.unit, Kind::Text, 11.0),
        money(words.unit_price, Kind::Price),
        money(words.discount, Kind::Money),
        column(words.tax_category, Kind::Text, 12.0),
        column(&format!("{} (%)", words.tax_rate), Kind::Number, 12.0),
        money(words.amount, Kind::Money),
    ];
    if invoice.content.prices_include_tax {
        columns.push(money(words.subtotal_without_tax, Kind::Money));
    }
    columns
}

fn row(position: usize, line: &Line, totals: &LineTotals, invoice: &Invoice) -> Vec<Cell> {
    let text = |text: &Option<String>| text.clone().map_or(Cell::Empty, Cell::Text);
    let money = |money: Money| Cell::Number(money.to_decimal());
    let off = totals.amount.checked_sub(totals.before_discount);
    let mut row = vec![
        Cell::Number(Decimal::from(position)),
        Cell::Text(line.description.clone()),
        text(&line.product),
        Cell::Number(line.quantity.normalize()),
        line.unit.as_deref().map_or(Cell::Empty, |unit| {
            let unit = locale::unit_name(invoice.content.locale, unit, line.quantity);
            Cell::Text(unit.to_owned())
        }),
        Cell::Number(line.unit_price.normalize()),
        line.discount
            .as_ref()
            .and(off.ok())
            .map_or(Cell::Empty, money),
        Cell::Text(line.tax.category.code().to_owned()),
        Cell::Number(line.tax.rate.normalize()),
        money(totals.amount),
    ];
    if invoice.content.prices_include_tax {
        row.push(money(totals.net));
    }
    row
}

fn sums(invoice: &Invoice, words: &Words) -> Vec<SumRow> {
    let (content, totals) = (&invoice.content, &invoice.totals);
    let locale = content.locale;
    let mut sums = Vec::new();
    let mut add = |label: String, amount, origin, weight| {
        sums.push(SumRow {
            label,
            amount,
            origin,
            weight,
        });
    };
    let negative = |money: Money| Money::new(-money.minor, money.currency);
    let plain = SumWeight::Plain;
    let subtotal = if content.prices_include_tax {
        words.subtotal_without_tax
    } else {
        words.subtotal
    };
    add(subtotal.to_owned(), totals.lines_net, Origin::Lines, plain);
    if !content.discounts.is_empty() {
        add(
            words.discount.to_owned(),
            negative(totals.discount),
            Origin::Given,
            plain,
        );
    }
    if !content.charges.is_empty() {
        add(words.charge.to_owned(), totals.charge, Origin::Given, plain);
    }
    if !content.discounts.is_empty() || !content.charges.is_empty() {
        add(words.net.to_owned(), totals.net, Origin::SumsAbove, plain);
    }
    for tax in &totals.taxes {
        let name = category_name(tax.category, words).unwrap_or(words.tax);
        let rate = locale::percent(locale, tax.rate);
        add(format!("{name} {rate}"), tax.amount, Origin::Given, plain);
    }
    add(
        words.total.to_owned(),
        totals.total,
        Origin::SumsAbove,
        SumWeight::Total,
    );
    if invoice.issued().is_some() {
        let paid = negative(invoice.paid());
        add(words.amount_paid.to_owned(), paid, Origin::Given, plain);
        // Void invoices owe nothing, whatever their total says.
        let origin = match invoice.state {
            crate::domain::invoice::State::Void { .. } => Origin::Given,
            _ => Origin::Due,
        };
        add(
            words.amount_due.to_owned(),
            invoice.due(),
            origin,
            SumWeight::Due,
        );
    }
    sums
}

/// Everything beside the lines, in the order of the PDF.
fn details(invoice: &Invoice, view: &DocumentView) -> Vec<Detail> {
    let content = &invoice.content;
    let words = words(content.locale);
    let mut details: Vec<Detail> = Vec::new();
    let mut add = |label: &str, value: Cell| {
        if !matches!(&value, Cell::Text(text) if text.trim().is_empty()) && value != Cell::Empty {
            details.push((label.to_owned(), value));
        }
    };
    let text = |text: &str| Cell::Text(text.to_owned());
    let party = |party: &super::view::PartyView| {
        let lines = std::iter::once(party.name.as_str());
        let lines: Vec<&str> = lines
            .chain(party.lines.iter().map(String::as_str))
            .collect();
        Cell::Text(lines.join("\n"))
    };
    add(
        words.number,
        text(view.number.as_deref().unwrap_or(words.draft)),
    );
    if let Some(issued) = invoice.issued() {
        add(words.issued_on, Cell::Date(issued.issued_on));
        add(words.due_on, Cell::Date(issued.due_on));
    }
    add(
        words.purchase_order,
        text(content.purchase_order.as_deref().unwrap_or_default()),
    );
    add(
        words.reference,
        text(content.reference.as_deref().unwrap_or_default()),
    );
    add(words.from, party(&view.issuer));
    add(words.bill_to, party(&view.bill_to));
    if let Some(ship_to) = &view.ship_to {
        add(words.ship_to, party(ship_to));
    }
    for tax in &invoice.totals.taxes {
        let name = category_name(tax.category, words).unwrap_or(words.tax);
        let rate = locale::percent(content.locale, tax.rate);
        let label = format!("{}: {name} {rate}", words.tax_base);
        add(&label, Cell::Number(tax.base.to_decimal()));
    }
    for discount in &content.discounts {
        let value = match discount.value {
            AllowanceValue::Percent(percent) => locale::percent(content.locale, percent),
            AllowanceValue::Amount(amount) => {
                locale::unit_price(content.locale, amount, content.currency)
            }
        };
        let reason = discount.reason.as_deref().unwrap_or_default();
        add(
            words.discount,
            Cell::Text(format!("{value} {reason}").trim().to_owned()),
        );
    }
    for reason in &view.exemptions {
        add(words.tax, text(reason));
    }
    for payment in &invoice.payment.received {
        add(words.payments, Cell::Date(payment.received_on));
        add(words.amount_paid, Cell::Number(payment.amount.to_decimal()));
    }
    for fact in view.bank.iter().flat_map(|bank| &bank.facts) {
        add(fact.label, text(&fact.value));
    }
    for note in &view.notes {
        add(note.label, text(&note.text));
    }
    add(
        words.pay_online,
        text(view.page_url.as_deref().unwrap_or_default()),
    );
    details
}
