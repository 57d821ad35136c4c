//! The vocabulary of documents, mails and pages: one field per word or sentence.
//!
//! A field in braces, such as `{amount}`, is filled in by [`super::fill`]. A language that lacks a
//! word does not compile.

use serde::Serialize;

/// Singular and plural of a unit of measure.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Unit {
    pub one: &'static str,
    pub other: &'static str,
}

/// Everything that is said in one language.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Words {
    // The document's head
    pub invoice: &'static str,
    /// `{number}`.
    pub invoice_number: &'static str,
    pub draft_invoice: &'static str,
    pub number: &'static str,
    pub issued_on: &'static str,
    pub due_on: &'static str,
    pub purchase_order: &'static str,
    pub reference: &'static str,
    pub from: &'static str,
    pub bill_to: &'static str,
    pub ship_to: &'static str,
    /// The label of a tax id that starts with a country code.
    pub vat_id: &'static str,
    pub tax_id: &'static str,
    /// `{amount}`, `{date}`.
    pub headline_due: &'static str,
    /// `{amount}`, `{date}`.
    pub headline_overdue: &'static str,
    /// `{amount}`, `{date}`.
    pub headline_paid: &'static str,
    pub headline_void: &'static str,
    /// `{amount}`.
    pub headline_draft: &'static str,
    // Marks and status
    pub draft: &'static str,
    pub open: &'static str,
    pub paid: &'static str,
    pub void: &'static str,
    pub overdue: &'static str,
    pub uncollectible: &'static str,
    pub note_draft: &'static str,
    pub note_void: &'static str,
    pub note_sandbox: &'static str,
    // The lines
    pub description: &'static str,
    /// The caller's article number.
    pub product: &'static str,
    pub quantity: &'static str,
    pub unit: &'static str,
    pub unit_price: &'static str,
    pub tax: &'static str,
    pub amount: &'static str,
    pub discount: &'static str,
    pub charge: &'static str,
    pub prices_include_tax: &'static str,
    // The sums
    pub subtotal: &'static str,
    pub subtotal_without_tax: &'static str,
    pub net: &'static str,
    /// `{rate}`, `{base}`.
    pub tax_on: &'static str,
    pub total: &'static str,
    pub amount_paid: &'static str,
    pub amount_due: &'static str,
    pub tax_base: &'static str,
    pub tax_rate: &'static str,
    pub tax_category: &'static str,
    // Categories of tax, EN 16931
    pub zero_rated: &'static str,
    pub exempt: &'static str,
    pub reverse_charge: &'static str,
    pub intra_community: &'static str,
    pub export: &'static str,
    pub not_subject: &'static str,
    // Paying
    pub pay_online: &'static str,
    pub scan_to_pay: &'static str,
    pub scan_to_transfer: &'static str,
    pub bank_transfer: &'static str,
    pub account_holder: &'static str,
    pub payment_reference: &'static str,
    pub card: &'static str,
    pub cash: &'static str,
    pub terms: &'static str,
    pub memo: &'static str,
    pub details: &'static str,
    /// `{page}`, `{pages}`.
    pub page_of: &'static str,
    // Mail
    /// `{number}`, `{issuer}`.
    pub mail_subject: &'static str,
    pub mail_greeting: &'static str,
    /// `{number}`, `{amount}`, `{date}`.
    pub mail_due: &'static str,
    /// `{number}`, `{amount}`.
    pub mail_paid: &'static str,
    pub mail_view: &'static str,
    /// `{amount}`.
    pub mail_pay: &'static str,
    pub mail_closing: &'static str,
    /// `{number}`.
    pub upload_subject: &'static str,
    /// `{number}`.
    pub upload_text: &'static str,
    pub file_id: &'static str,
    pub download: &'static str,
    // The customer's page
    /// `{amount}`.
    pub pay: &'static str,
    pub download_pdf: &'static str,
    pub download_xlsx: &'static str,
    pub payments: &'static str,
    pub payment_processing: &'static str,
    pub payment_declined: &'static str,
    pub not_found: &'static str,
    pub not_found_text: &'static str,
    // Units of measure
    pub hour: Unit,
    pub day: Unit,
    pub month: Unit,
    pub piece: Unit,
}
