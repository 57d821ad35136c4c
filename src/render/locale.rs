//! Languages: labels, and how each writes dates, numbers and money. Pure.

use jiff::civil::Date;
use rust_decimal::Decimal;

use crate::domain::money::{Currency, Money};
use crate::domain::party::Locale;

mod de;
mod en;
mod es;
mod fr;
mod it;
mod money;
mod nl;
mod pl;
mod pt;
mod vi;
pub mod words;

pub use words::{Unit, Words};

/// Keeps a number and its sign or unit on one line.
const NO_BREAK_SPACE: char = '\u{a0}';
const NARROW_NO_BREAK_SPACE: char = '\u{202f}';

/// How a language writes numbers (Unicode CLDR).
#[derive(Debug, Clone, Copy)]
struct NumberStyle {
    decimal: char,
    group: char,
    /// What stands between a number and `%`.
    before_percent: &'static str,
}

/// The words of a language.
pub const fn words(locale: Locale) -> &'static Words {
    match locale {
        Locale::En => &en::WORDS,
        Locale::De => &de::WORDS,
        Locale::Fr => &fr::WORDS,
        Locale::Es => &es::WORDS,
        Locale::It => &it::WORDS,
        Locale::Nl => &nl::WORDS,
        Locale::Pl => &pl::WORDS,
        Locale::Pt => &pt::WORDS,
        Locale::Vi => &vi::WORDS,
    }
}

const fn style(locale: Locale) -> NumberStyle {
    let (decimal, group, before_percent) = match locale {
        Locale::En => ('.', ',', ""),
        Locale::De | Locale::Es => (',', '.', "\u{a0}"),
        Locale::Fr => (',', NARROW_NO_BREAK_SPACE, "\u{202f}"),
        Locale::It | Locale::Nl | Locale::Pt | Locale::Vi => (',', '.', ""),
        Locale::Pl => (',', NO_BREAK_SPACE, ""),
    };
    NumberStyle {
        decimal,
        group,
        before_percent,
    }
}

/// A country's name in a language, by its ISO 3166-1 code; the code itself when it is not known.
pub fn country(locale: Locale, code: &str) -> &str {
    const NAMES: &str = include_str!("../../assets/locale/countries.tsv");
    let mut columns = NAMES
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .find(|(known, _)| *known == code)
        .map(|(_, names)| names.split('\t'));
    let column = Locale::ALL.into_iter().position(|known| known == locale);
    match (&mut columns, column) {
        (Some(names), Some(column)) => names.nth(column).unwrap_or(code),
        _ => code,
    }
}

/// Puts values into a sentence: `fill("{amount} due", &[("amount", "€5.00")])`.
pub fn fill(sentence: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(sentence.len() + 32);
    let mut rest = sentence;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, after_name)) = after.split_once('}') else {
            filled.push('{');
            rest = after;
            continue;
        };
        // Only the sentence is searched, never a value: braces in a value stay as they are.
        if let Some((_, value)) = values.iter().find(|(known, _)| *known == name) {
            filled.push_str(value);
        } else {
            filled.push('{');
            filled.push_str(name);
            filled.push('}');
        }
        rest = after_name;
    }
    filled.push_str(rest);
    filled
}

/// A day as written in a letter: `5 December 2026`, `5. Dezember 2026`.
pub fn date(locale: Locale, date: Date) -> String {
    let (day, year) = (date.day(), date.year());
    let at = usize::from(date.month().unsigned_abs())
        .saturating_sub(1)
        .min(11);
    match locale {
        Locale::En => format!("{day} {} {year}", MONTHS_EN[at]),
        Locale::De => format!("{day}. {} {year}", MONTHS_DE[at]),
        Locale::Fr if day == 1 => format!("1er {} {year}", MONTHS_FR[at]),
        Locale::Fr => format!("{day} {} {year}", MONTHS_FR[at]),
        Locale::Es => format!("{day} de {} de {year}", MONTHS_ES[at]),
        Locale::It if day == 1 => format!("1º {} {year}", MONTHS_IT[at]),
        Locale::It => format!("{day} {} {year}", MONTHS_IT[at]),
        Locale::Nl => format!("{day} {} {year}", MONTHS_NL[at]),
        Locale::Pl => format!("{day} {} {year}", MONTHS_PL[at]),
        Locale::Pt => format!("{day} de {} de {year}", MONTHS_PT[at]),
        Locale::Vi => format!("{day} tháng {} năm {year}", date.month()),
    }
}

/// A number with its own decimals, none added and none taken but trailing zeros: `2.5`, `1,204`.
pub fn number(locale: Locale, value: Decimal) -> String {
    grouped(locale, &value.normalize().to_string())
}

/// A rate: `19%`, `19 %`.
pub fn percent(locale: Locale, rate: Decimal) -> String {
    let mut text = number(locale, rate);
    text.push_str(style(locale).before_percent);
    text.push('%');
    text
}

