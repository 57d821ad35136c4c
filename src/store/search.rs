//! What a search looks into: one rule for every store.

use crate::domain::invoice::Invoice;
use crate::domain::party::Customer;

/// Number, customer's name, purchase order and reference.
pub(super) fn invoice_search(invoice: &Invoice) -> String {
    let content = &invoice.content;
    search_text([
        invoice.issued().map(|issued| issued.number.as_str()),
        Some(content.bill_to.name.as_str()),
        content.purchase_order.as_deref(),
        content.reference.as_deref(),
    ])
}

/// Name and e-mail address.
pub(super) fn customer_search(customer: &Customer) -> String {
    search_text([
        Some(customer.party.name.as_str()),
        customer.party.email.as_deref(),
    ])
}

/// One part per line, in lower case.
fn search_text<'a>(parts: impl IntoIterator<Item = Option<&'a str>>) -> String {
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    parts.join("\n").to_lowercase()
}
