//! Money: whole minor units of one currency. Amounts of different currencies do not add.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod currencies;

/// The largest amount that can be held, in minor units: a hundred times more than any invoice needs
/// and far enough from `i64::MAX` that sums of bounded lists cannot overflow.
pub const MAX_MINOR: i64 = 1_000_000_000_000_000;

/// An ISO 4217 currency with its number of decimals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency {
    code: [u8; 3],
    decimals: u8,
}

impl Currency {
    pub const EUR: Self = Self {
        code: *b"EUR",
        decimals: 2,
    };

    pub fn code(&self) -> &str {
        // Only ASCII codes of the table are ever constructed.
        std::str::from_utf8(&self.code).unwrap_or("XXX")
    }

    /// How many digits stand behind the decimal point: 2 for EUR, 0 for JPY, 3 for KWD.
    pub const fn decimals(&self) -> u32 {
        self.decimals as u32
    }

    /// Minor units in one major unit: 100 for EUR.
    pub const fn minor_per_major(&self) -> i64 {
        10_i64.pow(self.decimals as u32)
    }

    /// Every currency known, in order of its code.
    pub fn all() -> impl Iterator<Item = Self> {
        currencies::ALL.iter().map(|&(code, decimals)| Self {
            code: *code,
            decimals,
        })
    }
}

/// Why a text is not a currency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an ISO 4217 currency code; expected three capital letters such as EUR")]
pub struct UnknownCurrency;

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(text: &str) -> Result<Self, UnknownCurrency> {
        let code: [u8; 3] = text.as_bytes().try_into().map_err(|_| UnknownCurrency)?;
        currencies::ALL
            .binary_search_by_key(&&code, |(known, _)| known)
            .map(|at| Self {
                code,
                decimals: currencies::ALL[at].1,
            })
            .map_err(|_| UnknownCurrency)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why two amounts can't be combined, or a number can't be an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("amounts in {0} and {1} do not add")]
    CurrencyMismatch(Currency, Currency),
    #[error("the amount is larger than 10,000,000,000,000.00 (10^15 minor units)")]
    TooLarge,
    #[error("{currency} has {} decimals", currency.decimals())]
    TooManyDecimals { currency: Currency },
}

/// An amount in whole minor units of a currency.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    pub minor: i64,
    pub currency: Currency,
}

impl Money {
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    pub const fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }

    /// An exact amount; more decimals than the currency has are refused.
    pub fn from_decimal(amount: Decimal, currency: Currency) -> Result<Self, MoneyError> {
        let amount = amount.normalize();
        if amount.scale() > currency.decimals() {
            return Err(MoneyError::TooManyDecimals { currency });
        }
        let factor = 10_i128.pow(currency.decimals() - amount.scale());
        let minor = amount
            .mantissa()
            .checked_mul(factor)
            .ok_or(MoneyError::TooLarge)?;
        Self::from_i128(minor, currency)
    }

    pub fn from_i128(minor: i128, currency: Currency) -> Result<Self, MoneyError> {
        match i64::try_from(minor) {
            Ok(minor) if minor.abs() <= MAX_MINOR => Ok(Self { minor, currency }),
            _ => Err(MoneyError::TooLarge),
        }
    }

    pub fn to_decimal(self) -> Decimal {
        Decimal::new(self.minor, self.currency.decimals())
    }

    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch(self.currency, other.currency));
        }
        Self::from_i128(
            i128::from(self.minor) + i128::from(other.minor),
            self.currency,
        )
    }

    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.checked_add(Self {
            minor: -other.minor,
            currency: other.currency,
        })
    }

    pub const fn is_zero(self) -> bool {
        self.minor == 0
    }

    pub const fn is_negative(self) -> bool {
        self.minor < 0
    }

    pub const fn is_positive(self) -> bool {
        self.minor > 0
    }
}

/// The amount alone, with the currency's decimals: `118.88`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_major = self.currency.minor_per_major().unsigned_abs();
        let minor = self.minor.unsigned_abs();
        let sign = if self.minor < 0 { "-" } else { "" };
        let width = self.currency.decimals as usize;
        if width == 0 {
            write!(f, "{sign}{minor}")
        } else {
            write!(
                f,
                "{sign}{}.{:0width$}",
                minor / per_major,
                minor % per_major
            )
        }
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} {}", self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    #[test]
    fn every_currency_keeps_its_own_decimals() {
        assert_eq!(Money::new(11_888, currency("EUR")).to_string(), "118.88");
        assert_eq!(Money::new(-5, currency("EUR")).to_string(), "-0.05");
        assert_eq!(Money::new(11_888, currency("JPY")).to_string(), "11888");
        assert_eq!(Money::new(11_888, currency("KWD")).to_string(), "11.888");
    }

    #[test]
    fn amounts_of_different_currencies_do_not_add() {
        let (eur, usd) = (currency("EUR"), currency("USD"));
        assert_eq!(
            Money::new(1, eur).checked_add(Money::new(1, usd)),
            Err(MoneyError::CurrencyMismatch(eur, usd))
        );
    }

    #[test]
    fn more_decimals_than_the_currency_has_are_refused() {
        let yen = currency("JPY");
        assert!(Money::from_decimal("1.5".parse().unwrap(), yen).is_err());
        assert_eq!(
            Money::from_decimal("1.0".parse().unwrap(), yen),
            Ok(Money::new(1, yen))
        );
    }

    #[test]
    fn the_table_is_sorted_so_that_every_code_is_found() {
        assert!(Currency::all().count() > 150);
        for known in Currency::all() {
            assert_eq!(known.code().parse(), Ok(known));
        }
        assert_eq!("eur".parse::<Currency>(), Err(UnknownCurrency));
    }
}
