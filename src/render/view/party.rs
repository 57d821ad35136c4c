//! Who issues an invoice and who gets it, as lines under a name.

use crate::domain::party::{Address, Issuer, Locale, Party};
use crate::render::locale::{self, Words, words};

use super::PartyView;

/// `VAT ID DE123456789`: a tax id that starts with a country's letters is a VAT id.
fn tax_id_line(tax_id: &str, words: &Words) -> String {
    let mut letters = tax_id.chars();
    let is_vat_id = letters.next().is_some_and(|c| c.is_ascii_uppercase())
        && letters.next().is_some_and(|c| c.is_ascii_uppercase());
    let label = if is_vat_id {
        words.vat_id
    } else {
        words.tax_id
    };
    format!("{label} {tax_id}")
}

pub(super) fn issuer_view(issuer: &Issuer, locale: Locale) -> PartyView {
    let Issuer {
        legal_name,
        address,
        email,
        phone,
        tax_id,
        ..
    } = issuer;
    let contacts = [email.as_deref(), phone.as_deref()];
    view(
        legal_name,
        address.as_ref(),
        contacts,
        tax_id.as_deref(),
        locale,
    )
}

pub(super) fn small_print(issuer: &Issuer, words: &Words) -> Vec<String> {
    let tax_id = issuer.tax_id.as_deref().map(|id| tax_id_line(id, words));
    std::iter::once(issuer.legal_name.clone())
        .chain(issuer.registration.clone())
        .chain(tax_id)
        .filter(|line| !line.trim().is_empty())
        .collect()
}

pub(super) fn party_view(party: &Party, locale: Locale) -> PartyView {
    let Party {
        name,
        address,
        email,
        phone,
        tax_id,
        ..
    } = party;
    let contacts = [email.as_deref(), phone.as_deref()];
    view(name, address.as_ref(), contacts, tax_id.as_deref(), locale)
}

fn view(
    name: &str,
    address: Option<&Address>,
    contacts: [Option<&str>; 2],
    tax_id: Option<&str>,
    locale: Locale,
) -> PartyView {
    let mut lines = address.map_or_else(Vec::new, |address| address_lines(address, locale));
    lines.extend(contacts.into_iter().flatten().map(str::to_owned));
    lines.extend(tax_id.map(|id| tax_id_line(id, words(locale))));
    PartyView {
        name: name.to_owned(),
        lines,
    }
}

/// An address in the order its country writes it.
fn address_lines(address: &Address, locale: Locale) -> Vec<String> {
    let part = |part: &Option<String>| part.clone().filter(|text| !text.trim().is_empty());
    let (city, code, state) = (
        part(&address.city),
        part(&address.postal_code),
        part(&address.state),
    );
    let joined = |parts: [Option<String>; 2], by: &str| {
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(by))
    };
    let place = match address.country.as_deref() {
        Some("US" | "CA" | "AU" | "IN" | "MX") => {
            vec![joined([joined([city, state], ", "), code], " ")]
        }
        Some("GB" | "IE" | "VN") => vec![city, state, code],
        Some("BR") => vec![joined([city, state], " - "), code],
        Some("IT" | "ES") => vec![joined([joined([code, city], " "), state], ", ")],
        _ => vec![joined([code, city], " "), state],
    };
    let country =
        part(&address.country).map(|code| locale::country(locale, code.trim()).to_owned());
    [part(&address.line1), part(&address.line2)]
        .into_iter()
        .chain(place)
        .chain([country])
        .flatten()
        .collect()
}
