//! The calculator against an independent one that works with exact fractions and follows the rules
//! as they are written, not the code.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

mod domain_fixture;
#[path = "domain_totals/examples.rs"]
mod examples;

use std::cmp::Ordering;

use domain_fixture::{Random, any_content, cases, content, decimal, line};
use faktor::domain::invoice::{AllowanceValue, Content};
use faktor::domain::money::{Currency, Money};
use faktor::domain::party::Rounding;
use faktor::domain::tax::TaxCategory;
use faktor::domain::totals::{Totals, TotalsError};
use num_rational::Ratio;
use rust_decimal::Decimal;

/// Exact; what would not fit ends the test by the overflow checks of test builds. (Fractions of big
/// integers give the same, at ten times the time.)
type Fraction = Ratio<i128>;

fn whole(number: i64) -> Fraction {
    Fraction::from_integer(i128::from(number))
}

fn fraction(number: Decimal) -> Fraction {
    Fraction::new(number.mantissa(), 10_i128.pow(number.scale()))
}

fn percent(number: Decimal) -> Fraction {
    fraction(number) / whole(100)
}

/// To the nearest whole number, halves away from zero.
fn round(number: &Fraction) -> i64 {
    let half = Fraction::new(1, 2);
    let rounded = match number.cmp(&whole(0)) {
        Ordering::Less => (number - half).ceil(),
        _ => (number + half).floor(),
    };
    i64::try_from(rounded.to_integer()).unwrap()
}

/// Hands out whole units: everybody gets the whole part of what is theirs, and each unit that is
/// left goes to whoever is furthest below it, the first one on a tie.
fn hand_out(units: i64, theirs: &[Fraction]) -> Vec<i64> {
    let mut got: Vec<i64> = theirs
        .iter()
        .map(|exact| i64::try_from(exact.floor().to_integer()).unwrap())
        .collect();
    while got.iter().sum::<i64>() < units {
        let mut furthest = 0;
        for at in 1..theirs.len() {
            if theirs[at] - whole(got[at]) > theirs[furthest] - whole(got[furthest]) {
                furthest = at;
            }
        }
        got[furthest] += 1;
    }
    got
}

/// What the calculator should say; amounts in minor units.
#[derive(Debug, PartialEq)]
struct Expected {
    /// Before discount, amount, net.
    lines: Vec<(i64, i64, i64)>,
    lines_net: i64,
    discount: i64,
    charge: i64,
    net: i64,
    taxes: Vec<(TaxCategory, Decimal, i64, i64)>,
    tax: i64,
    total: i64,
}

/// The kinds of refusals.
#[derive(Debug, PartialEq)]
enum Impossible {
    LineDiscount(usize),
    Discount,
    Charge,
    Negative,
}

/// A document discount or charge in minor units; percentages are of the lines' sum, if that is
/// positive.
fn allowance(value: AllowanceValue, sum: i64, minor_per_major: i64) -> i64 {
    match value {
        AllowanceValue::Percent(number) => round(&(percent(number) * whole(sum.max(0)))),
        AllowanceValue::Amount(number) => round(&(fraction(number) * whole(minor_per_major))),
    }
}

fn shares(of: i64, amounts: &[i64]) -> Vec<i64> {
    if of == 0 {
        return vec![0; amounts.len()];
    }
    let positive: i64 = amounts.iter().filter(|amount| **amount > 0).sum();
    let exact: Vec<Fraction> = amounts
        .iter()
        .map(|amount| whole(of) * whole((*amount).max(0)) / whole(positive))
        .collect();
    hand_out(of, &exact)
}