/// An amount with its currency: `€1,204.22`, `1.204,22 €`.
pub fn money(locale: Locale, amount: Money) -> String {
    with_currency(locale, amount.currency, &amount.to_string())
}

/// An amount without its currency: `1,204.22`. For columns whose currency stands elsewhere.
pub fn amount(locale: Locale, amount: Money) -> String {
    grouped(locale, &amount.to_string())
}

/// A unit price with its currency: at least the currency's decimals, more where it has them.
pub fn unit_price(locale: Locale, price: Decimal, currency: Currency) -> String {
    let mut price = price.normalize();
    if price.scale() < currency.decimals() {
        price.rescale(currency.decimals());
    }
    with_currency(locale, currency, &price.to_string())
}

/// A quantity with its unit, common units in the language's own words: `2.5 hours`.
pub fn quantity(locale: Locale, quantity: Decimal, unit: Option<&str>) -> String {
    let mut text = number(locale, quantity);
    if let Some(unit) = unit {
        text.push(NO_BREAK_SPACE);
        text.push_str(unit_name(locale, unit, quantity));
    }
    text
}

/// A unit in the language's words where it is a common one (by its English name or its code of
/// UN/ECE recommendation 20), else as it was given.
pub fn unit_name(locale: Locale, unit: &str, quantity: Decimal) -> &str {
    let words = words(locale);
    let known = match unit.trim() {
        "h" | "hour" | "hours" | "HUR" => words.hour,
        "day" | "days" | "DAY" => words.day,
        "month" | "months" | "MON" => words.month,
        "piece" | "pieces" | "pcs" | "C62" | "H87" => words.piece,
        _ => return unit,
    };
    if quantity.abs() == Decimal::ONE {
        known.one
    } else {
        known.other
    }
}

fn with_currency(locale: Locale, currency: Currency, plain: &str) -> String {
    let (minus, digits) = match plain.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", plain),
    };
    let number = grouped(locale, digits);
    let code = currency.code();
    let sign = match money::sign(locale, currency) {
        "" => code,
        sign => sign,
    };
    let is_word = sign.chars().all(char::is_alphabetic);
    match locale {
        Locale::En if is_word => format!("{minus}{sign}{NO_BREAK_SPACE}{number}"),
        Locale::En => format!("{minus}{sign}{number}"),
        // Brazil writes its own currency in front, Portugal all behind.
        Locale::Pt if code == "BRL" => format!("{minus}{sign}{NO_BREAK_SPACE}{number}"),
        Locale::Nl => format!("{sign}{NO_BREAK_SPACE}{minus}{number}"),
        _ => format!("{minus}{number}{NO_BREAK_SPACE}{sign}"),
    }
}

/// Writes a plain number (`-1204.22`) with the language's separators.
fn grouped(locale: Locale, plain: &str) -> String {
    let style = style(locale);
    let (minus, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut text = String::with_capacity(plain.len() + 8);
    if minus {
        text.push('-');
    }
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(style.group);
        }
        text.push(digit);
    }
    if !fraction.is_empty() {
        text.push(style.decimal);
        text.push_str(fraction);
    }
    text
}

