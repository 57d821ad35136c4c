//! The Invoice Generator's JSON, read into an invoice of ours, its figures compared with ours.

use axum::http::StatusCode;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::actors::invoices::ExecuteError;
use crate::domain::invoice::{Content, DocumentFormat, Line, validate};
use crate::domain::money::Money;
use crate::domain::party::{Address, Issuer, MailTexts, Metadata, Organization, Party};
use crate::domain::problem::{Problem, Problems};
use crate::domain::tax::{Tax, TaxCategory};
use crate::domain::totals::Totals;
use crate::http::error::ApiError;
use crate::http::extract::read_json;
use crate::http::input::{DecimalInput, Field, Leaf, Malformed, Object, optional, required};
use crate::store::StoreError;

/// A text that may have been written as a number.
#[derive(Debug)]
pub(super) struct Label(String);

impl Leaf for Label {
    fn read(token: &str) -> Result<Self, Malformed> {
        let is_number = token.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        if is_number {
            Ok(Self(token.to_owned()))
        } else {
            String::read(token).map(Self)
        }
    }
}

/// An invoice as the Invoice Generator's clients write it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "company_name": "Ada GmbH", "company_address": "Ring 1, Berlin", "date": "2026-11-21",
    "invoice_no": "A-17", "bill_to_name": "Bob", "bill_to_company": "Bob Ltd",
    "items": [{"id": "7", "description": "Server", "qty": 2, "unit_price": 500.00, "total": 1000.00}],
    "subtotal": 1000.00, "tax_rate": 8.5, "tax_amount": 85.00, "total_amount": 1085.00
}))]
pub(super) struct UploadedInvoice {
    #[schema(value_type = String)]
    company_name: Option<Field<String>>,
    #[schema(value_type = Option<String>)]
    company_address: Option<Field<String>>,
    #[schema(value_type = Option<String>)]
    company_phone: Option<Field<Label>>,
    #[schema(value_type = String, example = "2026-11-21")]
    date: Option<Field<Date>>,
    #[schema(value_type = String)]
    invoice_no: Option<Field<Label>>,
    #[schema(value_type = Option<String>)]
    bill_to_name: Option<Field<String>>,
    #[schema(value_type = Option<String>)]
    bill_to_company: Option<Field<String>>,
    #[schema(value_type = Option<String>)]
    bill_to_address: Option<Field<String>>,
    #[schema(value_type = Option<String>)]
    ship_to_name: Option<Field<String>>,
    #[schema(value_type = Option<String>)]
    ship_to_company: Option<Field<String>>,
    #[schema(value_type = Option<String>)]
    ship_to_address: Option<Field<String>>,
    #[schema(value_type = Vec<UploadedItem>)]
    items: Option<Vec<Object<UploadedItem>>>,
    #[schema(value_type = Option<f64>)]
    subtotal: Option<DecimalInput>,
    /// In percent.
    #[schema(value_type = Option<f64>)]
    tax_rate: Option<DecimalInput>,
    #[schema(value_type = Option<f64>)]
    tax_amount: Option<DecimalInput>,
    #[schema(value_type = Option<f64>)]
    total_amount: Option<DecimalInput>,
}

/// A line of it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadedItem {
    #[schema(value_type = Option<String>)]
    id: Option<Field<Label>>,
    #[schema(value_type = String)]
    description: Option<Field<String>>,
    #[schema(value_type = f64)]
    qty: Option<DecimalInput>,
    #[schema(value_type = f64)]
    unit_price: Option<DecimalInput>,
    #[schema(value_type = Option<f64>)]
    total: Option<DecimalInput>,
}

/// What an upload comes to.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) content: Content,
    pub(super) number: String,
    pub(super) issued_on: Date,
}

/// The totals the file claims, each with the field it stands in.
type Claims = Vec<(String, Decimal)>;

impl UploadedInvoice {
    pub(super) fn read(file: &[u8]) -> Result<Self, ApiError> {
        read_json(file)
    }

    /// An invoice in the organization's currency, once every figure the file gives is ours too.
    pub(super) fn check(self, organization: &Organization) -> Result<Import, ApiError> {
        let mut problems = Problems::new();
        let mut claims = Claims::new();
        let import = self.content(organization, &mut problems, &mut claims);
        let import = problems.finish(import)?;
        validate::content(&import.content)
            .map_err(|problems| in_words_of_the_file(ApiError::invalid(problems)))?;
        if let Ok(totals) = Totals::of(&import.content) {
            let wrong = compare(&claims, &totals);
            if !wrong.is_empty() {
                return Err(ApiError::with_problems(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    wrong,
                ));
            }
        }
        Ok(import)
    }

