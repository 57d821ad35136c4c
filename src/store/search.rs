//! What a search looks into: one rule for every store.

use crate::domain::invoice::Invoice;

/// Number, customer's name, purchase order and reference: one per line, in lower case.
pub(crate) fn search_text(invoice: &Invoice) -> String {
    let content = &invoice.content;
    let parts = [
        invoice.issued().map(|issued| issued.number.as_str()),
        Some(content.bill_to.name.as_str()),
        content.purchase_order.as_deref(),
        content.reference.as_deref(),
    ];
    let lines: Vec<_> = parts.into_iter().flatten().collect();
    lines.join("\n").to_lowercase()
}
