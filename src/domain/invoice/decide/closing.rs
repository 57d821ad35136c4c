//! Ending an invoice without money, and its customer's page.

use super::super::entry::Entry;
use super::super::{Invoice, Status, validate};
use super::{Decision, Refusal};

/// An issued invoice is never deleted; what was wrong is void, and its number stays used.
pub(super) fn void(invoice: &Invoice, reason: Option<&str>) -> Decision {
    match invoice.status() {
        Status::Open | Status::Uncollectible => {}
        Status::Draft => return Err(Refusal::DraftNotVoidable),
        Status::Finalizing => return Err(Refusal::Finalizing),
        Status::Paid => return Err(Refusal::AlreadyPaid),
        Status::Void => return Err(Refusal::AlreadyVoid),
        Status::Deleted => return Err(Refusal::NotFound),
    }
    if invoice.charge_in_flight().is_some() {
        return Err(Refusal::PaymentInProgress);
    }
    if !invoice.payment.received.is_empty() {
        return Err(Refusal::InvoiceHasPayments);
    }
    validate::reason(reason)?;
    Ok(vec![Entry::Voided {
        reason: reason.map(str::to_owned),
    }])
}

pub(super) fn mark_uncollectible(invoice: &Invoice, reason: Option<&str>) -> Decision {
    match invoice.status() {
        Status::Open => {}
        Status::Finalizing => return Err(Refusal::Finalizing),
        Status::Paid => return Err(Refusal::AlreadyPaid),
        Status::Void => return Err(Refusal::AlreadyVoid),
        status => return Err(Refusal::InvoiceNotOpen { status }),
    }
    validate::reason(reason)?;
    Ok(vec![Entry::MarkedUncollectible {
        reason: reason.map(str::to_owned),
    }])
}

/// Only the first look at an issued invoice is a fact worth keeping.
pub(super) fn view(invoice: &Invoice) -> Vec<Entry> {
    let first = invoice.first_viewed_at.is_none() && invoice.issued().is_some();
    if first { vec![Entry::Viewed] } else { vec![] }
}

pub(super) fn rotate_page_secret(invoice: &Invoice, page_secret: &str) -> Vec<Entry> {
    if invoice.page_secret == page_secret {
        return vec![];
    }
    vec![Entry::PageSecretRotated {
        page_secret: page_secret.to_owned(),
    }]
}