    fn content(
        self,
        organization: &Organization,
        problems: &mut Problems,
        claims: &mut Claims,
    ) -> Import {
        let tax = tax_of(optional(self.tax_rate, "tax_rate", problems));
        let company = required(self.company_name, "company_name", problems).unwrap_or_default();
        let issuer = Issuer {
            legal_name: company,
            address: line_address(optional(self.company_address, "company_address", problems)),
            phone: optional(self.company_phone, "company_phone", problems).map(|label| label.0),
            ..Issuer::default()
        };
        let bill_to = party(
            optional(self.bill_to_name, "bill_to_name", problems),
            optional(self.bill_to_company, "bill_to_company", problems),
            optional(self.bill_to_address, "bill_to_address", problems),
        );
        if bill_to.is_none() {
            problems.add(
                "bill_to_name",
                "required",
                "give bill_to_name or bill_to_company",
            );
        }
        let ship_to = party(
            optional(self.ship_to_name, "ship_to_name", problems),
            optional(self.ship_to_company, "ship_to_company", problems),
            optional(self.ship_to_address, "ship_to_address", problems),
        );
        let items = self.items.unwrap_or_default();
        if items.is_empty() {
            problems.add("items", "required", "an invoice has at least one item");
        }
        let lines = items
            .into_iter()
            .enumerate()
            .map(|(at, Object(item))| {
                problems.within_item("items", at, |found| item.read(at, &tax, found, claims))
            })
            .collect();
        for (given, field) in [
            (self.subtotal, "subtotal"),
            (self.tax_amount, "tax_amount"),
            (self.total_amount, "total_amount"),
        ] {
            claims.extend(optional(given, field, problems).map(|claim| (field.to_owned(), claim)));
        }
        let number = required(self.invoice_no, "invoice_no", problems);
        let issued_on = required(self.date, "date", problems);
        let content = Content {
            issuer,
            customer: None,
            bill_to: bill_to.unwrap_or_default(),
            ship_to: ship_to.map(Box::new),
            currency: organization.currency,
            prices_include_tax: false,
            rounding: organization.rounding,
            locale: organization.locale,
            page_size: organization.page_size,
            purchase_order: None,
            reference: None,
            memo: None,
            payment_terms: None,
            due_in_days: organization.due_in_days,
            lines,
            discounts: Vec::new(),
            charges: Vec::new(),
            metadata: Metadata::new(),
            mail_texts: MailTexts::default(),
        };
        Import {
            content,
            number: number
                .map(|label| label.0.trim().to_owned())
                .unwrap_or_default(),
            issued_on: issued_on.unwrap_or_default(),
        }
    }
}

impl UploadedItem {
    fn read(self, at: usize, tax: &Tax, problems: &mut Problems, claims: &mut Claims) -> Line {
        let total = optional(self.total, "total", problems);
        claims.extend(total.map(|total| (format!("items[{at}].total"), total)));
        Line {
            description: required(self.description, "description", problems).unwrap_or_default(),
            product: optional(self.id, "id", problems)
                .map(|label| label.0)
                .filter(|id| !id.is_empty()),
            quantity: required(self.qty, "qty", problems).unwrap_or(Decimal::ONE),
            unit: None,
            unit_price: required(self.unit_price, "unit_price", problems).unwrap_or(Decimal::ZERO),
            discount: None,
            tax: tax.clone(),
        }
    }
}

/// A rate above zero is the standard one, any other zero rated.
fn tax_of(rate: Option<Decimal>) -> Tax {
    let rate = rate.unwrap_or(Decimal::ZERO);
    let category = if rate.is_zero() {
        TaxCategory::Z
    } else {
        TaxCategory::S
    };
    Tax {
        category,
        rate,
        exemption_reason: None,
    }
}

fn line_address(line: Option<String>) -> Option<Address> {
    let line = line.filter(|line| !line.trim().is_empty())?;
    Some(Address {
        line1: Some(line),
        ..Address::default()
    })
}

/// The company with the person on the first line of its address, or the person.
fn party(
    person: Option<String>,
    company: Option<String>,
    address: Option<String>,
) -> Option<Party> {
    let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let (person, address) = (given(person), given(address));
    let (name, first, second) = match given(company) {
        Some(company) if person.is_some() => (company, person, address),
        Some(company) => (company, address, None),
        None => (person?, address, None),
    };
    let address = first.map(|first| Address {
        line1: Some(first),
        line2: second,
        ..Address::default()
    });
    Some(Party {
        name,
        address,
        ..Party::default()
    })
}

/// Every figure of the file that is not ours.
fn compare(claims: &Claims, totals: &Totals) -> Vec<Problem> {
    let ours = |field: &str| -> Option<Money> {
        match field {
            "subtotal" => Some(totals.net),
            "tax_amount" => Some(totals.tax),
            "total_amount" => Some(totals.total),
            item => {
                let at = item.strip_prefix("items[")?.strip_suffix("].total")?;
                totals
                    .lines
                    .get(at.parse::<usize>().ok()?)
                    .map(|line| line.amount)
            }
        }
    };
    let mut problems = Problems::new();
    for (field, claim) in claims {
        if let Some(ours) = ours(field).filter(|ours| ours.to_decimal() != *claim) {
            let detail = format!("the file says {claim}, but it comes to {ours}");
            problems.add(field, "total_mismatch", detail);
        }
    }
    problems.into_vec()
}

