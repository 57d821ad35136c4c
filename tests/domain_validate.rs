//! What content is refused, and under which path: both sides of every rule and limit.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

mod domain_fixture;

use std::sync::Arc;

use domain_fixture::{content, currency, decimal, issuer, line};
use faktor::domain::invoice::{Allowance, AllowanceValue, Content, validate};
use faktor::domain::limits;
use faktor::domain::party::{Address, Issuer, MailTexts, Metadata, Party};
use faktor::domain::problem::Problem;
use faktor::domain::tax::{Tax, TaxCategory};
use rust_decimal::Decimal;

/// `path: code` of every problem.
fn problems(checked: Result<(), Vec<Problem>>) -> Vec<String> {
    let found = checked.err().unwrap_or_default();
    found
        .into_iter()
        .map(|problem| format!("{}: {}", problem.param, problem.code))
        .collect()
}

/// The problems of the usual content after a change.
fn changed(change: impl FnOnce(&mut Content)) -> Vec<String> {
    let mut content = content();
    change(&mut content);
    problems(validate::content(&content))
}

const NONE: [&str; 0] = [];

fn chars(count: usize) -> String {
    "ä".repeat(count)
}

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

#[test]
fn all_problems_are_reported_at_once_with_their_paths() {
    let found = changed(|content| {
        content.bill_to.name = " ".to_owned();
        content.bill_to.address = Some(Address {
            country: Some("XX".to_owned()),
            ..Address::default()
        });
        content.lines.push(line("0.0000001", "-1", "101"));
        content.lines.push(line("1", "1", "19"));
        content.lines[0].discount = Some(Box::new(percent("100.1")));
        content.lines[2].description = String::new();
        content.discounts = vec![amount("0.001")];
        content.metadata.insert("project".to_owned(), chars(501));
    });
    assert_eq!(
        found,
        [
            "bill_to.name: required",
            "bill_to.address.country: invalid_country",
            "lines[0].discount.percent: out_of_range",
            "lines[1].quantity: too_many_decimals",
            "lines[1].unit_price: out_of_range",
            "lines[1].tax.rate: out_of_range",
            "lines[2].description: required",
            "discounts[0].amount: too_many_decimals",
            "metadata.project: too_long",
        ]
    );
}

#[test]
fn texts_are_bounded_in_characters_on_both_sides() {
    assert_eq!(
        changed(|c| c.bill_to.name = chars(limits::NAME_CHARS)),
        NONE
    );
    assert_eq!(
        changed(|c| c.bill_to.name = chars(limits::NAME_CHARS + 1)),
        ["bill_to.name: too_long"]
    );
    assert_eq!(
        changed(|c| c.lines[0].description = chars(limits::DESCRIPTION_CHARS)),
        NONE
    );
    let too_long = limits::DESCRIPTION_CHARS + 1;
    let found = changed(|c| c.lines[0].description = chars(too_long));
    assert_eq!(found, ["lines[0].description: too_long"]);
    assert_eq!(changed(|c| c.memo = Some(chars(limits::TEXT_CHARS))), NONE);
    assert_eq!(
        changed(|c| c.memo = Some(chars(limits::TEXT_CHARS + 1))),
        ["memo: too_long"]
    );
}

#[test]
fn control_characters_are_refused_and_line_breaks_allowed_where_texts_are_long() {
    let control = "control_character";
    for bad in [
        "a\r\nb",
        "a\0",
        "a\u{1b}[1m",
        "a\u{85}",
        "a\u{202e}b",
        "a\u{2028}b",
    ] {
        let found = changed(|content| {
            content.bill_to.name = bad.to_owned();
            content.reference = Some(bad.to_owned());
        });
        assert_eq!(
            found,
            [
                format!("bill_to.name: {control}"),
                format!("reference: {control}")
            ]
        );
        let found = changed(|content| content.memo = Some(bad.to_owned()));
        assert_eq!(found, [format!("memo: {control}")], "{bad:?}");
    }
    let broken = "a\nb".to_owned();
    assert_eq!(changed(|c| c.memo = Some(broken.clone())), NONE);
    assert_eq!(
        changed(|c| c.lines[0].description.clone_from(&broken)),
        NONE
    );
    assert_eq!(
        changed(|c| c.purchase_order = Some(broken.clone())).len(),
        1
    );
    let normalized = validate::normalized(&Arc::new(Content {
        memo: Some("a\r\nb".to_owned()),
        ..content()
    }));
    assert_eq!(normalized.memo.as_deref(), Some("a\nb"));
}

#[test]
fn an_invoice_has_one_to_a_thousand_lines() {
    assert_eq!(changed(|c| c.lines.clear()), ["lines: required"]);
    assert_eq!(
        changed(|c| c.lines = vec![line("1", "1", "19"); 1_000]),
        NONE
    );
    assert_eq!(
        changed(|c| c.lines = vec![line("1", "1", "19"); 1_001]),
        ["lines: too_many"]
    );
}

