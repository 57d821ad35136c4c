//! Made-up content, and a small generator of random numbers whose seed is printed, so that a
//! failure can be repeated: `FAKTOR_TEST_SEED=… cargo test …`.

use std::hash::{BuildHasher, Hasher, RandomState};

use faktor::domain::invoice::{Allowance, AllowanceValue, Content, Line};
use faktor::domain::money::Currency;
use faktor::domain::party::{Issuer, Locale, MailTexts, Metadata, PageSize, Party, Rounding};
use faktor::domain::tax::{Tax, TaxCategory};
use rust_decimal::Decimal;

/// `SplitMix64`: small, fast, and good enough to make cases.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A new seed each run, or the one in `FAKTOR_TEST_SEED`; printed, for a failure's repeat.
    pub(crate) fn seed() -> u64 {
        let seed = std::env::var("FAKTOR_TEST_SEED").map_or_else(
            |_| RandomState::new().build_hasher().finish(),
            |seed| seed.parse().unwrap(),
        );
        println!("repeat with FAKTOR_TEST_SEED={seed}");
        seed
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `0..bound`
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(items.len() as u64)).unwrap();
        &items[at]
    }

    /// A number of up to `digits` digits, small ones as likely as large ones.
    pub(crate) fn digits(&mut self, digits: u32) -> i64 {
        let bound = 10_u64.pow(1 + u32::try_from(self.below(u64::from(digits))).unwrap());
        i64::try_from(self.below(bound)).unwrap()
    }
}

/// How many cases to make: `default`, or what `FAKTOR_TEST_CASES` says.
pub(crate) fn cases(default: u64) -> u64 {
    std::env::var("FAKTOR_TEST_CASES")
        .ok()
        .map_or(default, |cases| cases.parse().unwrap())
}

pub(crate) fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

pub(crate) fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

pub(crate) fn line(quantity: &str, unit_price: &str, rate: &str) -> Line {
    Line {
        description: "Consulting".to_owned(),
        product: None,
        quantity: decimal(quantity),
        unit: None,
        unit_price: decimal(unit_price),
        discount: None,
        tax: Tax::standard(decimal(rate)),
    }
}

pub(crate) fn issuer() -> Issuer {
    Issuer {
        legal_name: "Faktor Example GmbH".to_owned(),
        ..Issuer::default()
    }
}

/// One line of 100.00 EUR with 19 % on top.
pub(crate) fn content() -> Content {
    Content {
        issuer: issuer(),
        customer: None,
        bill_to: Party {
            name: "Ada GmbH".to_owned(),
            email: Some("ap@ada.example".to_owned()),
            ..Party::default()
        },
        ship_to: None,
        currency: currency("EUR"),
        prices_include_tax: false,
        rounding: Rounding::PerRate,
        locale: Locale::En,
        page_size: PageSize::A4,
        purchase_order: None,
        reference: None,
        memo: None,
        payment_terms: None,
        due_in_days: 14,
        lines: vec![line("1", "100.00", "19")],
        discounts: vec![],
        charges: vec![],
        metadata: Metadata::new(),
        mail_texts: MailTexts::default(),
    }
}

/// Content of every shape: all currencies, prices with and without tax, both roundings, discounts
/// and charges; now and then with credits, and now and then impossible.
pub(crate) fn any_content(random: &mut Random, currencies: &[Currency]) -> Content {
    let currency = *random.pick(currencies);
    let lines = 1 + random.below(*random.clone().pick(&[1, 2, 3, 5, 8]));
    Content {
        currency,
        prices_include_tax: random.one_in(2),
        rounding: if random.one_in(2) {
            Rounding::PerRate
        } else {
            Rounding::PerLine
        },
        lines: (0..lines).map(|_| any_line(random, currency)).collect(),
        discounts: any_allowances(random, currency),
        charges: any_allowances(random, currency),
        ..content()
    }
}

fn any_line(random: &mut Random, currency: Currency) -> Line {
    let sign = if random.one_in(8) { -1 } else { 1 };
    let quantity = match random.below(3) {
        0 => Decimal::new(sign * random.digits(3), 0),
        1 => Decimal::new(sign * random.digits(4), 1),
        _ => Decimal::new(sign * random.digits(8), 6),
    };
    let unit_price = match random.below(4) {
        0 => Decimal::new(random.digits(6), 6),
        1 => Decimal::new(random.digits(12), 6),
        _ => Decimal::new(random.digits(7), currency.decimals()),
    };
    let tax = match random.below(8) {
        0 => Tax {
            category: TaxCategory::Z,
            rate: Decimal::ZERO,
            exemption_reason: None,
        },
        1 => Tax {
            category: TaxCategory::E,
            rate: Decimal::ZERO,
            exemption_reason: Some(
                if random.one_in(2) {
                    "Art. 132"
                } else {
                    "Art. 135"
                }
                .into(),
            ),
        },
        2 => Tax::standard(Decimal::new(1 + random.digits(5), 4)),
        3 | 4 => Tax::standard(Decimal::new(7, 0)),
        5 => Tax::standard(Decimal::new(190, 1)),
        _ => Tax::standard(Decimal::new(19, 0)),
    };
    let discount = match random.below(6) {
        0 => Some(AllowanceValue::Percent(any_percent(random))),
        1 => Some(AllowanceValue::Amount(Decimal::new(
            random.digits(3),
            currency.decimals(),
        ))),
        _ => None,
    };
    let discount = discount.map(|value| Allowance {
        value,
        reason: None,
    });
    Line {
        quantity,
        unit_price,
        discount: discount.map(Box::new),
        tax,
        ..line("1", "1", "19")
    }
}

fn any_percent(random: &mut Random) -> Decimal {
    match random.below(3) {
        0 => Decimal::new(i64::try_from(random.below(101)).unwrap(), 0),
        1 => Decimal::new(i64::try_from(random.below(1_001)).unwrap(), 1),
        _ => Decimal::new(i64::try_from(random.below(1_000_001)).unwrap(), 4),
    }
}

fn any_allowances(random: &mut Random, currency: Currency) -> Vec<Allowance> {
    let count = match random.below(4) {
        0 => 1,
        1 => random.below(3),
        _ => 0,
    };
    let mut value = || match random.below(2) {
        0 => AllowanceValue::Percent((any_percent(random) / Decimal::TEN).round_dp(4)),
        _ => AllowanceValue::Amount(Decimal::new(random.digits(4), currency.decimals())),
    };
    (0..count)
        .map(|_| Allowance {
            value: value(),
            reason: None,
        })
        .collect()
}
