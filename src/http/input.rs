//! Values of a JSON body, read so that a bad one does not hide the next: the form of each is kept as
//! a problem until all have been looked at.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::domain::money::Currency;
use crate::domain::problem::Problems;

mod parse;

pub use parse::{parse_date, parse_decimal, parse_id, parse_timestamp};

/// A value's form is wrong: a code and a sentence that says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    pub code: &'static str,
    pub detail: Cow<'static, str>,
}

impl Malformed {
    pub fn new(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }

    fn expected(what: &str) -> Self {
        Self::new("invalid_type", format!("expected {what}"))
    }
}

/// A value that reads itself from one JSON token.
pub trait Leaf: Sized {
    fn read(token: &str) -> Result<Self, Malformed>;
}

/// A field of a body: its value, or what is wrong with its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<T>(pub Result<T, Malformed>);

/// A JSON object. Without this, derived readers would take `["Ada"]` for `{"name": "Ada"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(ObjectOnly(deserializer)).map(Self)
    }
}

struct ObjectOnly<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ObjectOnly<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// An exact decimal from a JSON string or number.
pub type DecimalInput = Field<Decimal>;

impl<'de, T: Leaf> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(Self(T::read(raw.get())))
    }
}

impl<T> Field<T> {
    /// The value; otherwise notes the problem with `field`.
    pub fn take(self, field: &str, problems: &mut Problems) -> Option<T> {
        match self.0 {
            Ok(value) => Some(value),
            Err(Malformed { code, detail }) => {
                problems.add(field, code, detail);
                None
            }
        }
    }
}

/// Takes an optional field.
pub fn optional<T>(given: Option<Field<T>>, field: &str, problems: &mut Problems) -> Option<T> {
    given.and_then(|given| given.take(field, problems))
}

/// Takes a field that must be there.
pub fn required<T>(given: Option<Field<T>>, field: &str, problems: &mut Problems) -> Option<T> {
    if given.is_none() {
        problems.add(field, "required", "this field is required");
    }
    optional(given, field, problems)
}

/// A field of a change: absent leaves the value, null clears it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Patch<T> {
    #[default]
    Absent,
    Null,
    Value(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

impl<T> Patch<Field<T>> {
    /// What is to be written in the place of a value that may be cleared.
    pub fn take(self, field: &str, problems: &mut Problems) -> Option<Option<T>> {
        match self {
            Self::Absent => None,
            Self::Null => Some(None),
            Self::Value(given) => given.take(field, problems).map(Some),
        }
    }

    /// What is to be written in the place of a value that may not be cleared.
    pub fn take_required(self, field: &str, problems: &mut Problems) -> Option<T> {
        let given = self.take(field, problems)?;
        if given.is_none() {
            problems.add(field, "required", "this field can't be cleared");
        }
        given
    }

    /// What is to be written in the place of a value; clearing it brings back the default.
    pub fn take_or(self, default: T, field: &str, problems: &mut Problems) -> Option<T> {
        Some(self.take(field, problems)?.unwrap_or(default))
    }

    /// Changes a value that may be cleared.
    pub fn apply(self, target: &mut Option<T>, field: &str, problems: &mut Problems) {
        if let Some(value) = self.take(field, problems) {
            *target = value;
        }
    }

    /// Changes a value that may not be cleared.
    pub fn apply_required(self, target: &mut T, field: &str, problems: &mut Problems) {
        if let Some(value) = self.take_required(field, problems) {
            *target = value;
        }
    }

    /// Changes a value; clearing it brings back the default.
    pub fn apply_or(self, target: &mut T, default: T, field: &str, problems: &mut Problems) {
        if let Some(value) = self.take_or(default, field, problems) {
            *target = value;
        }
    }
}

fn text(token: &str) -> Option<Cow<'_, str>> {
    match token.strip_prefix('"')?.strip_suffix('"') {
        Some(plain) if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        _ => serde_json::from_str::<String>(token).ok().map(Cow::Owned),
    }
}

impl Leaf for String {
    fn read(token: &str) -> Result<Self, Malformed> {
        text(token)
            .map(Cow::into_owned)
            .ok_or_else(|| Malformed::expected("a string"))
    }
}

impl Leaf for bool {
    fn read(token: &str) -> Result<Self, Malformed> {
        match token {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Malformed::expected("true or false")),
        }
    }
}

impl Leaf for u16 {
    fn read(token: &str) -> Result<Self, Malformed> {
        token
            .parse()
            .map_err(|_| Malformed::expected("a whole number from 0 to 65535"))
    }
}

impl Leaf for Vec<String> {
    fn read(token: &str) -> Result<Self, Malformed> {
        serde_json::from_str(token).map_err(|_| Malformed::expected("a list of strings"))
    }
}

impl Leaf for crate::domain::party::Metadata {
    fn read(token: &str) -> Result<Self, Malformed> {
        serde_json::from_str(token)
            .map_err(|_| Malformed::expected("an object whose values are strings"))
    }
}

impl Leaf for Decimal {
    fn read(token: &str) -> Result<Self, Malformed> {
        let expected = || Malformed::new("invalid_number", "expected a decimal such as \"99.90\"");
        let number = if token.starts_with('"') {
            text(token).ok_or_else(expected)?
        } else {
            Cow::Borrowed(token)
        };
        parse_decimal(&number)
    }
}

impl Leaf for Date {
    fn read(token: &str) -> Result<Self, Malformed> {
        let text = text(token).ok_or_else(|| Malformed::expected("a string"))?;
        parse_date(&text)
    }
}

impl Leaf for Timestamp {
    fn read(token: &str) -> Result<Self, Malformed> {
        let text = text(token).ok_or_else(|| Malformed::expected("a string"))?;
        parse_timestamp(&text)
    }
}