#[test]
fn quantities_prices_and_rates_are_bounded_in_size_and_decimals() {
    let quantity = |text: &str| {
        let free = line(text, "0", "19");
        changed(|content| content.lines.push(free))
    };
    assert_eq!(quantity("100000000"), NONE);
    assert_eq!(quantity("-100000000"), NONE);
    assert_eq!(quantity("100000000.1"), ["lines[1].quantity: out_of_range"]);
    assert_eq!(
        quantity("0.000001000"),
        NONE,
        "zeros at the end are no decimals"
    );
    assert_eq!(
        quantity("0.0000001"),
        ["lines[1].quantity: too_many_decimals"]
    );

    let price = |text: &str| changed(|c| c.lines[0].unit_price = decimal(text));
    assert_eq!(price("0"), NONE);
    assert_eq!(price("-0.01"), ["lines[0].unit_price: out_of_range"]);
    assert_eq!(price("0.000001"), NONE);
    assert_eq!(
        price("0.0000001"),
        ["lines[0].unit_price: too_many_decimals"]
    );
    assert_eq!(price("1000000000000"), NONE);
    assert_eq!(
        price("1000000000000.1"),
        ["lines[0].unit_price: out_of_range"]
    );

    let rate = |text: &str| changed(|c| c.lines[0].tax.rate = decimal(text));
    assert_eq!(rate("100"), NONE);
    assert_eq!(rate("100.0001"), ["lines[0].tax.rate: out_of_range"]);
    assert_eq!(rate("5.1234"), NONE);
    assert_eq!(rate("5.12345"), ["lines[0].tax.rate: too_many_decimals"]);
    assert_eq!(rate("-1"), ["lines[0].tax.rate: out_of_range"]);
}

#[test]
fn amounts_that_no_invoice_can_hold_are_refused() {
    let found = changed(|c| c.lines[0] = line("100000000", "1000000000000", "19"));
    assert_eq!(found, ["lines: too_large"]);
    let found = changed(|c| c.lines[0] = line("-1", "1", "19"));
    assert_eq!(found, ["lines: negative_total"]);
    let found = changed(|c| c.discounts = vec![percent("50"), amount("50.01")]);
    assert_eq!(found, ["discounts[1]: discount_too_large"]);
    let found = changed(|c| c.lines[0].discount = Some(Box::new(amount("100.01"))));
    assert_eq!(found, ["lines[0].discount: discount_too_large"]);
    let found = changed(|c| {
        c.lines[0].quantity = Decimal::ZERO;
        c.charges = vec![amount("1")];
    });
    assert_eq!(found, ["charges[0]: nothing_to_charge"]);
}

#[test]
fn allowances_are_bounded_in_number_and_value() {
    assert_eq!(
        changed(|c| c.charges = vec![amount("1"); limits::ALLOWANCES]),
        NONE
    );
    let found = changed(|c| c.charges = vec![amount("1"); limits::ALLOWANCES + 1]);
    assert_eq!(found, ["charges: too_many"]);
    assert_eq!(
        changed(|c| c.discounts = vec![amount("-1")]),
        ["discounts[0].amount: negative"]
    );
    assert_eq!(changed(|c| c.discounts = vec![percent("0.0001")]), NONE);
    let found = changed(|c| c.discounts = vec![percent("0.00001")]);
    assert_eq!(found, ["discounts[0].percent: too_many_decimals"]);
    let found = changed(|c| {
        c.currency = currency("JPY");
        c.charges = vec![amount("1.5")];
    });
    assert_eq!(found, ["charges[0].amount: too_many_decimals"]);
}

#[test]
fn a_tax_category_binds_its_rate_and_reason_as_en_16931_says() {
    let tax = |category, rate: &str, reason: Option<&str>| {
        let exemption_reason = reason.map(str::to_owned);
        changed(|c| {
            c.lines[0].tax = Tax {
                category,
                rate: decimal(rate),
                exemption_reason,
            }
        })
    };
    assert_eq!(tax(TaxCategory::S, "19", None), NONE);
    assert_eq!(
        tax(TaxCategory::S, "0", None),
        ["lines[0].tax.rate: rate_required"],
        "BR-S-05"
    );
    for category in [
        TaxCategory::AE,
        TaxCategory::K,
        TaxCategory::G,
        TaxCategory::O,
    ] {
        assert_eq!(tax(category, "0", None), NONE, "has a reason by default");
        assert_eq!(
            tax(category, "7", None),
            ["lines[0].tax.rate: rate_not_allowed"]
        );
    }
    assert_eq!(tax(TaxCategory::Z, "0", None), NONE);
    assert_eq!(
        tax(TaxCategory::Z, "7", None),
        ["lines[0].tax.rate: rate_not_allowed"]
    );
    let missing = ["lines[0].tax.exemption_reason: required"];
    assert_eq!(tax(TaxCategory::E, "0", None), missing, "BR-E-10");
    assert_eq!(tax(TaxCategory::E, "0", Some(" ")), missing);
    assert_eq!(tax(TaxCategory::E, "0", Some("Art. 132")), NONE);
    let refused = ["lines[0].tax.exemption_reason: not_allowed"];
    assert_eq!(
        tax(TaxCategory::S, "19", Some("Art. 132")),
        refused,
        "BR-S-10"
    );
}

