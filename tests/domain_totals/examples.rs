//! The calculator's rules, an example each that can be checked by hand.

use faktor::domain::invoice::{Allowance, AllowanceValue, Content, Line};
use faktor::domain::party::Rounding;
use faktor::domain::tax::{Tax, TaxCategory};
use faktor::domain::totals::{Part, Totals, TotalsError};
use rust_decimal::Decimal;

use crate::domain_fixture::{content, currency, decimal, line};

fn percent(number: &str) -> Allowance {
    Allowance {
        value: AllowanceValue::Percent(decimal(number)),
        reason: None,
    }
}

fn amount(number: &str) -> Allowance {
    Allowance {
        value: AllowanceValue::Amount(decimal(number)),
        reason: None,
    }
}

fn with(lines: Vec<Line>) -> Content {
    Content { lines, ..content() }
}

/// `lines_net - discount + charge = net, tax, total`
fn sums(content: &Content) -> String {
    let totals = Totals::of(content).unwrap();
    format!(
        "{} - {} + {} = {}, {}, {}",
        totals.lines_net, totals.discount, totals.charge, totals.net, totals.tax, totals.total
    )
}

#[test]
fn the_example_of_the_http_contract_comes_out_as_written_there() {
    let mut content = with(vec![line("2.5", "99.90", "19")]);
    content.lines[0].discount = Some(Box::new(percent("10")));
    content.discounts = vec![amount("5.00")];
    let totals = Totals::of(&content).unwrap();
    assert_eq!(totals.lines[0].before_discount.to_string(), "249.75");
    assert_eq!(
        totals.lines[0].net.to_string(),
        "224.78",
        "224.775 is rounded once"
    );
    assert_eq!(
        sums(&content),
        "224.78 - 5.00 + 0.00 = 219.78, 41.76, 261.54"
    );
    assert_eq!(totals.taxes[0].base.to_string(), "219.78");
}

#[test]
fn tax_is_rounded_per_rate_or_per_line() {
    let mut content = with(vec![line("1", "0.10", "7"), line("1", "0.10", "7")]);
    content.lines.push(line("1", "0.10", "7"));
    // 0.30 × 7 % = 0.021, three times 0.007 = 3 × 0.01
    assert_eq!(sums(&content), "0.30 - 0.00 + 0.00 = 0.30, 0.02, 0.32");
    content.rounding = Rounding::PerLine;
    assert_eq!(sums(&content), "0.30 - 0.00 + 0.00 = 0.30, 0.03, 0.33");
}

#[test]
fn halves_are_rounded_away_from_zero_on_credits_too() {
    let content = with(vec![line("1", "10.00", "19"), line("-1", "0.125", "19")]);
    let totals = Totals::of(&content).unwrap();
    assert_eq!(totals.lines[1].amount.to_string(), "-0.13");
}

#[test]
fn prices_with_tax_keep_the_total_and_share_the_net_over_the_lines() {
    let mut content = with(vec![line("1", "1.00", "19"); 3]);
    content.prices_include_tax = true;
    let totals = Totals::of(&content).unwrap();
    // 3.00 / 1.19 = 2.521; each line's 0.8403 gives 0.84, 0.84 and 0.84
    assert_eq!(sums(&content), "2.52 - 0.00 + 0.00 = 2.52, 0.48, 3.00");
    assert!(
        totals
            .lines
            .iter()
            .all(|line| line.net.to_string() == "0.84")
    );

    content.lines = vec![line("1", "0.99", "19"); 3];
    let totals = Totals::of(&content).unwrap();
    // 2.97 / 1.19 = 2.4958; 3 × 0.8319 rounded down is 2.49, and the cent goes to the first line.
    let nets: Vec<String> = totals
        .lines
        .iter()
        .map(|line| line.net.to_string())
        .collect();
    assert_eq!(nets, ["0.84", "0.83", "0.83"]);
    assert_eq!(totals.total.to_string(), "2.97");
}

#[test]
fn discounts_and_charges_are_shared_so_that_every_tax_group_bears_its_part() {
    let mut content = with(vec![line("1", "100.00", "19"), line("1", "50.00", "7")]);
    content.discounts = vec![amount("10.00")];
    content.charges = vec![percent("2"), amount("0.01")];
    let totals = Totals::of(&content).unwrap();
    // 10.00 as 6.67 and 3.33; 3.01 as 2.01 and 1.00
    assert_eq!(totals.taxes[0].base.to_string(), "95.34");
    assert_eq!(totals.taxes[1].base.to_string(), "47.67");
    assert_eq!(
        sums(&content),
        "150.00 - 10.00 + 3.01 = 143.01, 21.45, 164.46"
    );
}

