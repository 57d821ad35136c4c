//! Bank details, and the EPC code that fills in a transfer.

use serde::Serialize;

use super::Fact;
use crate::domain::invoice::Invoice;
use crate::render::locale::words;

/// How to pay by bank transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BankView {
    /// Account holder, IBAN in groups of four, BIC, reference.
    pub facts: Vec<Fact>,
    /// What a banking app reads from a QR code (EPC069-12, version 002).
    pub epc: Option<String>,
}

/// The issuer's bank details; with a code when a transfer in euro would pay the invoice.
pub(super) fn view(invoice: &Invoice, is_due: bool) -> Option<BankView> {
    let content = &invoice.content;
    let issuer = &content.issuer;
    let words = words(content.locale);
    let iban = compact(issuer.iban.as_deref()?);
    if iban.is_empty() {
        return None;
    }
    let number = invoice.issued().map(|issued| issued.number.clone());
    let facts = [
        (words.account_holder, Some(issuer.legal_name.clone())),
        ("IBAN", Some(in_groups_of_four(&iban))),
        ("BIC", issuer.bic.as_deref().map(compact)),
        (words.payment_reference, number.clone()),
    ];
    let facts = facts
        .into_iter()
        .filter_map(|(label, value)| value.map(|value| Fact { label, value }))
        .filter(|fact| !fact.value.is_empty())
        .collect();
    let is_euro = content.currency.code() == "EUR";
    let epc = number
        .filter(|_| is_due && is_euro && is_iban(&iban))
        .and_then(|number| epc(invoice, &iban, &number));
    Some(BankView { facts, epc })
}

/// EPC069-12 v2.1: the fields of a SEPA credit transfer, one a line. `None` when the amount is
/// beyond what a transfer can carry.
fn epc(invoice: &Invoice, iban: &str, number: &str) -> Option<String> {
    const LARGEST_MINOR: i64 = 99_999_999_999;
    let due = invoice.due();
    if due.minor < 1 || due.minor > LARGEST_MINOR {
        return None;
    }
    let issuer = &invoice.content.issuer;
    let one_line = |text: &str, length: usize| -> String {
        text.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(length)
            .collect()
    };
    let bic = issuer.bic.as_deref().map(compact).unwrap_or_default();
    let name = one_line(&issuer.legal_name, 70);
    let reference = one_line(number, 140);
    // Service tag, version 002 (BIC optional), character set 1 (UTF-8), identification; then BIC,
    // name, IBAN, amount, purpose, structured and free reference.
    Some(format!(
        "BCD\n002\n1\nSCT\n{bic}\n{name}\n{iban}\nEUR{due}\n\n\n{reference}"
    ))
}

fn compact(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_ascii_uppercase())
        .collect()
}

fn in_groups_of_four(iban: &str) -> String {
    let characters: Vec<char> = iban.chars().collect();
    let groups: Vec<String> = characters
        .chunks(4)
        .map(|group| group.iter().collect())
        .collect();
    groups.join(" ")
}

/// ISO 13616: length, alphabet and check digits (ISO 7064, remainder 1 modulo 97).
fn is_iban(iban: &str) -> bool {
    let shape = (15..=34).contains(&iban.len())
        && iban
            .bytes()
            .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
        && iban.bytes().take(2).all(|b| b.is_ascii_uppercase())
        && iban.bytes().skip(2).take(2).all(|b| b.is_ascii_digit());
    if !shape {
        return false;
    }
    let rotated = iban.bytes().skip(4).chain(iban.bytes().take(4));
    let remainder = rotated.fold(0_u32, |remainder, byte| match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        _ => (remainder * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    remainder == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iban_is_known_by_its_check_digits() {
        assert!(is_iban("DE89370400440532013000"));
        assert!(is_iban("GB82WEST12345698765432"));
        assert!(!is_iban("DE89370400440532013001"));
        assert!(!is_iban("DE8937"));
        assert!(!is_iban("not an iban at all"));
    }

    #[test]
    fn an_iban_is_written_in_groups_of_four() {
        assert_eq!(
            in_groups_of_four("DE89370400440532013000"),
            "DE89 3704 0044 0532 0130 00"
        );
    }
}
