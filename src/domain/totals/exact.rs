//! Exact arithmetic on scaled integers: nothing is rounded but where a rule says so.

use rust_decimal::Decimal;

/// A decimal number as `mantissa / 10^scale`. Unlike `Decimal`, whose product rounds silently at 28
/// digits, an operation that does not fit gives `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exact {
    mantissa: i128,
    scale: u32,
}

impl Exact {
    pub(super) fn times(self, other: Self) -> Option<Self> {
        let mantissa = self.mantissa.checked_mul(other.mantissa)?;
        Some(Self {
            mantissa,
            scale: self.scale + other.scale,
        })
    }

    /// What is left of one after this many percent: `1 - self / 100`.
    pub(super) fn percent_left(self) -> Option<Self> {
        let whole = 100_i128.checked_mul(pow10(self.scale)?)?;
        Some(Self {
            mantissa: whole.checked_sub(self.mantissa)?,
            scale: self.scale + 2,
        })
    }

    /// Rounded to whole units of `10^-decimals`.
    pub(super) fn round_to(self, decimals: u32) -> Option<i128> {
        if self.scale <= decimals {
            return self.mantissa.checked_mul(pow10(decimals - self.scale)?);
        }
        Some(div_half_away(self.mantissa, pow10(self.scale - decimals)?))
    }

    /// As a fraction of whole hundreds: a rate of 19.5 % is 195 of 1000.
    pub(super) fn percent(self) -> Option<Percent> {
        let whole = 100_i128.checked_mul(pow10(self.scale)?)?;
        Some(Percent {
            part: self.mantissa,
            whole,
        })
    }
}

impl From<Decimal> for Exact {
    fn from(number: Decimal) -> Self {
        let number = number.normalize();
        Self {
            mantissa: number.mantissa(),
            scale: number.scale(),
        }
    }
}

/// A percentage as the fraction `part / whole`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Percent {
    part: i128,
    whole: i128,
}

impl Percent {
    /// This percentage of `amount`, rounded.
    pub(super) fn of(self, amount: i128) -> Option<i128> {
        Some(div_half_away(amount.checked_mul(self.part)?, self.whole))
    }

    /// What `gross` is without this percentage on top, rounded: `gross / (1 + rate)`.
    pub(super) fn without(self, gross: i128) -> Option<i128> {
        let (numerator, denominator) = self.without_exact(gross)?;
        Some(div_half_away(numerator, denominator))
    }

    /// The same, unrounded: numerator and (positive) denominator.
    pub(super) fn without_exact(self, gross: i128) -> Option<(i128, i128)> {
        Some((
            gross.checked_mul(self.whole)?,
            self.whole.checked_add(self.part)?,
        ))
    }
}

/// `numerator / denominator` rounded half away from zero; `denominator` is positive.
pub(super) const fn div_half_away(numerator: i128, denominator: i128) -> i128 {
    let (quotient, rest) = (
        numerator / denominator,
        (numerator % denominator).unsigned_abs(),
    );
    // Not `2 * rest`, which might not fit.
    if rest >= denominator.unsigned_abs() - rest {
        quotient + numerator.signum()
    } else {
        quotient
    }
}

fn pow10(exponent: u32) -> Option<i128> {
    10_i128.checked_pow(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_away_from_zero() {
        let rounded = |numerator| div_half_away(numerator, 10);
        assert_eq!([14, 15, 16, 25].map(rounded), [1, 2, 2, 3]);
        assert_eq!([-14, -15, -16, -25].map(rounded), [-1, -2, -2, -3]);
        assert_eq!([0, 4, -4, 5, -5].map(rounded), [0, 0, 0, 1, -1]);
    }

    #[test]
    fn rounding_near_the_largest_number_does_not_overflow() {
        assert_eq!(div_half_away(i128::MAX, i128::MAX), 1);
        assert_eq!(div_half_away(i128::MAX - 1, i128::MAX), 1);
        assert_eq!(div_half_away(i128::MAX / 2, i128::MAX), 0);
        assert_eq!(div_half_away(i128::MIN + 1, i128::MAX), -1);
    }

    #[test]
    fn a_product_that_does_not_fit_is_refused_not_rounded() {
        let largest = Exact::from(Decimal::MAX);
        assert!(largest.times(largest).is_none());
        let smallest = Exact::from(Decimal::new(1, 28));
        let product = smallest.times(smallest).unwrap();
        assert!(product.round_to(2).is_none(), "10^54 does not fit");
    }
}
