//! The rules of one line: quantity, price, discount and tax.

use rust_decimal::Decimal;

use super::super::super::limits;
use super::super::super::problem::Problems;
use super::super::super::tax::{Tax, TaxCategory};
use super::super::{Content, Line};
use super::text::{Text, optional, required};

pub(super) fn check(problems: &mut Problems, line: &Line, content: &Content) {
    let name = Text::Line(limits::NAME_CHARS);
    required(
        problems,
        "description",
        &line.description,
        Text::Block(limits::DESCRIPTION_CHARS),
    );
    optional(problems, "product", line.product.as_deref(), name);
    optional(problems, "unit", line.unit.as_deref(), name);
    if line.quantity.abs() > limits::QUANTITY_MAX.into() {
        let detail = format!("between -{0} and {0}", limits::QUANTITY_MAX);
        problems.add("quantity", "out_of_range", detail);
    } else {
        check_decimals(
            problems,
            "quantity",
            line.quantity,
            limits::QUANTITY_DECIMALS,
        );
    }
    // EN 16931 BR-27: a price is not negative; a credit is a negative quantity.
    if is_negative(line.unit_price) || line.unit_price > limits::UNIT_PRICE_MAX.into() {
        let detail = format!("between 0 and {}", limits::UNIT_PRICE_MAX);
        problems.add("unit_price", "out_of_range", detail);
    } else {
        check_decimals(
            problems,
            "unit_price",
            line.unit_price,
            limits::UNIT_PRICE_DECIMALS,
        );
    }
    if let Some(discount) = &line.discount {
        problems.within("discount", |problems| {
            super::check_allowance(problems, discount, content.currency);
        });
    }
    problems.within("tax", |problems| check_tax(problems, &line.tax));
}

/// The rules that bind a tax category to its rate and reason.
pub(super) fn check_tax(problems: &mut Problems, tax: &Tax) {
    let zero = tax.rate.is_zero();
    if is_negative(tax.rate) || tax.rate > limits::TAX_RATE_MAX.into() {
        let detail = format!("between 0 and {} percent", limits::TAX_RATE_MAX);
        problems.add("rate", "out_of_range", detail);
    } else if tax.category == TaxCategory::S && zero {
        // EN 16931 BR-S-05
        let detail = "category S needs a rate above 0; use Z for zero rated goods";
        problems.add("rate", "rate_required", detail);
    } else if tax.category != TaxCategory::S && !zero {
        // EN 16931 BR-Z-05, BR-E-05, BR-AE-05, BR-IC-05, BR-G-05, BR-O-05
        let detail = format!("category {} has the rate 0", tax.category.code());
        problems.add("rate", "rate_not_allowed", detail);
    } else {
        check_decimals(problems, "rate", tax.rate, limits::PERCENT_DECIMALS);
    }
    match &tax.exemption_reason {
        // EN 16931 BR-S-10, BR-Z-10
        Some(_) if !tax.category.needs_exemption_reason() => {
            let detail = format!("category {} has no exemption reason", tax.category.code());
            problems.add("exemption_reason", "not_allowed", detail);
        }
        Some(reason) => {
            required(
                problems,
                "exemption_reason",
                reason,
                Text::Line(limits::NAME_CHARS),
            );
        }
        // EN 16931 BR-E-10; the other categories have a reason by default.
        None if tax.category == TaxCategory::E => {
            let detail = "category E needs the reason of the exemption";
            problems.add("exemption_reason", "required", detail);
        }
        None => {}
    }
}

pub(super) fn check_percent(problems: &mut Problems, field: &str, percent: Decimal) {
    if is_negative(percent) || percent > Decimal::ONE_HUNDRED {
        problems.add(field, "out_of_range", "between 0 and 100");
    } else {
        check_decimals(problems, field, percent, limits::PERCENT_DECIMALS);
    }
}

fn check_decimals(problems: &mut Problems, field: &str, number: Decimal, max: u32) {
    if number.normalize().scale() > max {
        problems.add(
            field,
            "too_many_decimals",
            format!("at most {max} decimals"),
        );
    }
}

/// Below zero; `-0` is not.
pub(super) fn is_negative(number: Decimal) -> bool {
    number.is_sign_negative() && !number.is_zero()
}
