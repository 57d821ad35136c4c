//! The one calculator: lines, document discounts and charges, tax per category and rate, totals.
//!
//! All arithmetic is exact, on integers; a result is rounded to the currency's decimals where a rule
//! below says so, and half away from zero everywhere. Documents, API and pages show these numbers
//! and never recompute.
//!
//! 1. A line's amount is quantity × unit price less its discount, rounded once.
//! 2. A document discount or charge is an amount, or a percentage of the sum of the line amounts
//!    (of nothing, if that is negative), rounded once each. All discounts together, and all charges
//!    together, are shared over the lines with positive amounts in proportion to them, to the cent
//!    (largest remainder, the first line on a tie), so that every tax group bears its part.
//! 3. Lines are grouped by tax category and rate, in order of first appearance. EN 16931 wants one
//!    row per category and rate, so different exemption reasons stand in one row.
//! 4. Prices without tax: a group's base is the sum of its lines' shares, its tax is
//!    `round(base × rate)` (BR-CO-17), or the sum of it over the lines when rounding per line.
//! 5. Prices with tax: a group's gross is the sum of its lines' shares, its base
//!    `round(gross / (1 + rate))`, or the sum of it over the lines when rounding per line; its tax
//!    is the rest, so that the total is what the prices say.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::invoice::{Allowance, AllowanceValue, Content, Line};
use super::money::{Currency, Money, MoneyError};
use super::party::Rounding;
use super::tax::{Tax, TaxCategory};

mod exact;
mod share;

use exact::{Exact, Percent};

/// What one line comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineTotals {
    /// Quantity × unit price, rounded, as priced (with tax when prices include it).
    pub before_discount: Money,
    /// The line's amount as priced: after its discount (with tax when prices include it).
    pub amount: Money,
    /// Without tax (EN 16931 BT-131). The nets of all lines add up to `lines_net`.
    pub net: Money,
}

/// One row of the tax breakdown (EN 16931 BG-23).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxSubtotal {
    pub category: TaxCategory,
    /// In percent.
    pub rate: Decimal,
    pub base: Money,
    pub amount: Money,
    /// The reasons of the lines, each once, joined by `; `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exemption_reason: Option<String>,
}

/// What an invoice comes to. `lines_net - discount + charge = net`, `net + tax = total`, the
/// bases of `taxes` add up to `net` and their amounts to `tax`: to the cent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub lines: Vec<LineTotals>,
    pub lines_net: Money,
    /// Document discounts without tax; never negative.
    pub discount: Money,
    /// Document charges without tax; never negative.
    pub charge: Money,
    pub net: Money,
    pub taxes: Vec<TaxSubtotal>,
    pub tax: Money,
    pub total: Money,
}

/// The part of the content that an error is about. Displays as the API's path of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The discount of the line with this index.
    LineDiscount(usize),
    /// The tax of the line with this index.
    LineTax(usize),
    /// The document discount with this index.
    Discount(usize),
    /// The document charge with this index.
    Charge(usize),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineDiscount(line) => write!(f, "lines[{line}].discount"),
            Self::LineTax(line) => write!(f, "lines[{line}].tax.rate"),
            Self::Discount(index) => write!(f, "discounts[{index}]"),
            Self::Charge(index) => write!(f, "charges[{index}]"),
        }
    }
}

/// Why content has no totals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TotalsError {
    #[error("the amounts are too large")]
    TooLarge,
    #[error("{part}: the discount is larger than what it applies to")]
    DiscountTooLarge { part: Part },
    #[error("{part}: no line has a positive amount that could carry the charge")]
    NothingToCharge { part: Part },
    #[error("{part}: a discount, charge or rate can't be negative")]
    NegativeValue { part: Part },
    #[error("{part}: the amount has more decimals than the currency")]
    TooManyDecimals { part: Part },
    #[error("the total is negative")]
    Negative,
}

/// A line's part in the calculation, in minor units as priced.
struct Share {
    amount: i128,
    /// The line's part of the document charges.
    charge: i128,
    /// The amount after the line's parts of document discounts and charges.
    after: i128,
}

/// The lines of one tax category and rate.
struct Group<'a> {
    tax: &'a Tax,
    rate: Percent,
    lines: Vec<usize>,
}

/// What a group comes to, in minor units, besides the nets of its lines.
struct GroupTotals {
    base: i128,
    tax: i128,
    /// The group's part of the document charges, without tax.
    charge: i128,
}