#[test]
fn with_prices_that_include_tax_the_cents_of_rounding_never_make_a_discount_negative() {
    let mut content = with(vec![line("1", "1.00", "19"), line("1", "1.00", "7")]);
    content.prices_include_tax = true;
    content.charges = vec![amount("0.20")];
    content.discounts = vec![amount("0.10")];
    // Lines 0.84 + 0.93; charge 0.08 + 0.09; bases 1.05 / 1.19 = 0.88 and 1.05 / 1.07 = 0.98
    assert_eq!(sums(&content), "1.77 - 0.08 + 0.17 = 1.86, 0.24, 2.10");
    // Bases 1.09 / 1.19 = 0.92 and 1.10 / 1.07 = 1.03: a cent more than lines and charge.
    content.discounts = vec![amount("0.01")];
    assert_eq!(sums(&content), "1.77 - 0.00 + 0.18 = 1.95, 0.24, 2.19");
}

#[test]
fn a_discount_may_take_everything_but_not_more() {
    let mut content = content();
    content.discounts = vec![percent("60"), amount("40.00")];
    assert_eq!(sums(&content), "100.00 - 100.00 + 0.00 = 0.00, 0.00, 0.00");
    content.discounts.push(amount("0.01"));
    let too_large = |part| Err(TotalsError::DiscountTooLarge { part });
    assert_eq!(Totals::of(&content), too_large(Part::Discount(2)));

    content.discounts.clear();
    content.lines[0].discount = Some(Box::new(amount("100.00")));
    assert_eq!(sums(&content), "0.00 - 0.00 + 0.00 = 0.00, 0.00, 0.00");
    content.lines[0].discount = Some(Box::new(amount("100.01")));
    assert_eq!(Totals::of(&content), too_large(Part::LineDiscount(0)));
    content.lines[0].quantity = Decimal::NEGATIVE_ONE;
    content.lines[0].discount = Some(Box::new(amount("0.01")));
    assert_eq!(Totals::of(&content), too_large(Part::LineDiscount(0)));
}

#[test]
fn a_charge_needs_a_line_that_carries_it_and_the_total_is_never_negative() {
    let mut content = with(vec![line("0", "1.00", "19")]);
    assert_eq!(sums(&content), "0.00 - 0.00 + 0.00 = 0.00, 0.00, 0.00");
    content.charges = vec![amount("1.00")];
    let error = TotalsError::NothingToCharge {
        part: Part::Charge(0),
    };
    assert_eq!(Totals::of(&content), Err(error));
    let credit = with(vec![line("-1", "1.00", "19")]);
    assert_eq!(Totals::of(&credit), Err(TotalsError::Negative));
}

#[test]
fn every_currency_is_rounded_to_its_own_decimals() {
    let mut content = with(vec![line("3", "33.3335", "10")]);
    content.currency = currency("JPY");
    assert_eq!(sums(&content), "100 - 0 + 0 = 100, 10, 110");
    content.currency = currency("KWD");
    assert_eq!(
        sums(&content),
        "100.001 - 0.000 + 0.000 = 100.001, 10.000, 110.001"
    );
    content.discounts = vec![amount("0.0001")];
    let error = TotalsError::TooManyDecimals {
        part: Part::Discount(0),
    };
    assert_eq!(Totals::of(&content), Err(error));
}

#[test]
fn a_category_and_rate_make_one_row_with_all_its_reasons() {
    let exempt = |reason: Option<&str>, category| Line {
        tax: Tax {
            category,
            rate: Decimal::ZERO,
            exemption_reason: reason.map(str::to_owned),
        },
        ..line("1", "1.00", "0")
    };
    let content = with(vec![
        exempt(Some("Art. 132"), TaxCategory::E),
        line("1", "1.00", "19.0"),
        exempt(Some("Art. 135"), TaxCategory::E),
        exempt(Some("Art. 132"), TaxCategory::E),
        exempt(None, TaxCategory::AE),
        line("1", "1.00", "19"),
    ]);
    let totals = Totals::of(&content).unwrap();
    let rows: Vec<String> = totals
        .taxes
        .iter()
        .map(|row| {
            let reason = row.exemption_reason.as_deref().unwrap_or("-");
            format!("{} {} {} {reason}", row.category.code(), row.rate, row.base)
        })
        .collect();
    assert_eq!(
        rows,
        [
            "E 0 3.00 Art. 132; Art. 135",
            "S 19 2.00 -",
            "AE 0 1.00 Reverse charge"
        ]
    );
}
