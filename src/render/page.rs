//! Pages made on the server: they need no script, load nothing, and work on a phone.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::locale::{self, fill, words};
use super::templates::{Template, render};
use super::view::{DocumentView, Fact, Mark};
use super::{RenderContext, RenderError};
use crate::domain::invoice::{Invoice, PaymentStatus};
use crate::domain::money::Money;
use crate::domain::party::Locale;
use crate::domain::problem::Problem;

/// The style of all pages.
const STYLE: &str = include_str!("../../assets/templates/page.css");

/// The largest logo that is written into a page, in bytes.
const LOGO_MAX_BYTES: usize = 256 * 1024;

/// What the browser may do on these pages, for the header `Content-Security-Policy`: show them, in
/// their own style, and post their forms. Where a form's answer redirects to is the server's to
/// decide (a payment provider's page), so `form-action` is left open to HTTPS.
pub fn content_security_policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let style = STANDARD.encode(Sha256::digest(STYLE));
        format!(
            "default-src 'none'; style-src 'sha256-{style}'; img-src data:; \
             form-action 'self' https:; base-uri 'none'; frame-ancestors 'none'"
        )
    });
    &POLICY
}

#[derive(Serialize)]
struct InvoicePage<'a> {
    v: &'a DocumentView,
    style: &'static str,
    /// As a `data:` address.
    logo: Option<String>,
    /// The path of this page.
    page: String,
    /// The button's label, when there is something to pay.
    pay: Option<String>,
    processing: bool,
    declined: bool,
    /// What must not be missed, but for the sandbox's banner.
    note: Option<&'static str>,
    bank: &'a [Fact],
}

/// The customer's page, at `/i/{token}`. Its links are `document.pdf`, `document.xlsx` and, by POST,
/// `pay` under that path.
pub fn invoice_page(invoice: &Invoice, context: &RenderContext) -> Result<String, RenderError> {
    let view = DocumentView::of(invoice, context);
    let words = view.words;
    let processing = invoice.payment_status() == PaymentStatus::Processing;
    let can_pay = view.is_due && !processing;
    let page = InvoicePage {
        style: STYLE,
        logo: context
            .logo_png
            .as_deref()
            .filter(|png| png.len() <= LOGO_MAX_BYTES)
            .map(|png| format!("data:image/png;base64,{}", STANDARD.encode(png))),
        page: format!("/i/{}", invoice.page_token()),
        pay: can_pay.then(|| fill(words.pay, &[("amount", &view.due)])),
        processing,
        declined: can_pay && invoice.payment.last_failure.is_some(),
        note: match view.mark {
            Mark::Draft => Some(words.note_draft),
            Mark::Void => Some(words.note_void),
            Mark::Open | Mark::Overdue | Mark::Paid | Mark::Uncollectible => None,
        },
        bank: view
            .bank
            .as_ref()
            .filter(|_| view.is_due)
            .map_or(&[], |bank| &bank.facts),
        v: &view,
    };
    render(Template::InvoicePage, &page)
}

#[derive(Serialize)]
struct Notice<'a> {
    style: &'static str,
    language: &'a str,
    title: &'a str,
    text: &'a str,
}

/// What a wrong or revoked address of a customer's page shows.
pub fn not_found_page(locale: Locale) -> String {
    let words = words(locale);
    notice_page(locale, words.not_found, words.not_found_text)
}

/// [`not_found_page`] when nothing is known of the reader.
pub fn missing_page() -> String {
    not_found_page(Locale::En)
}

/// A page with a heading and a sentence.
pub fn notice_page(locale: Locale, title: &str, text: &str) -> String {
    let notice = Notice {
        style: STYLE,
        language: locale.code(),
        title,
        text,
    };
    // The template and its four values are fixed: it can't fail. Should it all the same, the words
    // alone are a page, too.
    render(Template::NotFoundPage, &notice)
        .unwrap_or_else(|_| handlebars::html_escape(&format!("{title}\n\n{text}")))
}

