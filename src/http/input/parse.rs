//! Texts that stand for a number, a day, a moment, an id: in bodies and in queries.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;

use super::Malformed;
use crate::domain::ids::InvalidId;

/// Longer texts are no number anybody means.
const MAX_NUMBER_CHARS: usize = 64;

/// Reads a decimal exactly: digits, an optional fraction, an optional exponent. Never through a float.
pub fn parse_decimal(text: &str) -> Result<Decimal, Malformed> {
    let malformed = || {
        Malformed::new(
            "invalid_number",
            "expected a decimal such as 99.90, with at most 28 digits",
        )
    };
    if text.len() > MAX_NUMBER_CHARS {
        return Err(malformed());
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| malformed())?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(malformed()),
        None => (mantissa, ""),
    };
    let is_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return Err(malformed());
    }
    let fraction_digits = i32::try_from(fraction.len()).map_err(|_| malformed())?;
    let mut scale = fraction_digits
        .checked_sub(exponent)
        .ok_or_else(malformed)?;
    let mut buffer = [0; MAX_NUMBER_CHARS];
    let (before, rest) = buffer.split_at_mut(whole.len());
    before.copy_from_slice(whole.as_bytes());
    rest[..fraction.len()].copy_from_slice(fraction.as_bytes());
    let mut digits = &buffer[..whole.len() + fraction.len()];
    while let [b'0', behind @ ..] = digits {
        digits = behind;
    }
    while scale > 0
        && let [before @ .., b'0'] = digits
    {
        digits = before;
        scale -= 1;
    }
    if digits.is_empty() {
        return Ok(Decimal::ZERO);
    }
    let zeros = usize::try_from(-scale).unwrap_or(0);
    if scale > 28 || zeros > 28 || digits.len() + zeros > 28 {
        return Err(malformed());
    }
    let number = digits.iter().fold(0_i128, |number, digit| {
        number * 10 + i128::from(digit - b'0')
    });
    let number = (0..zeros).fold(number, |number, _| number * 10);
    let number = if negative { -number } else { number };
    let scale = u32::try_from(scale).unwrap_or(0);
    Decimal::try_from_i128_with_scale(number, scale).map_err(|_| malformed())
}

/// Reads `YYYY-MM-DD`; an impossible date is an error.
pub fn parse_date(text: &str) -> Result<Date, Malformed> {
    let malformed = || {
        Malformed::new(
            "invalid_date",
            "expected a date that exists, written YYYY-MM-DD",
        )
    };
    let shaped = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if !shaped {
        return Err(malformed());
    }
    Date::from_str(text).map_err(|_| malformed())
}

/// Reads an RFC 3339 timestamp with its offset.
pub fn parse_timestamp(text: &str) -> Result<Timestamp, Malformed> {
    let malformed = || {
        Malformed::new(
            "invalid_timestamp",
            "expected an RFC 3339 timestamp such as 2026-11-21T09:00:00.000Z",
        )
    };
    if text.len() > MAX_NUMBER_CHARS
        || !text
            .as_bytes()
            .get(10)
            .is_some_and(|b| matches!(b, b'T' | b't'))
    {
        return Err(malformed());
    }
    let at: Timestamp = text.parse().map_err(|_| malformed())?;
    // What is stored and shown has whole milliseconds.
    Timestamp::from_millisecond(at.as_millisecond()).map_err(|_| malformed())
}

/// Reads an id of the kind `Id`.
pub fn parse_id<Id: FromStr<Err = InvalidId>>(text: &str) -> Result<Id, Malformed> {
    text.parse()
        .map_err(|error: InvalidId| Malformed::new("invalid_id", error.to_string()))
}