impl Totals {
    /// Computes the totals of `content`.
    pub fn of(content: &Content) -> Result<Self, TotalsError> {
        let currency = content.currency;
        let money = |minor| Money::from_i128(minor, currency).map_err(|_| TotalsError::TooLarge);

        let mut before = Vec::with_capacity(content.lines.len());
        let mut amounts = Vec::with_capacity(content.lines.len());
        for (index, line) in content.lines.iter().enumerate() {
            let (before_discount, amount) = line_amounts(line, index, currency)?;
            money(before_discount)?;
            before.push(before_discount);
            amounts.push(amount);
        }
        let (discount, discounts) = discounts(content, &amounts)?;
        let charges = charges(content, &amounts)?;
        let shares: Vec<Share> = (0..amounts.len())
            .map(|line| Share {
                amount: amounts[line],
                charge: charges[line],
                after: amounts[line] - discounts[line] + charges[line],
            })
            .collect();

        let mut nets = amounts.clone();
        let mut taxes = Vec::new();
        let (mut net, mut tax, mut charge_net) = (0, 0, 0);
        for group in group(content)? {
            let totals = if content.prices_include_tax {
                inclusive(&group, &shares, content.rounding, &mut nets)
            } else {
                exclusive(&group, &shares, content.rounding)
            }
            .ok_or(TotalsError::TooLarge)?;
            net += totals.base;
            tax += totals.tax;
            charge_net += totals.charge;
            taxes.push(TaxSubtotal {
                category: group.tax.category,
                rate: group.tax.rate.normalize(),
                base: money(totals.base)?,
                amount: money(totals.tax)?,
                exemption_reason: exemption_reasons(&group, content),
            });
        }
        if net + tax < 0 {
            return Err(TotalsError::Negative);
        }

        // Without tax, charges are rounded per group and the discount is the rest. Where there is
        // no discount, or the cents would make it negative, the rest belongs to the charge.
        let lines_net = nets.iter().sum::<i128>();
        let discount_net = if discount == 0 {
            0
        } else {
            (lines_net + charge_net - net).max(0)
        };
        Ok(Self {
            lines: (0..amounts.len())
                .map(|line| {
                    Ok(LineTotals {
                        before_discount: money(before[line])?,
                        amount: money(amounts[line])?,
                        net: money(nets[line])?,
                    })
                })
                .collect::<Result<_, TotalsError>>()?,
            lines_net: money(lines_net)?,
            discount: money(discount_net)?,
            charge: money(net + discount_net - lines_net)?,
            net: money(net)?,
            taxes,
            tax: money(tax)?,
            total: money(net + tax)?,
        })
    }

    /// The totals of nothing.
    pub const fn zero(currency: Currency) -> Self {
        let zero = Money::zero(currency);
        Self {
            lines: Vec::new(),
            lines_net: zero,
            discount: zero,
            charge: zero,
            net: zero,
            taxes: Vec::new(),
            tax: zero,
            total: zero,
        }
    }
}

/// A line's amount before and after its discount, in minor units.
fn line_amounts(
    line: &Line,
    index: usize,
    currency: Currency,
) -> Result<(i128, i128), TotalsError> {
    let decimals = currency.decimals();
    let part = Part::LineDiscount(index);
    let exact = Exact::from(line.quantity)
        .times(Exact::from(line.unit_price))
        .ok_or(TotalsError::TooLarge)?;
    let before = exact.round_to(decimals).ok_or(TotalsError::TooLarge)?;
    let amount = match line.discount.as_ref().map(|discount| discount.value) {
        None => before,
        Some(value) if value.number().is_sign_negative() && !value.number().is_zero() => {
            return Err(TotalsError::NegativeValue { part });
        }
        Some(AllowanceValue::Percent(percent)) if percent > Decimal::ONE_HUNDRED => {
            return Err(TotalsError::DiscountTooLarge { part });
        }
        // Rounded once: 2.5 × 99.90 less 10 % is 224.775, and so 224.78.
        Some(AllowanceValue::Percent(percent)) => Exact::from(percent)
            .percent_left()
            .and_then(|left| exact.times(left)?.round_to(decimals))
            .ok_or(TotalsError::TooLarge)?,
        Some(AllowanceValue::Amount(amount)) => {
            let amount = minor(amount, currency, part)?;
            if amount > before.max(0) {
                return Err(TotalsError::DiscountTooLarge { part });
            }
            before - amount
        }
    };
    Ok((before, amount))
}

fn minor(amount: Decimal, currency: Currency, part: Part) -> Result<i128, TotalsError> {
    match Money::from_decimal(amount, currency) {
        Ok(money) => Ok(i128::from(money.minor)),
        Err(MoneyError::TooManyDecimals { .. }) => Err(TotalsError::TooManyDecimals { part }),
        Err(MoneyError::TooLarge | MoneyError::CurrencyMismatch(..)) => Err(TotalsError::TooLarge),
    }
}

/// What a document discount or charge comes to; percentages are of `sum`.
fn allowance(
    allowance: &Allowance,
    sum: i128,
    currency: Currency,
    part: Part,
) -> Result<i128, TotalsError> {
    let number = allowance.value.number();
    if number.is_sign_negative() && !number.is_zero() {
        return Err(TotalsError::NegativeValue { part });
    }
    match allowance.value {
        AllowanceValue::Amount(amount) => minor(amount, currency, part),
        AllowanceValue::Percent(percent) => Exact::from(percent)
            .percent()
            .and_then(|percent| percent.of(sum.max(0)))
            .ok_or(TotalsError::TooLarge),
    }
}

