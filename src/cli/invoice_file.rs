//! An invoice in a file, as `faktor render` reads it: the body of `POST /v1/invoices` with what the
//! server would know beside it. Pure.
//!
//! The body itself is read by the API's own reader, so that a file and a request mean the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::{
    Content, DeliveryState, DocumentState, Invoice, Issued, Payment, PaymentState, Source, State,
    validate,
};
use crate::domain::money::Money;
use crate::domain::party::{Issuer, Locale, MailTexts, Organization, PageSize, Rounding};
use crate::domain::problem::{Problem, Problems};
use crate::domain::tax::{Tax, TaxCategory};
use crate::domain::totals::Totals;
use crate::http::error::ApiError;
use crate::http::extract::read_json;
use crate::http::input::{
    DecimalInput, Field, Leaf, Malformed, Object, one_of, optional, required,
};
use crate::http::invoices::content::{ContentInput, defaults};
use crate::http::party::{AddressInput, read_address};

/// The fields that a request does not have.
const OWN_FIELDS: [&str; 6] = [
    "issuer",
    "number",
    "issued_on",
    "due_on",
    "status",
    "payments",
];

/// Who issues the invoice.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct IssuerInput {
    legal_name: Option<Field<String>>,
    address: Option<Object<AddressInput>>,
    email: Option<Field<String>>,
    phone: Option<Field<String>>,
    tax_id: Option<Field<String>>,
    registration: Option<Field<String>>,
    iban: Option<Field<String>>,
    bic: Option<Field<String>>,
}

impl IssuerInput {
    fn read(self, problems: &mut Problems) -> Issuer {
        Issuer {
            legal_name: required(self.legal_name, "legal_name", problems).unwrap_or_default(),
            address: read_address(self.address, problems),
            email: optional(self.email, "email", problems),
            phone: optional(self.phone, "phone", problems),
            tax_id: optional(self.tax_id, "tax_id", problems),
            registration: optional(self.registration, "registration", problems),
            iban: optional(self.iban, "iban", problems),
            bic: optional(self.bic, "bic", problems),
            logo: None,
        }
    }
}

/// Money that came in.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PaymentInput {
    amount: Option<DecimalInput>,
    method: Option<Field<String>>,
    received_on: Option<Field<Date>>,
    reference: Option<Field<String>>,
}

/// What an invoice in a file can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileStatus {
    Draft,
    Open,
    Paid,
    Void,
    Uncollectible,
}

impl Leaf for FileStatus {
    fn read(token: &str) -> Result<Self, Malformed> {
        one_of(
            token,
            &[
                ("draft", Self::Draft),
                ("open", Self::Open),
                ("paid", Self::Paid),
                ("void", Self::Void),
                ("uncollectible", Self::Uncollectible),
            ],
        )
    }
}

/// The fields beside the request's.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OwnInput {
    issuer: Option<Object<IssuerInput>>,
    number: Option<Field<String>>,
    issued_on: Option<Field<Date>>,
    due_on: Option<Field<Date>>,
    status: Option<Field<FileStatus>>,
    payments: Vec<Object<PaymentInput>>,
}

/// What is wrong with a file: each problem with its field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", sentences(.0))]
pub struct BadInvoiceFile(pub Vec<Problem>);

