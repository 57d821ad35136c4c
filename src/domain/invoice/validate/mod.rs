//! What can be checked without knowing the invoice's state. Every function reports all problems at
//! once, with paths as in the API's request.

use super::super::limits;
use super::super::money::{Currency, Money};
use super::super::party::{Address, Issuer, MailTexts, Metadata, Party};
use super::super::problem::{Problem, Problems};
use super::super::series::SeriesPattern;
use super::super::tax::TaxCategory;
use super::super::totals::{Totals, TotalsError};
use super::command::SendRequest;
use super::{Allowance, AllowanceValue, Content};

mod bank;
mod countries;
mod email;
mod line;
mod normalize;
mod text;

pub use countries::is_country;
pub use email::is_email;
pub use normalize::{normalized, normalized_issuer};

use text::{Text, optional, required};

/// What a check comes to.
pub type Checked = Result<(), Vec<Problem>>;

/// Checks content against every rule and limit.
pub fn content(content: &Content) -> Checked {
    let mut problems = Problems::new();
    check_issuer(&mut problems, &content.issuer);
    check_content(&mut problems, content);
    problems.finish(())
}

/// Checks that a draft can be issued by `issuer`.
pub fn issue(content: &Content, issuer: &Issuer) -> Checked {
    let mut problems = Problems::new();
    check_issuer(&mut problems, issuer);
    if text::is_blank(&issuer.legal_name) {
        let detail = "an invoice names its seller: set it by PATCH /v1/organization";
        problems.add("issuer.legal_name", "required", detail);
    }
    check_content(&mut problems, content);
    problems.finish(())
}

/// Checks what an uploaded file says beside its content, and that it names its seller.
pub fn import(content: &Content, number: &str, notify: Option<&str>) -> Checked {
    let mut problems = Problems::new();
    required(
        &mut problems,
        "number",
        number,
        Text::Line(limits::NAME_CHARS),
    );
    required(
        &mut problems,
        "issuer.legal_name",
        &content.issuer.legal_name,
        Text::Line(limits::NAME_CHARS),
    );
    if let Some(notify) = notify {
        check_email(&mut problems, "notify", notify);
    }
    problems.finish(())
}

/// Checks a customer or other party on its own.
pub fn party(party: &Party) -> Checked {
    let mut problems = Problems::new();
    check_party(&mut problems, party);
    problems.finish(())
}

/// Checks an organization's data as a seller. The legal name may be missing until it issues.
pub fn issuer(issuer: &Issuer) -> Checked {
    let mut problems = Problems::new();
    check_issuer_fields(&mut problems, issuer);
    problems.finish(())
}

/// Checks an organization's own words in mails.
pub fn mail_texts(texts: &MailTexts) -> Checked {
    let mut problems = Problems::new();
    check_mail_texts(&mut problems, texts);
    problems.finish(())
}

/// Checks an e-mail address under the name `param`.
pub fn email(param: &str, address: &str) -> Checked {
    let mut problems = Problems::new();
    check_email(&mut problems, param, address);
    problems.finish(())
}

/// Checks free keys and values.
pub fn metadata(metadata: &Metadata) -> Checked {
    let mut problems = Problems::new();
    check_metadata(&mut problems, metadata);
    problems.finish(())
}

/// Checks the pattern of a number series.
pub fn number_pattern(pattern: &str) -> Checked {
    let mut problems = Problems::new();
    if let Err(error) = SeriesPattern::parse(pattern) {
        problems.add("number_pattern", "invalid", error.to_string());
    }
    problems.finish(())
}

/// Checks a tax on its own, such as an organization's default; paths begin with `param`.
pub fn tax(param: &str, tax: &super::super::tax::Tax) -> Checked {
    let mut problems = Problems::new();
    problems.within(param, |problems| line::check_tax(problems, tax));
    problems.finish(())
}

/// Checks recipients and message of a send.
pub fn send_request(request: &SendRequest) -> Checked {
    let mut problems = Problems::new();
    if request.to.as_ref().is_some_and(Vec::is_empty) {
        problems.add(
            "to",
            "required",
            "name at least one recipient, or leave `to` out",
        );
    }
    let to = request.to.as_deref().unwrap_or_default();
    let count = to.len().max(1) + request.cc.len();
    if count > limits::RECIPIENTS {
        let detail = format!(
            "at most {} recipients, to and cc together",
            limits::RECIPIENTS
        );
        problems.add("to", "too_many", detail);
    } else {
        for (field, addresses) in [("to", to), ("cc", request.cc.as_slice())] {
            for (index, address) in addresses.iter().enumerate() {
                problems.within_item(field, index, |problems| check_email(problems, "", address));
            }
        }
    }
    optional(
        &mut problems,
        "message",
        request.message.as_deref(),
        Text::Block(limits::TEXT_CHARS),
    );
    problems.finish(())
}

/// Checks the reason of a void or write-off.
pub fn reason(reason: Option<&str>) -> Checked {
    let mut problems = Problems::new();
    optional(
        &mut problems,
        "reason",
        reason,
        Text::Block(limits::TEXT_CHARS),
    );
    problems.finish(())
}

