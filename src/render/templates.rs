//! The Handlebars templates of mails and pages, compiled in and read once, when first used.

use std::sync::LazyLock;

use handlebars::{Handlebars, no_escape};
use serde::Serialize;

use super::RenderError;

/// A template by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Template {
    InvoiceMailText,
    InvoiceMailHtml,
    UploadNoticeText,
    UploadNoticeHtml,
    InvoicePage,
    NotFoundPage,
    CheckoutPage,
    SetupPage,
}

impl Template {
    const ALL: [Self; 8] = [
        Self::InvoiceMailText,
        Self::InvoiceMailHtml,
        Self::UploadNoticeText,
        Self::UploadNoticeHtml,
        Self::InvoicePage,
        Self::NotFoundPage,
        Self::CheckoutPage,
        Self::SetupPage,
    ];

    /// Its name and text. A name that ends with `.txt` is not escaped, everything else is HTML.
    const fn source(self) -> (&'static str, &'static str) {
        match self {
            Self::InvoiceMailText => (
                "invoice_mail.txt",
                include_str!("../../assets/templates/invoice_mail.txt.hbs"),
            ),
            Self::InvoiceMailHtml => (
                "invoice_mail.html",
                include_str!("../../assets/templates/invoice_mail.html.hbs"),
            ),
            Self::UploadNoticeText => (
                "upload_notice.txt",
                include_str!("../../assets/templates/upload_notice.txt.hbs"),
            ),
            Self::UploadNoticeHtml => (
                "upload_notice.html",
                include_str!("../../assets/templates/upload_notice.html.hbs"),
            ),
            Self::InvoicePage => (
                "invoice_page.html",
                include_str!("../../assets/templates/invoice_page.html.hbs"),
            ),
            Self::NotFoundPage => (
                "not_found.html",
                include_str!("../../assets/templates/not_found.html.hbs"),
            ),
            Self::CheckoutPage => (
                "checkout.html",
                include_str!("../../assets/templates/checkout.html.hbs"),
            ),
            Self::SetupPage => (
                "setup.html",
                include_str!("../../assets/templates/setup.html.hbs"),
            ),
        }
    }

    const fn is_text(self) -> bool {
        matches!(self, Self::InvoiceMailText | Self::UploadNoticeText)
    }
}

struct Registries {
    html: Handlebars<'static>,
    text: Handlebars<'static>,
}

static REGISTRIES: LazyLock<Result<Registries, RenderError>> = LazyLock::new(|| {
    let mut html = Handlebars::new();
    html.set_strict_mode(true);
    let mut text = Handlebars::new();
    text.set_strict_mode(true);
    text.register_escape_fn(no_escape);
    for template in Template::ALL {
        let (name, source) = template.source();
        let registry = if template.is_text() {
            &mut text
        } else {
            &mut html
        };
        registry
            .register_template_string(name, source)
            .map_err(|error| RenderError::Failed {
                reason: error.to_string(),
            })?;
    }
    Ok(Registries { html, text })
});

/// Fills in a template. A name in it that `values` lacks is an error, never an empty place.
pub(super) fn render(template: Template, values: &impl Serialize) -> Result<String, RenderError> {
    let registries = REGISTRIES.as_ref().map_err(Clone::clone)?;
    let registry = if template.is_text() {
        &registries.text
    } else {
        &registries.html
    };
    registry
        .render(template.source().0, values)
        .map_err(|error| RenderError::Failed {
            reason: error.to_string(),
        })
}