fn sentences(problems: &[Problem]) -> String {
    let lines = problems.iter().map(|problem| match problem.param.as_str() {
        "" => problem.detail.clone(),
        param => format!("{param}: {}", problem.detail),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn bad(error: &ApiError) -> BadInvoiceFile {
    if !error.problems().is_empty() {
        return BadInvoiceFile(error.problems().to_vec());
    }
    let mut problems = Problems::new();
    problems.add(
        "",
        "invalid_json",
        error.detail().replace("the body", "the file"),
    );
    BadInvoiceFile(problems.into_vec())
}

/// Reads an invoice. One with a number is open, one without a draft, unless `status` or its
/// payments say otherwise; it is issued `today` unless it says when.
pub fn read(json: &[u8], today: Date) -> Result<Invoice, BadInvoiceFile> {
    let (own, body) = split(json)?;
    let said: ContentInput = read_json(&body).map_err(|error| bad(&error))?;
    let own: OwnInput = read_json(&own).map_err(|error| bad(&error))?;
    let mut problems = Problems::new();
    let issuer = own
        .issuer
        .map(|Object(issuer)| problems.within("issuer", |p| issuer.read(p)));
    let organization = organization(issuer.unwrap_or_default());
    let content = said.apply(defaults(&organization, None), &organization, None);
    let (content, mut found) = match content {
        Ok(content) => {
            let found = validate::content(&content).err().unwrap_or_default();
            (content, found)
        }
        Err(problems) => (defaults(&organization, None), problems),
    };
    let number = optional(own.number, "number", &mut problems);
    let issued_on = optional(own.issued_on, "issued_on", &mut problems).unwrap_or(today);
    let due_on = optional(own.due_on, "due_on", &mut problems);
    let status = optional(own.status, "status", &mut problems);
    let received = payments(own.payments, &content, issued_on, &mut problems);
    let is_issued = number.is_some() || status.is_some_and(|status| status != FileStatus::Draft);
    // What could not be read is not judged.
    if is_issued && found.is_empty() {
        let number = number.as_deref().unwrap_or_default();
        found.extend(
            validate::import(&content, number, None)
                .err()
                .unwrap_or_default(),
        );
    }
    let totals = Totals::of(&content);
    found.extend(problems.into_vec());
    found.dedup();
    let (Ok(totals), true) = (totals, found.is_empty()) else {
        return Err(BadInvoiceFile(found));
    };
    let numbered = is_issued.then(|| Issued {
        number: number.unwrap_or_default(),
        issued_on,
        due_on: due_on.unwrap_or_else(|| {
            issued_on.saturating_add(jiff::Span::new().days(i64::from(content.due_in_days)))
        }),
        finalized_at: midnight(issued_on),
        overdue: false,
    });
    let state = state(numbered, status, &received, &totals).map_err(BadInvoiceFile)?;
    Ok(invoice(
        json,
        content,
        totals,
        state,
        received,
        midnight(issued_on),
    ))
}

/// The file's own fields and the rest of it, each as an object.
fn split(json: &[u8]) -> Result<(Vec<u8>, Vec<u8>), BadInvoiceFile> {
    let fields: BTreeMap<String, Box<RawValue>> = read_json(json).map_err(|error| bad(&error))?;
    let (own, rest): (BTreeMap<_, _>, BTreeMap<_, _>) = fields
        .into_iter()
        .partition(|(name, _)| OWN_FIELDS.contains(&name.as_str()));
    let write = |fields: &BTreeMap<String, Box<RawValue>>| {
        serde_json::to_vec(fields).map_err(|error| {
            let mut problems = Problems::new();
            problems.add("", "invalid_json", error.to_string());
            BadInvoiceFile(problems.into_vec())
        })
    };
    Ok((write(&own)?, write(&rest)?))
}

/// An organization that knows nothing but its issuer.
fn organization(issuer: Issuer) -> Organization {
    Organization {
        id: OrganizationId::new(Uuid::nil()),
        version: 1,
        issuer,
        locale: Locale::En,
        page_size: PageSize::A4,
        currency: euro(),
        number_pattern: "{YYYY}-{0000}".to_owned(),
        due_in_days: 14,
        payment_terms: None,
        rounding: Rounding::PerRate,
        default_tax: Tax {
            category: TaxCategory::Z,
            rate: Decimal::ZERO,
            exemption_reason: None,
        },
        mail_texts: MailTexts::default(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

#[expect(
    clippy::expect_used,
    reason = "EUR is in the table of currencies, as its tests show"
)]
fn euro() -> crate::domain::money::Currency {
    "EUR".parse().expect("EUR is a currency")
}

fn payments(
    given: Vec<Object<PaymentInput>>,
    content: &Content,
    issued_on: Date,
    problems: &mut Problems,
) -> Vec<Payment> {
    let mut received = Vec::with_capacity(given.len());
    for (at, Object(payment)) in given.into_iter().enumerate() {
        problems.within_item("payments", at, |problems| {
            let amount = required(payment.amount, "amount", problems);
            let method = optional(payment.method, "method", problems);
            let received_on = optional(payment.received_on, "received_on", problems);
            let received_on = received_on.unwrap_or(issued_on);
            let reference = optional(payment.reference, "reference", problems);
            let amount = amount.map(|amount| Money::from_decimal(amount, content.currency));
            match amount {
                Some(Ok(amount)) if amount.is_positive() => received.push(Payment {
                    amount,
                    method: method.unwrap_or_else(|| "bank_transfer".to_owned()),
                    received_on,
                    recorded_at: midnight(received_on),
                    reference,
                    provider: None,
                    charge: None,
                }),
                Some(Ok(_)) => problems.add("amount", "out_of_range", "must be more than zero"),
                Some(Err(error)) => problems.add("amount", "invalid_number", error.to_string()),
                None => {}
            }
        });
    }
    received
}

fn state(
    issued: Option<Issued>,
    status: Option<FileStatus>,
    received: &[Payment],
    totals: &Totals,
) -> Result<State, Vec<Problem>> {
    let Some(issued) = issued else {
        return Ok(State::Draft);
    };
    let paid: i128 = received
        .iter()
        .map(|payment| i128::from(payment.amount.minor))
        .sum();
    let covers = !received.is_empty() && paid >= i128::from(totals.total.minor);
    let last = received.iter().map(|payment| payment.recorded_at).max();
    let at = last.unwrap_or(issued.finalized_at);
    let status = status.unwrap_or(if covers {
        FileStatus::Paid
    } else {
        FileStatus::Open
    });
    Ok(match status {
        FileStatus::Draft => State::Draft,
        FileStatus::Open => State::Open { issued },
        FileStatus::Paid if covers => State::Paid {
            issued,
            paid_at: at,
        },
        FileStatus::Paid => {
            let mut problems = Problems::new();
            let detail = "a paid invoice names the payments that paid it";
            problems.add("payments", "required", detail);
            return Err(problems.into_vec());
        }
        FileStatus::Void => State::Void {
            issued,
            voided_at: at,
            reason: None,
        },
        FileStatus::Uncollectible => State::Uncollectible {
            issued,
            marked_at: at,
            reason: None,
        },
    })
}

fn midnight(day: Date) -> Timestamp {
    day.to_zoned(TimeZone::UTC)
        .map_or(Timestamp::UNIX_EPOCH, |zoned| zoned.timestamp())
}

fn invoice(
    json: &[u8],
    content: Content,
    totals: Totals,
    state: State,
    received: Vec<Payment>,
    at: Timestamp,
) -> Invoice {
    Invoice {
        // The same file is the same invoice.
        id: InvoiceId::new(Uuid::new_v5(&Uuid::NAMESPACE_OID, json)),
        organization: OrganizationId::new(Uuid::nil()),
        version: 1,
        source: Source::Api,
        content: Arc::new(content),
        totals,
        state,
        payment: PaymentState {
            received,
            ..PaymentState::default()
        },
        document: DocumentState::default(),
        delivery: DeliveryState::default(),
        page_secret: String::new(),
        first_viewed_at: None,
        effects: Vec::new(),
        next_effect: 1,
        requests: Vec::new(),
        created_at: at,
        updated_at: at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::invoice::Status;

    const EXAMPLE: &str = include_str!("../../examples/invoice.json");

    fn today() -> Date {
        Date::constant(2026, 11, 21)
    }

    fn read_text(json: &str) -> Result<Invoice, BadInvoiceFile> {
        read(json.as_bytes(), today())
    }

    fn params(json: &str) -> Vec<String> {
        let problems = read_text(json).unwrap_err().0;
        problems.into_iter().map(|problem| problem.param).collect()
    }

    #[test]
    fn the_example_is_an_open_invoice_with_its_total() {
        let invoice = read_text(EXAMPLE).unwrap();
        assert_eq!(invoice.status(), Status::Open);
        assert_eq!(invoice.issued().unwrap().number, "2026-0001");
        assert_eq!(invoice.totals.total.to_string(), "261.54");
    }

    #[test]
    fn a_request_is_a_draft() {
        let json = r#"{"bill_to": {"name": "Ada GmbH"}, "currency": "EUR",
            "lines": [{"description": "Consulting", "quantity": 2, "unit_price": "99.90"}]}"#;
        let invoice = read_text(json).unwrap();
        assert_eq!(invoice.status(), Status::Draft);
        assert_eq!(invoice.totals.total.to_string(), "199.80");
    }

    #[test]
    fn payments_that_cover_the_total_make_it_paid() {
        let open: serde_json::Value = serde_json::from_str(EXAMPLE).unwrap();
        let with = |amount: &str, status: Option<&str>| {
            let mut json = open.clone();
            json["payments"] = serde_json::json!([{"amount": amount, "received_on": "2026-12-03"}]);
            if let Some(status) = status {
                json["status"] = status.into();
            }
            read_text(&json.to_string())
        };
        assert_eq!(with("261.54", None).unwrap().status(), Status::Paid);
        assert_eq!(with("100", None).unwrap().status(), Status::Open);
        assert_eq!(with("100", None).unwrap().due().to_string(), "161.54");
        assert_eq!(
            with("100", Some("paid")).unwrap_err().0[0].param,
            "payments"
        );
        assert_eq!(
            with("261.545", None).unwrap_err().0[0].param,
            "payments[0].amount"
        );
    }

    #[test]
    fn every_problem_names_its_field() {
        assert_eq!(params("{"), [""]);
        assert_eq!(params(r#"{"colour": "red"}"#), ["colour"]);
        assert_eq!(params(r#"{"issuer": {"name": "x"}}"#), ["issuer.name"]);
        let wrong = params(
            r#"{"bill_to": {"name": "Ada"}, "number": 7, "issued_on": "2026-02-30",
                "lines": [{"description": "x", "quantity": "many", "unit_price": "1"}]}"#,
        );
        for field in ["lines[0].quantity", "number", "issued_on"] {
            assert!(
                wrong.iter().any(|param| param == field),
                "{field} is not in {wrong:?}"
            );
        }
        // An issued invoice names who issued it.
        let unissued = params(
            r#"{"bill_to": {"name": "Ada"}, "number": "1",
                "lines": [{"description": "x", "quantity": 1, "unit_price": "1"}]}"#,
        );
        assert_eq!(unissued, ["issuer.legal_name"]);
    }
}