/// Checks a provider's token of a payment method.
pub fn payment_method(method: &str) -> Checked {
    let mut problems = Problems::new();
    required(
        &mut problems,
        "payment_method",
        method,
        Text::Line(limits::NAME_CHARS),
    );
    problems.finish(())
}

/// Checks the texts of a payment received elsewhere.
pub fn received_payment(method: &str, reference: Option<&str>) -> Checked {
    let mut problems = Problems::new();
    required(
        &mut problems,
        "method",
        method,
        Text::Line(limits::NAME_CHARS),
    );
    optional(
        &mut problems,
        "reference",
        reference,
        Text::Line(limits::NAME_CHARS),
    );
    problems.finish(())
}

fn check_content(problems: &mut Problems, content: &Content) {
    let before = problems.len();
    problems.within("bill_to", |problems| {
        check_party(problems, &content.bill_to);
    });
    if let Some(ship_to) = &content.ship_to {
        problems.within("ship_to", |problems| check_party(problems, ship_to));
    }
    let name = Text::Line(limits::NAME_CHARS);
    let block = Text::Block(limits::TEXT_CHARS);
    optional(
        problems,
        "purchase_order",
        content.purchase_order.as_deref(),
        name,
    );
    optional(problems, "reference", content.reference.as_deref(), name);
    optional(problems, "memo", content.memo.as_deref(), block);
    optional(
        problems,
        "payment_terms",
        content.payment_terms.as_deref(),
        block,
    );
    if content.due_in_days > limits::DUE_IN_DAYS {
        let detail = format!("between 0 and {} days", limits::DUE_IN_DAYS);
        problems.add("due_in_days", "out_of_range", detail);
    }
    if content.lines.is_empty() {
        problems.add("lines", "required", "an invoice has at least one line");
    } else if content.lines.len() > limits::LINES {
        problems.add(
            "lines",
            "too_many",
            format!("at most {} lines", limits::LINES),
        );
    } else {
        for (index, item) in content.lines.iter().enumerate() {
            problems.within_item("lines", index, |problems| {
                line::check(problems, item, content);
            });
        }
        check_outside_scope(problems, content);
    }
    check_allowances(problems, "discounts", &content.discounts, content.currency);
    check_allowances(problems, "charges", &content.charges, content.currency);
    problems.within("metadata", |problems| {
        check_metadata(problems, &content.metadata);
    });
    problems.within("mail_texts", |problems| {
        check_mail_texts(problems, &content.mail_texts);
    });
    if problems.len() == before
        && let Err(error) = Totals::of(content)
    {
        add_totals_error(problems, &error);
    }
}

/// EN 16931 BR-O-11: what is outside the scope of tax can't stand beside anything else.
fn check_outside_scope(problems: &mut Problems, content: &Content) {
    let outside = |category| category == TaxCategory::O;
    if !content.lines.iter().any(|line| outside(line.tax.category)) {
        return;
    }
    if let Some(other) = content
        .lines
        .iter()
        .position(|line| !outside(line.tax.category))
    {
        problems.add(
            &format!("lines[{other}].tax.category"),
            "mixed_with_out_of_scope",
            "an invoice with a line of category O (outside the scope of tax) has no line of \
             another category",
        );
    }
}

fn add_totals_error(problems: &mut Problems, error: &TotalsError) {
    match error {
        TotalsError::TooLarge => {
            problems.add(
                "lines",
                "too_large",
                "the amounts are larger than an invoice can hold",
            );
        }
        TotalsError::Negative => {
            problems.add(
                "lines",
                "negative_total",
                "the total of an invoice can't be negative",
            );
        }
        TotalsError::DiscountTooLarge { part } => {
            let detail = "the discount is larger than what it applies to";
            problems.add(&part.to_string(), "discount_too_large", detail);
        }
        TotalsError::NothingToCharge { part } => {
            let detail = "no line has a positive amount that could carry the charge";
            problems.add(&part.to_string(), "nothing_to_charge", detail);
        }
        TotalsError::NegativeValue { part } => {
            problems.add(&part.to_string(), "negative", "can't be negative");
        }
        TotalsError::TooManyDecimals { part } => {
            let detail = "the amount has more decimals than the currency";
            problems.add(&part.to_string(), "too_many_decimals", detail);
        }
    }
}

fn check_allowances(
    problems: &mut Problems,
    field: &str,
    allowances: &[Allowance],
    currency: Currency,
) {
    if allowances.len() > limits::ALLOWANCES {
        problems.add(field, "too_many", format!("at most {}", limits::ALLOWANCES));
        return;
    }
    for (index, allowance) in allowances.iter().enumerate() {
        problems.within_item(field, index, |problems| {
            check_allowance(problems, allowance, currency);
        });
    }
}