/// The names that the invoice's fields have in the file.
const NAMES: [(&str, &str); 12] = [
    ("issuer.legal_name", "company_name"),
    ("issuer.address.line1", "company_address"),
    ("issuer.phone", "company_phone"),
    ("bill_to.name", "bill_to_name"),
    ("bill_to.address.line1", "bill_to_address"),
    ("bill_to.address.line2", "bill_to_address"),
    ("ship_to.name", "ship_to_name"),
    ("ship_to.address.line1", "ship_to_address"),
    ("ship_to.address.line2", "ship_to_address"),
    ("lines", "items"),
    (".quantity", ".qty"),
    (".product", ".id"),
];

/// Why the invoice was not taken.
pub(super) fn refused(error: ExecuteError) -> ApiError {
    match error {
        ExecuteError::Store(StoreError::Taken { field: "number" }) => {
            let mut problems = Problems::new();
            let detail = "another invoice of the organization has this number";
            problems.add("invoice_no", "number_taken", detail);
            ApiError::invalid(problems.into_vec())
        }
        other => in_words_of_the_file(other.into()),
    }
}

/// An error about the invoice as one about the file.
fn in_words_of_the_file(error: ApiError) -> ApiError {
    if error.problems().is_empty() {
        return error;
    }
    let problems = error.problems().iter().cloned().map(|mut problem| {
        for (ours, theirs) in NAMES {
            problem.param = problem.param.replace(ours, theirs);
        }
        if problem.param == "number" {
            "invoice_no".clone_into(&mut problem.param);
        }
        if problem.param.contains(".tax.rate") {
            "tax_rate".clone_into(&mut problem.param);
        }
        problem
    });
    ApiError::with_problems(error.status(), problems.collect())
}

pub(super) const fn format_name(format: Option<DocumentFormat>) -> &'static str {
    match format {
        None | Some(DocumentFormat::Pdf) => "pdf",
        Some(DocumentFormat::Xlsx) => "excel",
        Some(DocumentFormat::Csv) => "csv",
        Some(DocumentFormat::Json) => "json",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn organization() -> Organization {
        Organization {
            id: crate::domain::ids::OrganizationId::new(uuid::Uuid::nil()),
            version: 1,
            issuer: Issuer::default(),
            locale: crate::domain::party::Locale::En,
            page_size: crate::domain::party::PageSize::A4,
            currency: "USD".parse().unwrap(),
            number_pattern: "{YYYY}-{0000}".to_owned(),
            due_in_days: 14,
            payment_terms: None,
            rounding: crate::domain::party::Rounding::PerRate,
            default_tax: Tax::standard(Decimal::from(19)),
            mail_texts: MailTexts::default(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
            updated_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    const SAMPLE: &str = r#"{
        "company_name": "Solutions", "company_address": "123 Lane", "company_phone": "555-0199",
        "date": "2026-02-02", "invoice_no": "INV-1", "bill_to_name": "John Doe",
        "bill_to_company": "Future Corp", "bill_to_address": "456 Blvd",
        "items": [
            {"id": "Z1", "description": "Server", "qty": 2, "unit_price": 500.00, "total": 1000.00},
            {"id": 7, "description": "Support", "qty": 1, "unit_price": 250.00, "total": 250.00}
        ],
        "subtotal": 1250.00, "tax_rate": 8.5, "tax_amount": 106.25, "total_amount": 1356.25
    }"#;

    fn problems(file: &str) -> (u16, Vec<(String, String)>) {
        let error = UploadedInvoice::read(file.as_bytes())
            .and_then(|read| read.check(&organization()).map(|_| ()))
            .unwrap_err();
        let found = error.problems().iter();
        (
            error.status().as_u16(),
            found
                .map(|p| (p.param.clone(), p.code.to_string()))
                .collect(),
        )
    }

    #[test]
    fn a_file_of_the_invoice_generator_becomes_an_invoice_with_its_own_number() {
        let read = UploadedInvoice::read(SAMPLE.as_bytes()).unwrap();
        let import = read.check(&organization()).unwrap();
        assert_eq!(import.number, "INV-1");
        assert_eq!(import.content.bill_to.name, "Future Corp");
        assert_eq!(import.content.lines[1].product.as_deref(), Some("7"));
        assert_eq!(
            Totals::of(&import.content).unwrap().total.to_string(),
            "1356.25"
        );
    }

    #[test]
    fn figures_that_are_not_ours_are_all_named() {
        let wrong = SAMPLE
            .replace("\"total\": 250.00", "\"total\": 251.00")
            .replace("\"total_amount\": 1356.25", "\"total_amount\": 1356.26");
        let mismatch = "total_mismatch".to_owned();
        let expected = vec![
            ("items[1].total".to_owned(), mismatch.clone()),
            ("total_amount".to_owned(), mismatch),
        ];
        assert_eq!(problems(&wrong), (422, expected));
    }

    #[test]
    fn a_date_that_does_not_exist_is_a_visible_failure() {
        let (status, found) = problems(&SAMPLE.replace("2026-02-02", "2025-02-30"));
        assert_eq!((status, found[0].0.as_str()), (400, "date"));
    }
}
