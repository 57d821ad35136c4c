//! Documents, mails and pages as pure functions of an invoice.
//!
//! An invoice is turned into one [`view::DocumentView`], in which every figure and label is written
//! out once in the invoice's language; PDF, mail and page show that text, and the spreadsheets show
//! the same stored totals as numbers. Nothing here computes money.

pub mod csv;
pub mod locale;
pub mod mail;
pub mod page;
pub mod pdf;
mod placeholders;
mod sheet;
mod templates;
pub mod view;
pub mod xlsx;

use crate::domain::invoice::{DocumentFormat, Invoice};

/// What a document needs to know beside the invoice.
#[derive(Debug, Clone, Default)]
pub struct RenderContext {
    /// The public address of this installation, without a trailing slash; the customer's page is
    /// `{public_url}/i/{token}`. `None`: no link and no QR code for it.
    pub public_url: Option<String>,
    /// Payments are played, not made: every page and document says SANDBOX.
    pub sandbox: bool,
    /// The issuer's logo as PNG.
    pub logo_png: Option<std::sync::Arc<Vec<u8>>>,
}

/// Why a document could not be made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RenderError {
    #[error("the logo is not a PNG image that can be read: {reason}")]
    BadLogo { reason: String },
    #[error("the document could not be made: {reason}")]
    Failed { reason: String },
}

/// Renders an invoice as it is. The same invoice and context always give the same bytes.
///
/// [`DocumentFormat::Json`] is the API's own representation and made at the edge.
pub fn document(
    invoice: &Invoice,
    format: DocumentFormat,
    context: &RenderContext,
) -> Result<Vec<u8>, RenderError> {
    match format {
        DocumentFormat::Pdf => pdf::document(invoice, context),
        DocumentFormat::Xlsx => xlsx::document(invoice, context),
        DocumentFormat::Csv => csv::document(invoice, context),
        DocumentFormat::Json => Err(RenderError::Failed {
            reason: "JSON is the API's representation, not a rendered document".to_owned(),
        }),
    }
}

/// The media type of a format.
pub const fn media_type(format: DocumentFormat) -> &'static str {
    match format {
        DocumentFormat::Pdf => "application/pdf",
        DocumentFormat::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        DocumentFormat::Csv => "text/csv; charset=utf-8",
        DocumentFormat::Json => "application/json",
    }
}

/// A name for the document's file: `invoice-2026-0001.pdf`, only letters, digits, `-`, `_` and `.`
/// of ASCII, so that it can stand in any header and on any file system.
pub fn file_name(invoice: &Invoice, format: DocumentFormat) -> String {
    const STEM_MAX: usize = 80;
    let extension = format.extension();
    let stem = match invoice.issued() {
        Some(issued) => format!("invoice-{}", issued.number),
        None => format!("draft-{}", invoice.id),
    };
    let safe: String = stem
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
                c
            } else {
                '-'
            }
        })
        .take(STEM_MAX)
        .collect();
    // Neither `..` nor a dot at an end means anything in a path.
    let safe = safe.replace("..", "-");
    format!("{}.{extension}", safe.trim_matches(['-', '.']))
}