/// All document discounts together, and each line's part of them.
fn discounts(content: &Content, amounts: &[i128]) -> Result<(i128, Vec<i128>), TotalsError> {
    let sum = amounts.iter().sum::<i128>();
    let positive = amounts.iter().filter(|&&amount| amount > 0).sum::<i128>();
    let mut discount = 0_i128;
    for (index, item) in content.discounts.iter().enumerate() {
        let part = Part::Discount(index);
        discount = discount
            .checked_add(allowance(item, sum, content.currency, part)?)
            .ok_or(TotalsError::TooLarge)?;
        if discount > positive {
            return Err(TotalsError::DiscountTooLarge { part });
        }
    }
    Ok((
        discount,
        share::split(discount, amounts).ok_or(TotalsError::TooLarge)?,
    ))
}

/// Each line's part of all document charges together.
fn charges(content: &Content, amounts: &[i128]) -> Result<Vec<i128>, TotalsError> {
    let sum = amounts.iter().sum::<i128>();
    let carried = amounts.iter().any(|&amount| amount > 0);
    let mut charge = 0_i128;
    for (index, item) in content.charges.iter().enumerate() {
        let part = Part::Charge(index);
        charge = charge
            .checked_add(allowance(item, sum, content.currency, part)?)
            .ok_or(TotalsError::TooLarge)?;
        if charge > 0 && !carried {
            return Err(TotalsError::NothingToCharge { part });
        }
    }
    share::split(charge, amounts).ok_or(TotalsError::TooLarge)
}

/// The lines by tax category and rate, in order of first appearance.
fn group(content: &Content) -> Result<Vec<Group<'_>>, TotalsError> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (index, line) in content.lines.iter().enumerate() {
        let tax = &line.tax;
        if tax.rate.is_sign_negative() && !tax.rate.is_zero() {
            return Err(TotalsError::NegativeValue {
                part: Part::LineTax(index),
            });
        }
        let known = groups
            .iter_mut()
            .find(|group| group.tax.category == tax.category && group.tax.rate == tax.rate);
        match known {
            Some(group) => group.lines.push(index),
            None => groups.push(Group {
                tax,
                rate: Exact::from(tax.rate)
                    .percent()
                    .ok_or(TotalsError::TooLarge)?,
                lines: vec![index],
            }),
        }
    }
    Ok(groups)
}

fn exemption_reasons(group: &Group<'_>, content: &Content) -> Option<String> {
    let mut reasons: Vec<&str> = Vec::new();
    for &line in &group.lines {
        let tax = &content.lines[line].tax;
        let reason = tax.exemption_reason.as_deref();
        let reason = reason.or_else(|| tax.category.default_exemption_reason());
        reasons.extend(reason.filter(|reason| !reasons.contains(reason)));
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Prices without tax.
fn exclusive(group: &Group<'_>, shares: &[Share], rounding: Rounding) -> Option<GroupTotals> {
    let base = sum_over(group, |line| Some(shares[line].after))?;
    let tax = match rounding {
        Rounding::PerRate => group.rate.of(base)?,
        Rounding::PerLine => sum_over(group, |line| group.rate.of(shares[line].after))?,
    };
    Some(GroupTotals {
        base,
        tax,
        charge: sum_over(group, |line| Some(shares[line].charge))?,
    })
}

/// Prices with tax; writes the nets of the group's lines.
fn inclusive(
    group: &Group<'_>,
    shares: &[Share],
    rounding: Rounding,
    nets: &mut [i128],
) -> Option<GroupTotals> {
    let rate = group.rate;
    let gross = sum_over(group, |line| Some(shares[line].after))?;
    let base = match rounding {
        Rounding::PerRate => rate.without(gross)?,
        Rounding::PerLine => sum_over(group, |line| rate.without(shares[line].after))?,
    };
    match rounding {
        // The lines' nets add up to what the group's amounts come to without tax.
        Rounding::PerRate => {
            let target = rate.without(sum_over(group, |line| Some(shares[line].amount))?)?;
            let exact = group
                .lines
                .iter()
                .map(|&line| rate.without_exact(shares[line].amount))
                .collect::<Option<Vec<_>>>()?;
            let denominator = exact.first()?.1;
            let numerators: Vec<i128> = exact.into_iter().map(|(numerator, _)| numerator).collect();
            let parts = share::apportion(target, &numerators, denominator);
            for (&line, part) in group.lines.iter().zip(parts) {
                nets[line] = part;
            }
        }
        Rounding::PerLine => {
            for &line in &group.lines {
                nets[line] = rate.without(shares[line].amount)?;
            }
        }
    }
    let charge = rate.without(sum_over(group, |line| Some(shares[line].charge))?)?;
    Some(GroupTotals {
        base,
        tax: gross - base,
        charge,
    })
}

fn sum_over(group: &Group<'_>, of: impl Fn(usize) -> Option<i128>) -> Option<i128> {
    group
        .lines
        .iter()
        .try_fold(0_i128, |sum, &line| sum.checked_add(of(line)?))
}