macro_rules! leaf_ids {
    ($($id:ident),+) => {$(
        impl Leaf for crate::domain::ids::$id {
            fn read(token: &str) -> Result<Self, Malformed> {
                let text = text(token).ok_or_else(|| Malformed::expected("a string"))?;
                parse_id(&text)
            }
        }
    )+};
}

leaf_ids!(
    CustomerId, FileId, InvoiceId, UserId, ApiKeyId, SessionId, EventId
);

impl Leaf for Currency {
    fn read(token: &str) -> Result<Self, Malformed> {
        let text = text(token).ok_or_else(|| Malformed::expected("a string"))?;
        text.parse()
            .map_err(|error: crate::domain::money::UnknownCurrency| {
                Malformed::new("unknown_currency", error.to_string())
            })
    }
}

/// Reads one word of a closed set; `allowed` is shown when it is another.
pub fn one_of<T: Copy>(token: &str, all: &[(&'static str, T)]) -> Result<T, Malformed> {
    let text = text(token).ok_or_else(|| Malformed::expected("a string"))?;
    all.iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
            Malformed::new(
                "unknown_value",
                format!("expected one of {}", names.join(", ")),
            )
        })
}

impl Leaf for crate::domain::party::Locale {
    fn read(token: &str) -> Result<Self, Malformed> {
        let text = text(token).ok_or_else(|| Malformed::expected("a string"))?;
        Self::parse(&text).ok_or_else(|| {
            let codes: Vec<_> = Self::ALL.iter().map(|locale| locale.code()).collect();
            Malformed::new(
                "unknown_value",
                format!("expected one of {}", codes.join(", ")),
            )
        })
    }
}

impl Leaf for crate::domain::party::PageSize {
    fn read(token: &str) -> Result<Self, Malformed> {
        one_of(token, &[("a4", Self::A4), ("letter", Self::Letter)])
    }
}

impl Leaf for crate::domain::party::Rounding {
    fn read(token: &str) -> Result<Self, Malformed> {
        one_of(
            token,
            &[("per_rate", Self::PerRate), ("per_line", Self::PerLine)],
        )
    }
}

impl Leaf for crate::domain::tax::TaxCategory {
    fn read(token: &str) -> Result<Self, Malformed> {
        one_of(
            token,
            &Self::ALL.map(|category| (category.code(), category)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(token: &str) -> Result<String, &'static str> {
        Decimal::read(token)
            .map(|number| number.to_string())
            .map_err(|error| error.code)
    }

    #[test]
    fn decimals_are_read_exactly_from_strings_and_numbers() {
        for (token, expected) in [
            ("\"99.90\"", "99.9"),
            ("99.90", "99.9"),
            ("0.1", "0.1"),
            ("-5", "-5"),
            ("1e3", "1000"),
            ("1.5E-3", "0.0015"),
            ("\"0.000000\"", "0"),
            (
                "0.1000000000000000055511151231",
                "0.1000000000000000055511151231",
            ),
            (
                "12345678901234567890.12345678",
                "12345678901234567890.12345678",
            ),
            ("1000", "1000"),
            ("10.0e-1", "1"),
        ] {
            assert_eq!(decimal(token), Ok(expected.to_owned()), "{token}");
        }
    }

    #[test]
    fn what_is_no_decimal_is_refused_and_never_guessed() {
        for token in [
            "\"\"",
            "\"abc\"",
            "\"1,5\"",
            "\"1.\"",
            "\".5\"",
            "\"+1\"",
            "\" 1\"",
            "true",
            "null",
            "[]",
            "\"1e\"",
            "1e99",
            "1e-99",
            "\"NaN\"",
            "\"Infinity\"",
            "1e2147483648",
            "1e-2147483648",
            "123456789012345678901234567890",
        ] {
            assert_eq!(decimal(token), Err("invalid_number"), "{token}");
        }
        assert_eq!(decimal(&"9".repeat(10_000)), Err("invalid_number"));
    }

    #[test]
    fn an_impossible_date_is_refused() {
        assert!(parse_date("2025-02-28").is_ok());
        assert!(parse_date("2024-02-29").is_ok());
        for text in [
            "2025-02-30",
            "2025-13-01",
            "20250228",
            "2025-2-28",
            "2025-02-28T00:00:00Z",
            "",
        ] {
            assert_eq!(
                parse_date(text).map_err(|error| error.code),
                Err("invalid_date"),
                "{text}"
            );
        }
    }

    #[test]
    fn timestamps_carry_their_offset() {
        let at = parse_timestamp("2026-11-21T10:00:00.1239+01:00").unwrap();
        assert_eq!(at.to_string(), "2026-11-21T09:00:00.123Z");
        for text in [
            "2026-11-21",
            "2026-11-21T10:00:00",
            "2025-02-30T00:00:00Z",
            "now",
        ] {
            assert!(parse_timestamp(text).is_err(), "{text}");
        }
    }

    #[test]
    fn absent_null_and_value_are_three_things() {
        #[derive(Deserialize)]
        struct Change {
            #[serde(default)]
            memo: Patch<Field<String>>,
        }
        let read = |json: &str| serde_json::from_str::<Change>(json).unwrap().memo;
        assert_eq!(read("{}"), Patch::Absent);
        assert_eq!(read(r#"{"memo":null}"#), Patch::Null);
        assert_eq!(
            read(r#"{"memo":"a\nb"}"#),
            Patch::Value(Field(Ok("a\nb".to_owned())))
        );
        assert!(matches!(read(r#"{"memo":7}"#), Patch::Value(Field(Err(_)))));
    }
}