fn check_allowance(problems: &mut Problems, allowance: &Allowance, currency: Currency) {
    match allowance.value {
        AllowanceValue::Percent(percent) => line::check_percent(problems, "percent", percent),
        AllowanceValue::Amount(amount) => {
            if line::is_negative(amount) {
                problems.add("amount", "negative", "can't be negative");
            } else if amount > limits::UNIT_PRICE_MAX.into() {
                problems.add(
                    "amount",
                    "too_large",
                    format!("at most {}", limits::UNIT_PRICE_MAX),
                );
            } else if amount.normalize().scale() > currency.decimals() {
                let detail = format!("{currency} has {} decimals", currency.decimals());
                problems.add("amount", "too_many_decimals", detail);
            } else if Money::from_decimal(amount, currency).is_err() {
                problems.add("amount", "too_large", "the amount is too large");
            }
        }
    }
    let reason = allowance.reason.as_deref();
    optional(problems, "reason", reason, Text::Line(limits::NAME_CHARS));
}

fn check_party(problems: &mut Problems, party: &Party) {
    let name = Text::Line(limits::NAME_CHARS);
    required(problems, "name", &party.name, name);
    check_optional_email(problems, party.email.as_deref());
    optional(problems, "phone", party.phone.as_deref(), name);
    optional(problems, "tax_id", party.tax_id.as_deref(), name);
    if let Some(address) = &party.address {
        problems.within("address", |problems| check_address(problems, address));
    }
}

fn check_address(problems: &mut Problems, address: &Address) {
    let name = Text::Line(limits::NAME_CHARS);
    optional(problems, "line1", address.line1.as_deref(), name);
    optional(problems, "line2", address.line2.as_deref(), name);
    optional(problems, "city", address.city.as_deref(), name);
    optional(
        problems,
        "postal_code",
        address.postal_code.as_deref(),
        name,
    );
    optional(problems, "state", address.state.as_deref(), name);
    if address
        .country
        .as_deref()
        .is_some_and(|country| !is_country(country))
    {
        let detail = "expected a country code of ISO 3166-1: two capital letters such as DE";
        problems.add("country", "invalid_country", detail);
    }
}

fn check_issuer(problems: &mut Problems, issuer: &Issuer) {
    problems.within("issuer", |problems| check_issuer_fields(problems, issuer));
}

fn check_issuer_fields(problems: &mut Problems, issuer: &Issuer) {
    let name = Text::Line(limits::NAME_CHARS);
    text::limited(problems, "legal_name", &issuer.legal_name, name);
    if let Some(address) = &issuer.address {
        problems.within("address", |problems| check_address(problems, address));
    }
    check_optional_email(problems, issuer.email.as_deref());
    optional(problems, "phone", issuer.phone.as_deref(), name);
    optional(problems, "tax_id", issuer.tax_id.as_deref(), name);
    optional(
        problems,
        "registration",
        issuer.registration.as_deref(),
        name,
    );
    if issuer
        .iban
        .as_deref()
        .is_some_and(|iban| !bank::is_iban(iban))
    {
        let detail = "expected an IBAN such as DE89370400440532013000; its check digits must fit";
        problems.add("iban", "invalid_iban", detail);
    }
    if issuer.bic.as_deref().is_some_and(|bic| !bank::is_bic(bic)) {
        let detail = "expected a BIC of 8 or 11 characters such as COBADEFFXXX";
        problems.add("bic", "invalid_bic", detail);
    }
}

fn check_mail_texts(problems: &mut Problems, texts: &MailTexts) {
    let block = Text::Block(limits::TEXT_CHARS);
    optional(
        problems,
        "subject",
        texts.subject.as_deref(),
        Text::Line(limits::NAME_CHARS),
    );
    optional(
        problems,
        "introduction",
        texts.introduction.as_deref(),
        block,
    );
    optional(problems, "closing", texts.closing.as_deref(), block);
}

fn check_optional_email(problems: &mut Problems, address: Option<&str>) {
    if let Some(address) = address {
        check_email(problems, "email", address);
    }
}

fn check_email(problems: &mut Problems, field: &str, address: &str) {
    if !is_email(address) {
        let detail = "expected one e-mail address such as ap@ada.example, without a name";
        problems.add(field, "invalid_email", detail);
    }
}

fn check_metadata(problems: &mut Problems, metadata: &Metadata) {
    if metadata.len() > limits::METADATA_KEYS {
        problems.add(
            "",
            "too_many",
            format!("at most {} keys", limits::METADATA_KEYS),
        );
        return;
    }
    let key_kind = Text::Line(limits::METADATA_KEY_CHARS);
    let is_name = |key: &str| text::problem(key, key_kind).is_none() && !text::is_blank(key);
    // A key that is no name can't stand in a path.
    if !metadata.keys().all(|key| is_name(key)) {
        let detail = format!(
            "a key has 1 to {} characters and no control characters",
            limits::METADATA_KEY_CHARS
        );
        problems.add("", "invalid_key", detail);
    }
    for (key, value) in metadata.iter().filter(|(key, _)| is_name(key)) {
        text::limited(
            problems,
            key,
            value,
            Text::Block(limits::METADATA_VALUE_CHARS),
        );
    }
}
