//! What stands under the lines: subtotal, discounts, charges, tax, total, paid, due.

use crate::domain::invoice::{Allowance, AllowanceValue, Invoice};
use crate::domain::money::Money;
use crate::domain::party::Locale;
use crate::domain::tax::TaxCategory;
use crate::domain::totals::TaxSubtotal;
use crate::render::locale::{self, Words, fill, words};

use super::{SumView, SumWeight};

/// `Discount 10% (loyalty)`; several of a document as one: `Discount (loyalty, early)`.
pub(super) fn allowance_label(name: &str, allowances: &[Allowance], locale: Locale) -> String {
    let mut label = name.to_owned();
    if let [
        Allowance {
            value: AllowanceValue::Percent(percent),
            ..
        },
    ] = allowances
    {
        label.push(' ');
        label.push_str(&locale::percent(locale, *percent));
    }
    let reasons: Vec<&str> = allowances
        .iter()
        .filter_map(|allowance| allowance.reason.as_deref())
        .collect();
    if !reasons.is_empty() {
        label.push_str(" (");
        label.push_str(&reasons.join(", "));
        label.push(')');
    }
    label
}

pub(super) fn sums(invoice: &Invoice) -> Vec<SumView> {
    let (content, totals) = (&invoice.content, &invoice.totals);
    let locale = content.locale;
    let words = words(locale);
    let mut sums = Vec::with_capacity(totals.taxes.len() + 6);
    let mut add = |label: String, amount: Money, weight| {
        sums.push(SumView {
            label,
            amount: locale::money(locale, amount),
            weight,
        });
    };
    let subtotal = if content.prices_include_tax {
        words.subtotal_without_tax
    } else {
        words.subtotal
    };
    add(subtotal.to_owned(), totals.lines_net, SumWeight::Plain);
    if !content.discounts.is_empty() {
        let label = allowance_label(words.discount, &content.discounts, locale);
        let off = Money::new(-totals.discount.minor, totals.discount.currency);
        add(label, off, SumWeight::Plain);
    }
    if !content.charges.is_empty() {
        let label = allowance_label(words.charge, &content.charges, locale);
        add(label, totals.charge, SumWeight::Plain);
    }
    if !content.discounts.is_empty() || !content.charges.is_empty() {
        add(words.net.to_owned(), totals.net, SumWeight::Plain);
    }
    for tax in &totals.taxes {
        add(tax_label(tax, locale), tax.amount, SumWeight::Plain);
    }
    add(words.total.to_owned(), totals.total, SumWeight::Total);
    let paid = invoice.paid();
    if !paid.is_zero() {
        let paid = Money::new(-paid.minor, paid.currency);
        add(words.amount_paid.to_owned(), paid, SumWeight::Plain);
    }
    // A draft owes nothing yet: its total is its last figure.
    if invoice.issued().is_some() {
        add(words.amount_due.to_owned(), invoice.due(), SumWeight::Due);
    }
    sums
}

/// `Tax 19% on €219.78`; a category without tax by its name.
fn tax_label(tax: &TaxSubtotal, locale: Locale) -> String {
    let words = words(locale);
    let base = locale::money(locale, tax.base);
    match category_name(tax.category, words) {
        None => {
            let rate = locale::percent(locale, tax.rate);
            fill(words.tax_on, &[("rate", &rate), ("base", &base)])
        }
        Some(name) => format!("{name} ({base})"),
    }
}

/// The name of a category without tax.
pub(in crate::render) const fn category_name(
    category: TaxCategory,
    words: &Words,
) -> Option<&'static str> {
    match category {
        TaxCategory::S => None,
        TaxCategory::Z => Some(words.zero_rated),
        TaxCategory::E => Some(words.exempt),
        TaxCategory::AE => Some(words.reverse_charge),
        TaxCategory::K => Some(words.intra_community),
        TaxCategory::G => Some(words.export),
        TaxCategory::O => Some(words.not_subject),
    }
}
