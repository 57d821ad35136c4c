//! Amounts as Stripe writes them: mostly ISO 4217's minor units, but not always.
//! Source: <https://docs.stripe.com/currencies>, "Zero-decimal currencies", "Three-decimal
//! currencies" and "Special cases", read in November 2026.

use super::super::ProviderError;
use crate::domain::money::{Currency, MAX_MINOR, Money};

/// Currencies that have other decimals at Stripe than in ISO 4217. ISK and UGX have no fractions but
/// are written with two decimals, which must be 00. MGA's fifths don't exist at Stripe. HUF and TWD
/// are special for payouts alone.
const OTHER_DECIMALS: [(&str, u32); 3] = [("ISK", 2), ("MGA", 0), ("UGX", 2)];

/// Amounts in currencies with three decimals must end in 0.
const THREE_DECIMAL_STEP: i64 = 10;

fn decimals(currency: Currency) -> u32 {
    OTHER_DECIMALS
        .iter()
        .find(|(code, _)| *code == currency.code())
        .map_or_else(|| currency.decimals(), |(_, decimals)| *decimals)
}

/// The number for Stripe's `amount`. One that Stripe can't express is rejected; whether it is too
/// small or too large is left to Stripe, whose limits depend on the account.
pub(super) fn to_stripe(money: Money) -> Result<i64, ProviderError> {
    let rejected = |detail: String| ProviderError::Rejected { detail };
    if !money.is_positive() {
        return Err(rejected("the amount must be greater than zero".to_owned()));
    }
    let currency = money.currency;
    let (ours, theirs) = (currency.decimals(), decimals(currency));
    let step = if theirs == 3 {
        THREE_DECIMAL_STEP
    } else {
        10_i64.pow(ours.saturating_sub(theirs))
    };
    if money.minor % step != 0 {
        let step = Money::new(step, currency);
        return Err(rejected(format!(
            "Stripe takes {currency} in steps of {step}, so {money} {currency} can't be paid there"
        )));
    }
    let amount = if theirs >= ours {
        money.minor.checked_mul(10_i64.pow(theirs - ours))
    } else {
        Some(money.minor / step)
    };
    amount.ok_or_else(|| rejected(format!("{money} {currency} is too large for Stripe")))
}

/// The money that an `amount` of Stripe's means; none for an amount that is not ours to have: zero,
/// negative, beyond every bound, or a fraction where there is none.
pub(in super::super) fn from_stripe(amount: i64, currency: Currency) -> Option<Money> {
    let (ours, theirs) = (currency.decimals(), decimals(currency));
    let minor = if ours >= theirs {
        amount.checked_mul(10_i64.pow(ours - theirs))?
    } else {
        let factor = 10_i64.pow(theirs - ours);
        (amount % factor == 0).then_some(amount / factor)?
    };
    (1..=MAX_MINOR)
        .contains(&minor)
        .then(|| Money::new(minor, currency))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(minor: i64, currency: &str) -> Money {
        Money::new(minor, currency.parse().unwrap())
    }

    #[test]
    fn amounts_are_what_the_documentation_of_stripe_says() {
        for (minor, currency, amount) in [
            (1_000, "USD", 1_000),
            (500, "JPY", 500),
            (10, "KRW", 10),
            (5, "ISK", 500),
            (5, "UGX", 500),
            (1_000, "HUF", 1_000),
            (80_045, "TWD", 80_045),
            (5_120, "KWD", 5_120),
            (1_230, "BHD", 1_230),
            (500, "MGA", 5),
        ] {
            let money = money(minor, currency);
            assert_eq!(to_stripe(money).unwrap(), amount, "{money:?}");
            assert_eq!(from_stripe(amount, money.currency), Some(money));
        }
    }

    #[test]
    fn every_currency_comes_back_as_it_went() {
        for currency in Currency::all() {
            let money = Money::new(123_000, currency);
            let amount = to_stripe(money).unwrap();
            assert_eq!(from_stripe(amount, currency), Some(money), "{currency}");
        }
    }

    #[test]
    fn what_stripe_can_not_express_is_rejected_with_its_reason() {
        let detail = |money| match to_stripe(money) {
            Err(ProviderError::Rejected { detail }) => detail,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            detail(money(5_124, "KWD")),
            "Stripe takes KWD in steps of 0.010, so 5.124 KWD can't be paid there"
        );
        assert_eq!(
            detail(money(120, "MGA")),
            "Stripe takes MGA in steps of 1.00, so 1.20 MGA can't be paid there"
        );
        detail(money(0, "EUR"));
        detail(money(-5, "EUR"));
        detail(money(i64::MAX, "ISK"));
    }

    #[test]
    fn an_amount_that_can_not_be_is_no_money() {
        let isk = "ISK".parse().unwrap();
        assert_eq!(from_stripe(550, isk), None);
        assert_eq!(from_stripe(0, Currency::EUR), None);
        assert_eq!(from_stripe(-1, Currency::EUR), None);
        assert_eq!(from_stripe(i64::MAX, "MGA".parse().unwrap()), None);
    }
}
