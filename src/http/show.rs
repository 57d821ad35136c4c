//! How values are written in answers: timestamps with milliseconds, numbers as decimal strings.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde::{Serialize, Serializer};

use crate::domain::money::Currency;

/// A timestamp in UTC with milliseconds: `2026-11-21T09:00:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At(pub Timestamp);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let utc = TimeZone::UTC.to_datetime(self.0);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            utc.year(),
            utc.month(),
            utc.day(),
            utc.hour(),
            utc.minute(),
            utc.second(),
            utc.millisecond()
        )
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number in its shortest exact form: `2.5`, `19`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number(pub Decimal);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.normalize())
    }
}

/// An amount in major units with at least the currency's decimals: `99.90`, `0.000125`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount(pub Decimal, pub Currency);

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut amount = self.0.normalize();
        if amount.scale() < self.1.decimals() {
            amount.rescale(self.1.decimals());
        }
        serializer.collect_str(&amount)
    }
}

/// Anything as its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<T>(pub T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_have_exactly_three_decimals() {
        let at: Timestamp = "2026-11-21T09:00:00Z".parse().unwrap();
        assert_eq!(At(at).to_string(), "2026-11-21T09:00:00.000Z");
        let at: Timestamp = "2026-11-21T09:00:00.07Z".parse().unwrap();
        assert_eq!(At(at).to_string(), "2026-11-21T09:00:00.070Z");
    }

    #[test]
    fn an_amount_has_the_currencys_decimals_and_more_if_it_needs_them() {
        let eur = "EUR".parse().unwrap();
        let shown = |text: &str| {
            serde_json::to_value(Amount(text.parse().unwrap(), eur))
                .unwrap()
                .to_string()
        };
        assert_eq!(shown("99.9"), "\"99.90\"");
        assert_eq!(shown("0.000125"), "\"0.000125\"");
        assert_eq!(shown("5.0000"), "\"5.00\"");
    }
}
