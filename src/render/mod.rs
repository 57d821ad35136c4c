//! Documents, mails and pages as pure functions of an invoice.
//!
//! An invoice is turned into one [`view::DocumentView`], in which every figure and label is written
//! out once in the invoice's language; PDF, mail and page show that text, and the spreadsheets show
//! the same stored totals as numbers. Nothing here computes money.

pub mod locale;
pub mod pdf;
pub mod view;

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

/// Renders a document of an invoice.
pub fn document(
    invoice: &crate::domain::invoice::Invoice,
    format: crate::domain::invoice::DocumentFormat,
    context: &RenderContext,
) -> Result<Vec<u8>, RenderError> {
    let _ = (invoice, format, context);
    Err(RenderError::Failed {
        reason: "not merged yet".to_owned(),
    })
}

pub fn media_type(format: crate::domain::invoice::DocumentFormat) -> &'static str {
    let _ = format;
    "application/pdf"
}

pub fn file_name(
    invoice: &crate::domain::invoice::Invoice,
    format: crate::domain::invoice::DocumentFormat,
) -> String {
    let _ = (invoice, format);
    String::new()
}

pub mod mail {
    use super::{RenderContext, RenderError};
    use crate::domain::invoice::Invoice;
    use crate::domain::invoice::command::SendOrder;

    #[derive(Debug, Clone)]
    pub struct MailContent {
        pub subject: String,
        pub text: String,
        pub html: String,
    }

    pub fn invoice_mail(
        invoice: &Invoice,
        order: &SendOrder,
        payment_url: Option<&str>,
        context: &RenderContext,
    ) -> Result<MailContent, RenderError> {
        let _ = (invoice, order, payment_url, context);
        Err(RenderError::Failed {
            reason: "not merged yet".to_owned(),
        })
    }

    pub fn upload_notice(
        invoice: &Invoice,
        context: &RenderContext,
    ) -> Result<MailContent, RenderError> {
        let _ = (invoice, context);
        Err(RenderError::Failed {
            reason: "not merged yet".to_owned(),
        })
    }
}

pub mod page {
    use super::{RenderContext, RenderError};
    use crate::domain::invoice::Invoice;

    /// The customer's page.
    pub fn invoice_page(
        invoice: &Invoice,
        context: &RenderContext,
    ) -> Result<String, RenderError> {
        let _ = (invoice, context);
        Err(RenderError::Failed {
            reason: "not merged yet".to_owned(),
        })
    }

    /// For an address that leads nowhere.
    pub fn missing_page() -> String {
        String::new()
    }
}