fn expected(content: &Content) -> Result<Expected, Impossible> {
    let minor_per_major = 10_i64.pow(content.currency.decimals());
    let mut before = vec![];
    let mut amounts = vec![];
    for (at, line) in content.lines.iter().enumerate() {
        let exact = fraction(line.quantity) * fraction(line.unit_price) * whole(minor_per_major);
        let rounded = round(&exact);
        before.push(rounded);
        amounts.push(
            match line.discount.as_ref().map(|discount| discount.value) {
                None => rounded,
                Some(AllowanceValue::Percent(number)) => {
                    round(&(exact * (whole(1) - percent(number))))
                }
                Some(AllowanceValue::Amount(number)) => {
                    let off = round(&(fraction(number) * whole(minor_per_major)));
                    if off > 0 && off > rounded {
                        return Err(Impossible::LineDiscount(at));
                    }
                    rounded - off
                }
            },
        );
    }
    let sum: i64 = amounts.iter().sum();
    let positive: i64 = amounts.iter().filter(|amount| **amount > 0).sum();
    let total_of = |allowances: &[faktor::domain::invoice::Allowance]| -> i64 {
        allowances
            .iter()
            .map(|item| allowance(item.value, sum, minor_per_major))
            .sum()
    };
    let (discount, charge) = (total_of(&content.discounts), total_of(&content.charges));
    if discount > positive {
        return Err(Impossible::Discount);
    }
    if charge > 0 && positive == 0 {
        return Err(Impossible::Charge);
    }
    let (off, on) = (shares(discount, &amounts), shares(charge, &amounts));
    let after: Vec<i64> = (0..amounts.len())
        .map(|at| amounts[at] - off[at] + on[at])
        .collect();

    let mut keys: Vec<(TaxCategory, Decimal)> = vec![];
    for line in &content.lines {
        let key = (line.tax.category, line.tax.rate);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let mut nets = amounts.clone();
    let mut taxes = vec![];
    let mut charge_net = 0;
    for (category, rate) in keys {
        let members: Vec<usize> = (0..amounts.len())
            .filter(|at| content.lines[*at].tax.category == category)
            .filter(|at| content.lines[*at].tax.rate == rate)
            .collect();
        let sum = |of: &[i64]| members.iter().map(|at| of[*at]).sum::<i64>();
        let with_tax = whole(1) + percent(rate);
        let without = |gross: i64| round(&(whole(gross) / with_tax));
        let (base, tax) = match (content.prices_include_tax, content.rounding) {
            (false, Rounding::PerRate) => {
                (sum(&after), round(&(whole(sum(&after)) * percent(rate))))
            }
            (false, Rounding::PerLine) => {
                let tax = members
                    .iter()
                    .map(|at| round(&(whole(after[*at]) * percent(rate))))
                    .sum();
                (sum(&after), tax)
            }
            (true, rounding) => {
                let base = match rounding {
                    Rounding::PerRate => without(sum(&after)),
                    Rounding::PerLine => members.iter().map(|at| without(after[*at])).sum(),
                };
                (base, sum(&after) - base)
            }
        };
        if content.prices_include_tax {
            let parts = match content.rounding {
                Rounding::PerRate => {
                    let exact: Vec<Fraction> = members
                        .iter()
                        .map(|at| whole(amounts[*at]) / with_tax)
                        .collect();
                    hand_out(without(sum(&amounts)), &exact)
                }
                Rounding::PerLine => members.iter().map(|at| without(amounts[*at])).collect(),
            };
            for (at, part) in members.iter().zip(parts) {
                nets[*at] = part;
            }
            charge_net += without(sum(&on));
        } else {
            charge_net += sum(&on);
        }
        taxes.push((category, rate, base, tax));
    }
    let net: i64 = taxes.iter().map(|row| row.2).sum();
    let tax: i64 = taxes.iter().map(|row| row.3).sum();
    if net + tax < 0 {
        return Err(Impossible::Negative);
    }
    let lines_net: i64 = nets.iter().sum();
    let discount_net = if discount == 0 {
        0
    } else {
        (lines_net + charge_net - net).max(0)
    };
    Ok(Expected {
        lines: (0..amounts.len())
            .map(|at| (before[at], amounts[at], nets[at]))
            .collect(),
        lines_net,
        discount: discount_net,
        charge: net - lines_net + discount_net,
        net,
        taxes,
        tax,
        total: net + tax,
    })
}

fn found(totals: &Totals) -> Expected {
    let lines = totals.lines.iter();
    let taxes = totals.taxes.iter();
    Expected {
        lines: lines
            .map(|line| {
                (
                    line.before_discount.minor,
                    line.amount.minor,
                    line.net.minor,
                )
            })
            .collect(),
        lines_net: totals.lines_net.minor,
        discount: totals.discount.minor,
        charge: totals.charge.minor,
        net: totals.net.minor,
        taxes: taxes
            .map(|row| (row.category, row.rate, row.base.minor, row.amount.minor))
            .collect(),
        tax: totals.tax.minor,
        total: totals.total.minor,
    }
}

fn refusal(error: &TotalsError) -> Option<Impossible> {
    use faktor::domain::totals::Part;
    match error {
        TotalsError::DiscountTooLarge {
            part: Part::LineDiscount(line),
        } => Some(Impossible::LineDiscount(*line)),
        TotalsError::DiscountTooLarge { .. } => Some(Impossible::Discount),
        TotalsError::NothingToCharge { .. } => Some(Impossible::Charge),
        TotalsError::Negative => Some(Impossible::Negative),
        _ => None,
    }
}

/// What must hold to the cent, whatever the rules come to.
fn assert_adds_up(totals: &Totals, content: &Content) {
    let sum =
        |amounts: &mut dyn Iterator<Item = Money>| amounts.map(|money| money.minor).sum::<i64>();
    assert_eq!(
        sum(&mut totals.lines.iter().map(|line| line.net)),
        totals.lines_net.minor
    );
    assert_eq!(
        totals.lines_net.minor - totals.discount.minor + totals.charge.minor,
        totals.net.minor
    );
    assert_eq!(
        sum(&mut totals.taxes.iter().map(|row| row.base)),
        totals.net.minor
    );
    assert_eq!(
        sum(&mut totals.taxes.iter().map(|row| row.amount)),
        totals.tax.minor
    );
    assert_eq!(totals.net.minor + totals.tax.minor, totals.total.minor);
    assert!(totals.discount.minor >= 0 && totals.charge.minor >= 0 && totals.total.minor >= 0);
    if content.charges.is_empty() && content.discounts.is_empty() {
        assert!(totals.charge.is_zero() && totals.discount.is_zero());
    }
}

#[test]
fn totals_agree_with_exact_fractions_to_the_cent() {
    let seed = Random::seed();
    let cases = cases(200_000);
    let currencies: Vec<Currency> = Currency::all().collect();
    let threads = 2;
    let good: u64 = std::thread::scope(|scope| {
        let work = |thread: u64| {
            let currencies = &currencies;
            move || {
                let mut random = Random::new(seed ^ thread);
                let mut good = 0;
                for _ in 0..cases.div_ceil(threads) {
                    let content = any_content(&mut random, currencies);
                    match (Totals::of(&content), expected(&content)) {
                        (Ok(totals), Ok(expected)) => {
                            assert_eq!(found(&totals), expected, "{content:#?}");
                            assert_adds_up(&totals, &content);
                            good += 1;
                        }
                        (Err(error), Err(impossible)) => {
                            assert_eq!(refusal(&error), Some(impossible), "{content:#?}");
                        }
                        (found, expected) => {
                            panic!("{found:?} where {expected:?} was expected: {content:#?}")
                        }
                    }
                }
                good
            }
        };
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(work(thread)))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert!(
        good > cases / 2,
        "only {good} of {cases} cases were possible invoices"
    );
}

#[test]
fn the_largest_numbers_allowed_are_refused_or_right_but_never_wrong() {
    let largest = |quantity: &str, price: &str| {
        let mut content = content();
        content.lines = vec![line(quantity, price, "99.9999")];
        content.lines[0].discount = Some(Box::new(faktor::domain::invoice::Allowance {
            value: AllowanceValue::Percent(decimal("0.0001")),
            reason: None,
        }));
        content
    };
    assert_eq!(
        Totals::of(&largest("100000000", "999999999999.999999")),
        Err(TotalsError::TooLarge)
    );
    // 10^13 - 1 major units are the most that money can hold.
    let content = largest("0.999999", "4999999999999.123456");
    let totals = Totals::of(&content).unwrap();
    assert_eq!(found(&totals), expected(&content).unwrap());
}
