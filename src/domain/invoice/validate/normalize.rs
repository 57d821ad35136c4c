//! One way to write what can be written in several.

use std::sync::Arc;

use super::super::super::party::Issuer;
use super::super::{Content, Line};

/// The content with the reasons that tax categories have by default, with the issuer's bank details
/// in one form, and with line breaks as `\n`. Shares what is written that way already.
pub fn normalized(content: &Arc<Content>) -> Arc<Content> {
    let mut content = Arc::clone(content);
    if !is_compact(&content.issuer) {
        let issuer = normalized_issuer(&content.issuer);
        Arc::make_mut(&mut content).issuer = issuer;
    }
    if content.lines.iter().any(|line| !is_normal(line)) {
        Arc::make_mut(&mut content)
            .lines
            .iter_mut()
            .for_each(normalize_line);
    }
    let blocks = [
        &content.memo,
        &content.payment_terms,
        &content.mail_texts.introduction,
        &content.mail_texts.closing,
    ];
    if blocks.into_iter().flatten().any(|text| has_returns(text)) {
        let content = Arc::make_mut(&mut content);
        let texts = &mut content.mail_texts;
        let blocks = [
            &mut content.memo,
            &mut content.payment_terms,
            &mut texts.introduction,
            &mut texts.closing,
        ];
        blocks.into_iter().flatten().for_each(unify_breaks);
    }
    content
}

fn is_normal(line: &Line) -> bool {
    let tax = &line.tax;
    let has_reason =
        tax.exemption_reason.is_some() || tax.category.default_exemption_reason().is_none();
    has_reason && !has_returns(&line.description)
}

fn normalize_line(line: &mut Line) {
    let tax = &mut line.tax;
    if tax.exemption_reason.is_none() {
        tax.exemption_reason = tax.category.default_exemption_reason().map(str::to_owned);
    }
    unify_breaks(&mut line.description);
}

/// The issuer with IBAN and BIC as machines read them: without spaces, in capitals.
pub fn normalized_issuer(issuer: &Issuer) -> Issuer {
    let compact = |text: &String| -> String {
        text.chars()
            .filter(|c| *c != ' ')
            .map(|c| c.to_ascii_uppercase())
            .collect()
    };
    Issuer {
        iban: issuer.iban.as_ref().map(compact),
        bic: issuer.bic.as_ref().map(compact),
        ..issuer.clone()
    }
}

fn is_compact(issuer: &Issuer) -> bool {
    let mut codes = [&issuer.iban, &issuer.bic].into_iter().flatten();
    codes.all(|code| code.bytes().all(|b| b != b' ' && !b.is_ascii_lowercase()))
}

fn has_returns(text: &str) -> bool {
    text.contains('\r')
}

fn unify_breaks(text: &mut String) {
    if has_returns(text) {
        *text = text.replace("\r\n", "\n");
    }
}
