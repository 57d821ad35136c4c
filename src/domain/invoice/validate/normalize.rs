//! One way to write what can be written in several.

use super::super::super::party::Issuer;
use super::super::Content;

/// The content with the reasons that tax categories have by default, with the issuer's bank details
/// in one form, and with line breaks as `\n`.
pub fn normalized(content: &Content) -> Content {
    let mut content = content.clone();
    content.issuer = normalized_issuer(&content.issuer);
    for line in &mut content.lines {
        let tax = &mut line.tax;
        if tax.exemption_reason.is_none() {
            tax.exemption_reason = tax.category.default_exemption_reason().map(str::to_owned);
        }
        unify_breaks(&mut line.description);
    }
    let texts = &mut content.mail_texts;
    let blocks = [
        &mut content.memo,
        &mut content.payment_terms,
        &mut texts.introduction,
        &mut texts.closing,
    ];
    blocks.into_iter().flatten().for_each(unify_breaks);
    content
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

fn unify_breaks(text: &mut String) {
    if text.contains('\r') {
        *text = text.replace("\r\n", "\n");
    }
}