/// A way to pay in the sandbox.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SandboxMethod<'a> {
    /// Such as `pm_ok`; posted as `payment_method`.
    pub id: &'a str,
    pub label: &'a str,
}

/// What the sandbox provider's checkout page shows.
#[derive(Debug, Clone)]
pub struct SandboxCheckout<'a> {
    pub amount: Money,
    pub description: &'a str,
    /// Where the form is posted to.
    pub pay_url: &'a str,
    /// Back to the invoice.
    pub return_url: &'a str,
    pub methods: &'a [SandboxMethod<'a>],
    /// Why the last attempt brought no money.
    pub problem: Option<&'a str>,
    /// Why nothing can be paid here any more, as a sentence; `None` while it can.
    pub closed: Option<&'a str>,
}

#[derive(Serialize)]
struct CheckoutPage<'a> {
    style: &'static str,
    language: &'static str,
    amount: String,
    description: &'a str,
    pay_url: &'a str,
    return_url: &'a str,
    methods: &'a [SandboxMethod<'a>],
    problem: Option<&'a str>,
    open: bool,
    closed: &'a str,
}

/// The sandbox provider's checkout page. A page for people who try Faktor, so only in English.
pub fn sandbox_checkout_page(checkout: &SandboxCheckout<'_>) -> Result<String, RenderError> {
    let page = CheckoutPage {
        style: STYLE,
        language: Locale::En.code(),
        amount: locale::money(Locale::En, checkout.amount),
        description: checkout.description,
        pay_url: checkout.pay_url,
        return_url: checkout.return_url,
        methods: checkout.methods,
        problem: checkout.problem,
        open: checkout.closed.is_none(),
        closed: checkout.closed.unwrap_or_default(),
    };
    render(Template::CheckoutPage, &page)
}

/// What was filled into the set-up form before; never the password.
#[derive(Debug, Clone, Copy, Default)]
pub struct SetupForm<'a> {
    /// Where the form is posted to.
    pub action: &'a str,
    /// The secret of the one-time link.
    pub token: &'a str,
    pub organization_name: &'a str,
    pub first_name: &'a str,
    pub last_name: &'a str,
    pub email: &'a str,
}

#[derive(Serialize)]
struct SetupField<'a> {
    name: &'static str,
    label: &'static str,
    kind: &'static str,
    autocomplete: &'static str,
    value: &'a str,
    minimum: Option<u8>,
    problem: Option<&'a str>,
}

#[derive(Serialize)]
struct SetupPage<'a> {
    style: &'static str,
    action: &'a str,
    token: &'a str,
    fields: Vec<SetupField<'a>>,
    /// A problem that belongs to no field.
    problem: Option<&'a str>,
}

/// The first start's page: makes the organization and its first administrator. Each problem stands
/// beside its field.
pub fn setup_page(form: &SetupForm<'_>, problems: &[Problem]) -> Result<String, RenderError> {
    #[rustfmt::skip]
    let fields = [
        ("organization_name", "Organization", "text", "organization", form.organization_name, None),
        ("first_name", "Your first name", "text", "given-name", form.first_name, None),
        ("last_name", "Your last name", "text", "family-name", form.last_name, None),
        ("email", "E-mail address", "email", "username", form.email, None),
        ("password", "Password (12 characters or more)", "password", "new-password", "", Some(12)),
    ];
    let is_of_field = |problem: &&Problem| fields.iter().any(|(name, ..)| problem.param == *name);
    let page = SetupPage {
        style: STYLE,
        action: form.action,
        token: form.token,
        problem: problems
            .iter()
            .find(|problem| !is_of_field(problem))
            .map(|p| p.detail.as_str()),
        fields: fields
            .into_iter()
            .map(
                |(name, label, kind, autocomplete, value, minimum)| SetupField {
                    name,
                    label,
                    kind,
                    autocomplete,
                    value,
                    minimum,
                    problem: problems
                        .iter()
                        .find(|p| p.param == name)
                        .map(|p| p.detail.as_str()),
                },
            )
            .collect(),
    };
    render(Template::SetupPage, &page)
}