#[test]
fn what_is_outside_the_scope_of_tax_stands_alone() {
    let outside = || {
        let mut line = line("1", "1", "0");
        line.tax.category = TaxCategory::O;
        line
    };
    assert_eq!(changed(|c| c.lines = vec![outside(), outside()]), NONE);
    let mixed = changed(|c| c.lines = vec![outside(), line("1", "1", "19")]);
    assert_eq!(
        mixed,
        ["lines[1].tax.category: mixed_with_out_of_scope"],
        "BR-O-11"
    );
}

#[test]
fn metadata_is_bounded_in_keys_and_lengths() {
    let keys = |count: usize| -> Metadata {
        (0..count)
            .map(|key| (format!("key {key}"), String::new()))
            .collect()
    };
    assert_eq!(changed(|c| c.metadata = keys(50)), NONE);
    assert_eq!(changed(|c| c.metadata = keys(51)), ["metadata: too_many"]);
    for bad in [String::new(), " ".to_owned(), "a\nb".to_owned(), chars(41)] {
        let found = changed(|c| c.metadata = Metadata::from([(bad.clone(), String::new())]));
        assert_eq!(found, ["metadata: invalid_key"], "{bad:?}");
    }
    let one = |value: String| Metadata::from([(chars(40), value)]);
    assert_eq!(changed(|c| c.metadata = one(chars(500))), NONE);
    assert_eq!(changed(|c| c.metadata = one(chars(501))).len(), 1);
}

#[test]
fn days_parties_and_mail_texts_are_checked() {
    assert_eq!(changed(|c| c.due_in_days = limits::DUE_IN_DAYS), NONE);
    assert_eq!(
        changed(|c| c.due_in_days = limits::DUE_IN_DAYS + 1),
        ["due_in_days: out_of_range"]
    );
    let found = changed(|c| {
        c.ship_to = Some(Box::new(Party {
            email: Some("a@b".to_owned()),
            ..Party::default()
        }));
        c.mail_texts = MailTexts {
            subject: Some("a\nb".to_owned()),
            ..MailTexts::default()
        };
    });
    assert_eq!(
        found,
        [
            "ship_to.name: required",
            "ship_to.email: invalid_email",
            "mail_texts.subject: control_character"
        ]
    );
}

#[test]
fn bank_details_are_checked_after_spaces_and_case_are_made_one() {
    let bank = |iban: &str, bic: &str| {
        let issuer = Issuer {
            iban: Some(iban.to_owned()),
            bic: Some(bic.to_owned()),
            ..issuer()
        };
        problems(validate::issuer(&validate::normalized_issuer(&issuer)))
    };
    assert_eq!(bank("de89 3704 0044 0532 0130 00", "cobadeff"), NONE);
    assert_eq!(
        bank("DE88370400440532013000", "COBADE"),
        ["iban: invalid_iban", "bic: invalid_bic"]
    );
    assert_eq!(
        problems(validate::issuer(&Issuer::default())),
        NONE,
        "named before it issues"
    );
    assert_eq!(
        problems(validate::issue(&content(), &Issuer::default())),
        ["issuer.legal_name: required"]
    );
}

#[test]
fn a_number_pattern_says_what_is_wrong_with_it() {
    assert!(validate::number_pattern("{YYYY}-{0000}").is_ok());
    let found = validate::number_pattern("{YYYY}").unwrap_err();
    assert_eq!(
        found[0].detail,
        "the pattern needs one counter, such as {0000}, with 1 to 12 zeros"
    );
}

/// Whatever passes has totals: nothing that was accepted can fail to be computed later.
#[test]
fn accepted_content_always_has_totals() {
    let seed = domain_fixture::Random::seed();
    let mut random = domain_fixture::Random::new(seed);
    let currencies: Vec<_> = faktor::domain::money::Currency::all().collect();
    for _ in 0..domain_fixture::cases(5_000) {
        let content = domain_fixture::any_content(&mut random, &currencies);
        let totals = faktor::domain::totals::Totals::of(&content);
        assert_eq!(
            validate::content(&content).is_ok(),
            totals.is_ok(),
            "{content:#?}"
        );
    }
}