type Months = [&'static str; 12];

#[rustfmt::skip]
const MONTHS_EN: Months = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
#[rustfmt::skip]
const MONTHS_DE: Months = ["Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"];
#[rustfmt::skip]
const MONTHS_FR: Months = ["janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"];
#[rustfmt::skip]
const MONTHS_ES: Months = ["enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"];
#[rustfmt::skip]
const MONTHS_IT: Months = ["gennaio", "febbraio", "marzo", "aprile", "maggio", "giugno", "luglio", "agosto", "settembre", "ottobre", "novembre", "dicembre"];
#[rustfmt::skip]
const MONTHS_NL: Months = ["januari", "februari", "maart", "april", "mei", "juni", "juli", "augustus", "september", "oktober", "november", "december"];
#[rustfmt::skip]
const MONTHS_PL: Months = ["stycznia", "lutego", "marca", "kwietnia", "maja", "czerwca", "lipca", "sierpnia", "września", "października", "listopada", "grudnia"];
#[rustfmt::skip]
const MONTHS_PT: Months = ["janeiro", "fevereiro", "março", "abril", "maio", "junho", "julho", "agosto", "setembro", "outubro", "novembro", "dezembro"];

#[cfg(test)]
mod tests {
    use super::*;

    fn eur(minor: i64) -> Money {
        Money::new(minor, "EUR".parse().unwrap())
    }

    #[test]
    fn each_language_writes_money_its_own_way() {
        let written = Locale::ALL.map(|locale| money(locale, eur(123_456_789)));
        assert_eq!(
            written,
            [
                "€1,234,567.89",
                "1.234.567,89\u{a0}€",
                "1\u{202f}234\u{202f}567,89\u{a0}€",
                "1.234.567,89\u{a0}€",
                "1.234.567,89\u{a0}€",
                "€\u{a0}1.234.567,89",
                "1\u{a0}234\u{a0}567,89\u{a0}€",
                "1.234.567,89\u{a0}€",
                "1.234.567,89\u{a0}€",
            ]
        );
    }

    #[test]
    fn a_minus_stands_before_the_amount() {
        assert_eq!(money(Locale::En, eur(-500)), "-€5.00");
        assert_eq!(money(Locale::Nl, eur(-500)), "€\u{a0}-5,00");
        assert_eq!(money(Locale::De, eur(-500)), "-5,00\u{a0}€");
    }

    #[test]
    fn every_currency_keeps_its_decimals_and_shows_a_sign_or_its_code() {
        let dong = Money::new(2_500_000, "VND".parse().unwrap());
        assert_eq!(money(Locale::Vi, dong), "2.500.000\u{a0}₫");
        assert_eq!(money(Locale::En, dong), "₫2,500,000");
        let zloty = Money::new(100, "PLN".parse().unwrap());
        assert_eq!(money(Locale::Pl, zloty), "1,00\u{a0}zł");
        assert_eq!(money(Locale::En, zloty), "PLN\u{a0}1.00");
        let real = Money::new(100, "BRL".parse().unwrap());
        assert_eq!(money(Locale::Pt, real), "R$\u{a0}1,00");
        for currency in Currency::all() {
            for locale in Locale::ALL {
                let text = money(locale, Money::new(1, currency));
                assert!(
                    text.chars()
                        .any(|c| !c.is_ascii_digit() && !".,-".contains(c)),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn dates_read_as_in_a_letter() {
        let day = Date::constant(2026, 12, 5);
        let written = Locale::ALL.map(|locale| date(locale, day));
        assert_eq!(
            written,
            [
                "5 December 2026",
                "5. Dezember 2026",
                "5 décembre 2026",
                "5 de diciembre de 2026",
                "5 dicembre 2026",
                "5 december 2026",
                "5 grudnia 2026",
                "5 de dezembro de 2026",
                "5 tháng 12 năm 2026",
            ]
        );
        assert_eq!(
            date(Locale::Fr, Date::constant(2026, 1, 1)),
            "1er janvier 2026"
        );
    }

    #[test]
    fn unit_prices_keep_their_extra_decimals() {
        let euro = "EUR".parse().unwrap();
        assert_eq!(
            unit_price(Locale::En, "0.0125".parse().unwrap(), euro),
            "€0.0125"
        );
        assert_eq!(
            unit_price(Locale::En, "99.9".parse().unwrap(), euro),
            "€99.90"
        );
        assert_eq!(
            unit_price(Locale::En, "99.9000".parse().unwrap(), euro),
            "€99.90"
        );
    }

    #[test]
    fn quantities_carry_their_unit() {
        assert_eq!(
            quantity(Locale::En, "2.50".parse().unwrap(), Some("hour")),
            "2.5\u{a0}hours"
        );
        assert_eq!(
            quantity(Locale::De, Decimal::ONE, Some("day")),
            "1\u{a0}Tag"
        );
        assert_eq!(
            quantity(Locale::De, Decimal::TWO, Some("Palette")),
            "2\u{a0}Palette"
        );
        assert_eq!(percent(Locale::De, "7.50".parse().unwrap()), "7,5\u{a0}%");
    }

    #[test]
    fn countries_are_named_in_every_language() {
        let germany = Locale::ALL.map(|locale| country(locale, "DE"));
        let wanted = [
            "Germany",
            "Deutschland",
            "Allemagne",
            "Alemania",
            "Germania",
            "Duitsland",
            "Niemcy",
            "Alemanha",
            "Đức",
        ];
        assert_eq!(germany, wanted);
        assert_eq!(country(Locale::En, "ZZ"), "ZZ");
    }

    #[test]
    fn values_with_braces_are_never_filled_again() {
        let values = [("number", "{issuer}"), ("issuer", "ACME")];
        assert_eq!(
            fill("{number} from {issuer}, {other} {", &values),
            "{issuer} from ACME, {other} {"
        );
    }

    #[test]
    fn every_sentence_has_its_placeholders_in_every_language() {
        for locale in Locale::ALL {
            let words = serde_json::to_value(words(locale)).unwrap();
            let english = serde_json::to_value(super::words(Locale::En)).unwrap();
            for (key, text) in words.as_object().unwrap() {
                let Some(text) = text.as_str() else { continue };
                for name in [
                    "number", "amount", "date", "issuer", "page", "pages", "rate", "base",
                ] {
                    let name = format!("{{{name}}}");
                    let wanted = english[key].as_str().unwrap().contains(&name);
                    assert_eq!(text.contains(&name), wanted, "{locale:?} {key} {name}");
                }
            }
        }
    }
}
