//! The organization's own words in mails: plain text with a few named places, such as `{{number}}`.
//!
//! They are no templates: only these names are replaced, once, and the result is escaped like any
//! other value.

use crate::domain::party::MailTexts;
use crate::domain::problem::{Problem, Problems};

/// What the places are filled with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) number: &'a str,
    pub(super) total: &'a str,
    pub(super) due: &'a str,
    pub(super) due_on: &'a str,
    pub(super) customer: &'a str,
    pub(super) issuer: &'a str,
    pub(super) link: &'a str,
}

/// Every name that can stand in braces.
const NAMES: [&str; 7] = [
    "number", "total", "due", "due_on", "customer", "issuer", "link",
];

impl<'a> Values<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        match name {
            "number" => Some(self.number),
            "total" => Some(self.total),
            "due" => Some(self.due),
            "due_on" => Some(self.due_on),
            "customer" => Some(self.customer),
            "issuer" => Some(self.issuer),
            "link" => Some(self.link),
            _ => None,
        }
    }
}

/// A text cut at its places.
enum Part<'a> {
    Text(&'a str),
    Place(&'a str),
    /// `{{` without its `}}`.
    Unclosed,
}

fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    let mut pending = None;
    std::iter::from_fn(move || {
        if let Some(part) = pending.take() {
            return Some(part);
        }
        if rest.is_empty() {
            return None;
        }
        let Some((before, after)) = rest.split_once("{{") else {
            return Some(Part::Text(std::mem::take(&mut rest)));
        };
        let place = if let Some((name, after)) = after.split_once("}}") {
            rest = after;
            Part::Place(name.trim())
        } else {
            rest = "";
            Part::Unclosed
        };
        pending = Some(place);
        Some(Part::Text(before))
    })
}

/// Fills in the places. An unknown one, which [`check_mail_texts`] refuses, stays as it is written.
pub(super) fn expand(text: &str, values: &Values<'_>) -> String {
    let mut expanded = String::with_capacity(text.len() + 64);
    for part in parts(text) {
        match part {
            Part::Text(text) => expanded.push_str(text),
            Part::Place(name) => {
                if let Some(value) = values.get(name) {
                    expanded.push_str(value);
                } else {
                    expanded.push_str("{{");
                    expanded.push_str(name);
                    expanded.push_str("}}");
                }
            }
            Part::Unclosed => expanded.push_str("{{"),
        }
    }
    expanded
}

/// Refuses places that are not known, with paths relative to `mail_texts`.
pub fn check_mail_texts(texts: &MailTexts) -> Result<(), Vec<Problem>> {
    let mut problems = Problems::new();
    let fields = [
        ("mail_texts.subject", &texts.subject),
        ("mail_texts.introduction", &texts.introduction),
        ("mail_texts.closing", &texts.closing),
    ];
    for (field, text) in fields {
        for part in text.as_deref().into_iter().flat_map(parts) {
            match part {
                Part::Place(name) if !NAMES.contains(&name) => {
                    let known = NAMES.map(|name| format!("{{{{{name}}}}}")).join(", ");
                    let detail = format!("{{{{{name}}}}} is not known; there are {known}");
                    problems.add(field, "unknown_placeholder", detail);
                }
                Part::Unclosed => {
                    problems.add(field, "unclosed_placeholder", "{{ has no closing }}");
                }
                Part::Text(_) | Part::Place(_) => {}
            }
        }
    }
    problems.finish(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values<'_> = Values {
        number: "2026-0001",
        total: "€261.54",
        due: "€261.54",
        due_on: "5 December 2026",
        customer: "{{issuer}}",
        issuer: "ACME",
        link: "",
    };

    #[test]
    fn places_are_filled_once_and_values_never_again() {
        let text = "{{ number }} for {{customer}}: {{due}} {not one} {{";
        assert_eq!(
            expand(text, &VALUES),
            "2026-0001 for {{issuer}}: €261.54 {not one} {{"
        );
    }

    #[test]
    fn every_known_name_has_a_value() {
        assert!(NAMES.iter().all(|name| VALUES.get(name).is_some()));
    }

    #[test]
    fn unknown_places_are_refused_with_the_field_and_what_is_allowed() {
        let texts = MailTexts {
            subject: Some("Invoice {{numer}}".to_owned()),
            introduction: Some("{{#each lines}}".to_owned()),
            closing: Some("Bye {{issuer}} {{".to_owned()),
        };
        let problems = check_mail_texts(&texts).unwrap_err();
        let found: Vec<_> = problems
            .iter()
            .map(|problem| (&*problem.param, &*problem.code))
            .collect();
        assert_eq!(
            found,
            [
                ("mail_texts.subject", "unknown_placeholder"),
                ("mail_texts.introduction", "unknown_placeholder"),
                ("mail_texts.closing", "unclosed_placeholder"),
            ]
        );
        assert!(
            problems[0].detail.contains("{{number}}"),
            "{}",
            problems[0].detail
        );
        assert!(check_mail_texts(&MailTexts::default()).is_ok());
    }
}
