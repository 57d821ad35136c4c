//! What is mailed: subject, text and HTML, in the invoice's language.

use serde::Serialize;

use super::locale::fill;
use super::placeholders::{self, Values};
use super::templates::{Template, render};
use super::view::{DocumentView, Fact, Mark};
use super::{RenderContext, RenderError};
use crate::domain::invoice::Invoice;
use crate::domain::invoice::command::SendOrder;

pub use super::placeholders::check_mail_texts;

/// A mail's words, without addresses and attachments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailContent {
    /// One line, without control characters.
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// The longest subject, in characters.
const SUBJECT_MAX: usize = 200;

#[derive(Serialize)]
struct Action<'a> {
    url: &'a str,
    label: String,
}

#[derive(Serialize)]
struct InvoiceMail<'a> {
    v: &'a DocumentView,
    introduction: Vec<String>,
    message: Vec<String>,
    closing: Vec<String>,
    action: Option<Action<'a>>,
    bank: &'a [Fact],
}

#[derive(Serialize)]
struct UploadNotice<'a> {
    v: &'a DocumentView,
    text: String,
    file: String,
    url: Option<String>,
}

/// The mail that brings an invoice to its customer. `payment_url` is the provider's page; without
/// one the button leads to the customer's page.
pub fn invoice_mail(
    invoice: &Invoice,
    order: &SendOrder,
    payment_url: Option<&str>,
    context: &RenderContext,
) -> Result<MailContent, RenderError> {
    let view = DocumentView::of(invoice, context);
    let words = view.words;
    let texts = &invoice.content.mail_texts;
    let number = view.number.as_deref().unwrap_or(words.draft);
    let values = values(&view, number);
    let own = |text: &Option<String>| {
        let text = text.as_deref().filter(|text| !text.trim().is_empty());
        text.map(|text| placeholders::expand(text, &values))
    };
    let subject = own(&texts.subject).unwrap_or_else(|| {
        fill(
            words.mail_subject,
            &[("number", number), ("issuer", &view.issuer.name)],
        )
    });
    let introduction = own(&texts.introduction).unwrap_or_else(|| introduction(&view, number));
    let closing = own(&texts.closing)
        .unwrap_or_else(|| format!("{}\n\n{}", words.mail_closing, view.issuer.name));
    let mail = InvoiceMail {
        introduction: lines(&introduction),
        message: lines(order.message.as_deref().unwrap_or_default()),
        closing: lines(&closing),
        action: action(&view, payment_url),
        bank: view
            .bank
            .as_ref()
            .filter(|_| view.is_due)
            .map_or(&[], |bank| &bank.facts),
        v: &view,
    };
    Ok(MailContent {
        subject: subject_line(&subject, &view),
        text: render(Template::InvoiceMailText, &mail)?,
        html: render(Template::InvoiceMailHtml, &mail)?,
    })
}

/// The mail to an uploader whose document is ready; the invoice's id is what it is downloaded by.
pub fn upload_notice(
    invoice: &Invoice,
    context: &RenderContext,
) -> Result<MailContent, RenderError> {
    let view = DocumentView::of(invoice, context);
    let words = view.words;
    let number = view.number.as_deref().unwrap_or(words.draft);
    let file = invoice.id.to_string();
    let base = context
        .public_url
        .as_deref()
        .map(|url| url.trim_end_matches('/'));
    let notice = UploadNotice {
        text: fill(words.upload_text, &[("number", number)]),
        url: base.map(|base| format!("{base}/download?fid={file}")),
        file,
        v: &view,
    };
    let subject = fill(words.upload_subject, &[("number", number)]);
    Ok(MailContent {
        subject: subject_line(&subject, &view),
        text: render(Template::UploadNoticeText, &notice)?,
        html: render(Template::UploadNoticeHtml, &notice)?,
    })
}

fn introduction(view: &DocumentView, number: &str) -> String {
    let words = view.words;
    let sentence = if view.mark == Mark::Paid {
        fill(
            words.mail_paid,
            &[("number", number), ("amount", &view.total)],
        )
    } else {
        let due_on = view.due_on.as_deref().unwrap_or_default();
        fill(
            words.mail_due,
            &[("number", number), ("amount", &view.due), ("date", due_on)],
        )
    };
    format!("{}\n\n{sentence}", words.mail_greeting)
}

fn action<'a>(view: &'a DocumentView, payment_url: Option<&'a str>) -> Option<Action<'a>> {
    let words = view.words;
    match (
        view.page_url.as_deref(),
        payment_url.filter(|_| view.is_due),
    ) {
        // The customer's page shows the invoice and leads on to the provider's.
        (Some(url), _) if view.is_due => Some(Action {
            url,
            label: fill(words.mail_pay, &[("amount", &view.due)]),
        }),
        (Some(url), _) => Some(Action {
            url,
            label: words.mail_view.to_owned(),
        }),
        (None, Some(url)) => Some(Action {
            url,
            label: fill(words.pay, &[("amount", &view.due)]),
        }),
        (None, None) => None,
    }
}

fn values<'a>(view: &'a DocumentView, number: &'a str) -> Values<'a> {
    Values {
        number,
        total: &view.total,
        due: &view.due,
        due_on: view.due_on.as_deref().unwrap_or_default(),
        customer: &view.bill_to.name,
        issuer: &view.issuer.name,
        link: view.page_url.as_deref().unwrap_or_default(),
    }
}

fn lines(text: &str) -> Vec<String> {
    text.trim()
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// One header line: no line breaks or other control characters, however the number or the issuer's
/// name came by them, and a sandbox's mail says so before it is opened.
fn subject_line(subject: &str, view: &DocumentView) -> String {
    let mark = if view.sandbox { "[SANDBOX] " } else { "" };
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let clean: String = subject
        .trim()
        .chars()
        .map(|c| if is_break(c) { ' ' } else { c })
        .collect();
    let words: Vec<&str> = clean.split(' ').filter(|word| !word.is_empty()).collect();
    format!("{mark}{}", words.join(" "))
        .chars()
        .take(SUBJECT_MAX)
        .collect()
}
