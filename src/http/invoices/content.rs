//! What an invoice says, as requests write it: read into the domain's `Content`, all problems at
//! once.

use rust_decimal::Decimal;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::invoice::change::ContentChange;
use crate::domain::invoice::{Allowance, AllowanceValue, Content, Line, validate};
use crate::domain::money::Currency;
use crate::domain::party::{Customer, Locale, Metadata, Organization, PageSize, Party, Rounding};
use crate::domain::problem::{Problem, Problems};
use crate::domain::tax::{Tax, TaxCategory};
use crate::http::input::{DecimalInput, Field, Object, Patch, optional, required};
use crate::http::party::PartyInput;

/// A discount or charge: a percentage, or an amount in the invoice's currency.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Allowance)]
pub struct AllowanceInput {
    /// In percent.
    #[schema(value_type = Option<String>, example = "10")]
    percent: Option<DecimalInput>,
    #[schema(value_type = Option<String>)]
    amount: Option<DecimalInput>,
    #[schema(value_type = Option<String>, example = "loyalty")]
    reason: Option<Field<String>>,
}

impl AllowanceInput {
    fn read(self, problems: &mut Problems) -> Allowance {
        let value = match (self.percent, self.amount) {
            (Some(percent), None) => percent
                .take("percent", problems)
                .map(AllowanceValue::Percent),
            (None, Some(amount)) => amount.take("amount", problems).map(AllowanceValue::Amount),
            _ => {
                problems.add("", "exactly_one", "give either percent or amount");
                None
            }
        };
        Allowance {
            value: value.unwrap_or(AllowanceValue::Percent(Decimal::ZERO)),
            reason: optional(self.reason, "reason", problems),
        }
    }
}

/// The tax of a line.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Tax)]
pub struct TaxInput {
    /// A category code of EN 16931: S, Z, E, AE, K, G or O. Without one: S.
    #[schema(value_type = Option<String>, example = "S")]
    category: Option<Field<TaxCategory>>,
    /// In percent. Without one: 0, which S does not allow.
    #[schema(value_type = Option<String>, example = "19")]
    rate: Option<DecimalInput>,
    /// Why no tax is due.
    #[schema(value_type = Option<String>)]
    exemption_reason: Option<Field<String>>,
}

impl TaxInput {
    pub(in crate::http) fn read(self, problems: &mut Problems) -> Tax {
        let category = match self.category {
            Some(category) => category.take("category", problems),
            None => Some(TaxCategory::S),
        };
        let rate = match (self.rate, category) {
            (None, Some(TaxCategory::S)) => {
                problems.add("rate", "required", "this field is required");
                None
            }
            (rate, _) => optional(rate, "rate", problems),
        };
        Tax {
            category: category.unwrap_or(TaxCategory::S),
            rate: rate.unwrap_or(Decimal::ZERO),
            exemption_reason: optional(self.exemption_reason, "exemption_reason", problems),
        }
    }
}

/// A line of an invoice.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Line)]
pub struct LineInput {
    #[schema(value_type = String, example = "Consulting")]
    description: Option<Field<String>>,
    /// Your product, article number or SKU.
    #[schema(value_type = Option<String>)]
    product: Option<Field<String>>,
    #[schema(value_type = String, example = "2.5")]
    quantity: Option<DecimalInput>,
    #[schema(value_type = Option<String>, example = "hour")]
    unit: Option<Field<String>>,
    /// In major units, with up to 6 decimals.
    #[schema(value_type = String, example = "99.90")]
    unit_price: Option<DecimalInput>,
    #[schema(value_type = Option<AllowanceInput>)]
    discount: Option<Object<AllowanceInput>>,
    /// Without it, the organization's default.
    #[schema(value_type = Option<TaxInput>)]
    tax: Option<Object<TaxInput>>,
}

impl LineInput {
    fn read(self, default_tax: &Tax, problems: &mut Problems) -> Line {
        Line {
            description: required(self.description, "description", problems).unwrap_or_default(),
            product: optional(self.product, "product", problems),
            quantity: required(self.quantity, "quantity", problems).unwrap_or(Decimal::ONE),
            unit: optional(self.unit, "unit", problems),
            unit_price: required(self.unit_price, "unit_price", problems).unwrap_or(Decimal::ZERO),
            discount: self.discount.map(|Object(discount)| {
                Box::new(problems.within("discount", |found| discount.read(found)))
            }),
            tax: match self.tax {
                Some(Object(tax)) => problems.within("tax", |found| tax.read(found)),
                None => default_tax.clone(),
            },
        }
    }
}

/// What an invoice says. On create, what is not given comes from the customer and the organization;
/// on change, what is given replaces and null clears.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = InvoiceContent, example = json!({
    "bill_to": {"name": "Ada GmbH", "email": "ap@ada.example", "tax_id": "DE123456789",
        "address": {"line1": "Ring 1", "city": "Berlin", "postal_code": "10115", "country": "DE"}},
    "currency": "EUR", "purchase_order": "PO-7", "due_in_days": 14,
    "lines": [{"description": "Consulting", "quantity": "2.5", "unit": "hour",
        "unit_price": "99.90", "discount": {"percent": "10"},
        "tax": {"category": "S", "rate": "19"}}],
    "discounts": [{"amount": "5.00", "reason": "loyalty"}], "metadata": {"project": "x"}
}))]
pub struct ContentInput {
    /// The id of a customer, whose data are copied unless `bill_to` is given.
    #[schema(value_type = Option<String>, example = "cus_0192f0c1a2b37c1e8d5f6a7b8c9d0e1f")]
    #[serde(default)]
    pub(super) customer: Patch<Field<crate::domain::ids::CustomerId>>,
    #[schema(value_type = Option<PartyInput>)]
    #[serde(default)]
    bill_to: Patch<Object<PartyInput>>,
    #[schema(value_type = Option<PartyInput>)]
    #[serde(default)]
    ship_to: Patch<Object<PartyInput>>,
    /// ISO 4217.
    #[schema(value_type = Option<String>, example = "EUR")]
    #[serde(default)]
    currency: Patch<Field<Currency>>,
    #[schema(value_type = Option<bool>)]
    #[serde(default)]
    prices_include_tax: Patch<Field<bool>>,
    /// `per_rate` or `per_line`.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    rounding: Patch<Field<Rounding>>,
    /// en, de, fr, es, it, nl, pl, pt or vi.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    locale: Patch<Field<Locale>>,
    /// `a4` or `letter`.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    page_size: Patch<Field<PageSize>>,
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    purchase_order: Patch<Field<String>>,
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    reference: Patch<Field<String>>,
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    memo: Patch<Field<String>>,
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    payment_terms: Patch<Field<String>>,
    /// Days from issue to due date, at most 3650.
    #[schema(value_type = Option<u16>)]
    #[serde(default)]
    due_in_days: Patch<Field<u16>>,
    /// 1 to 1,000.
    #[schema(value_type = Vec<LineInput>)]
    #[serde(default)]
    lines: Patch<Vec<Object<LineInput>>>,
    #[schema(value_type = Vec<AllowanceInput>)]
    #[serde(default)]
    discounts: Patch<Vec<Object<AllowanceInput>>>,
    #[schema(value_type = Vec<AllowanceInput>)]
    #[serde(default)]
    charges: Patch<Vec<Object<AllowanceInput>>>,
    /// At most 50 keys.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    #[serde(default)]
    metadata: Patch<Field<Metadata>>,
}

/// Where a content starts from: the organization's settings and, if one is named, the customer.
pub fn defaults(organization: &Organization, customer: Option<&Customer>) -> Content {
    Content {
        issuer: organization.issuer.clone(),
        customer: customer.map(|customer| customer.id),
        bill_to: customer
            .map(|customer| customer.party.clone())
            .unwrap_or_default(),
        ship_to: None,
        currency: organization.currency,
        prices_include_tax: false,
        rounding: organization.rounding,
        locale: customer
            .and_then(|customer| customer.locale)
            .unwrap_or(organization.locale),
        page_size: organization.page_size,
        purchase_order: None,
        reference: None,
        memo: None,
        payment_terms: organization.payment_terms.clone(),
        due_in_days: organization.due_in_days,
        lines: Vec::new(),
        discounts: Vec::new(),
        charges: Vec::new(),
        metadata: Metadata::new(),
        mail_texts: organization.mail_texts.clone(),
    }
}

impl ContentInput {
    /// The customer that is named, whatever else is wrong.
    pub fn customer(&self) -> Option<crate::domain::ids::CustomerId> {
        match &self.customer {
            Patch::Value(Field(Ok(id))) => Some(*id),
            _ => None,
        }
    }

    /// Lays what is given over `content`. Its rules are the invoice's to judge; only when something
    /// can't be read they are checked here, so that everything wrong is told at once.
    pub fn apply(
        self,
        content: Content,
        organization: &Organization,
        customer: Option<&Customer>,
    ) -> Result<Content, Vec<Problem>> {
        let (change, problems) = self.read(organization, customer);
        let content = change.over(content);
        if problems.is_empty() {
            Ok(content)
        } else {
            Err(all_problems(problems, &content))
        }
    }

    /// What is given, and what of it can't be read.
    pub fn read(
        self,
        settings: &Organization,
        customer: Option<&Customer>,
    ) -> (ContentChange, Vec<Problem>) {
        let mut found = Problems::new();
        let problems = &mut found;
        let tax = &settings.default_tax;
        let known = customer.filter(|_| self.customer().is_some());
        let bill_to = match self.bill_to {
            Patch::Absent => known.map(|customer| customer.party.clone()),
            Patch::Null => Some(Party::default()),
            Patch::Value(Object(party)) => {
                Some(problems.within("bill_to", |found| party.read(found)))
            }
        };
        let ship_to = match self.ship_to {
            Patch::Absent => None,
            Patch::Null => Some(None),
            Patch::Value(Object(party)) => {
                let party = problems.within("ship_to", |found| party.read(found));
                Some(Some(Box::new(party)))
            }
        };
        let change = ContentChange {
            customer: self.customer.take("customer", problems),
            bill_to,
            ship_to,
            currency: self
                .currency
                .take_or(settings.currency, "currency", problems),
            prices_include_tax: self.prices_include_tax.take_or(
                false,
                "prices_include_tax",
                problems,
            ),
            rounding: self
                .rounding
                .take_or(settings.rounding, "rounding", problems),
            locale: self.locale.take_or(settings.locale, "locale", problems),
            page_size: self
                .page_size
                .take_or(settings.page_size, "page_size", problems),
            purchase_order: self.purchase_order.take("purchase_order", problems),
            reference: self.reference.take("reference", problems),
            memo: self.memo.take("memo", problems),
            payment_terms: self.payment_terms.take("payment_terms", problems),
            due_in_days: self
                .due_in_days
                .take_or(settings.due_in_days, "due_in_days", problems),
            lines: list(self.lines, "lines", problems, |line: LineInput, found| {
                line.read(tax, found)
            }),
            discounts: list(self.discounts, "discounts", problems, AllowanceInput::read),
            charges: list(self.charges, "charges", problems, AllowanceInput::read),
            metadata: self.metadata.take_or(Metadata::new(), "metadata", problems),
        };
        (change, found.into_vec())
    }
}

/// What can't be read of a request, with what the rules say of the content that the rest makes.
pub fn all_problems(unread: Vec<Problem>, content: &Content) -> Vec<Problem> {
    let of_rules = validate::content(content).err().unwrap_or_default();
    join(unread, of_rules)
}

/// Reads a list that replaces the present one; null empties it.
fn list<I, T>(
    given: Patch<Vec<Object<I>>>,
    field: &str,
    problems: &mut Problems,
    read: impl Fn(I, &mut Problems) -> T,
) -> Option<Vec<T>> {
    match given {
        Patch::Absent => None,
        Patch::Null => Some(Vec::new()),
        Patch::Value(items) => {
            let items = items.into_iter().enumerate();
            let mut list: Vec<T> = items
                .map(|(at, Object(item))| {
                    problems.within_item(field, at, |found| read(item, found))
                })
                .collect();
            // The room of the larger items as they were read.
            list.shrink_to_fit();
            Some(list)
        }
    }
}

/// Both kinds of problems, without rules' verdicts on values that were not read: those stand for
/// nothing the caller wrote.
pub fn join(mut of_form: Vec<Problem>, of_rules: Vec<Problem>) -> Vec<Problem> {
    if of_form.is_empty() {
        return of_rules;
    }
    let unread: Vec<String> = of_form
        .iter()
        .map(|problem| problem.param.clone())
        .collect();
    let stands = |problem: &Problem| {
        let param = problem.param.as_str();
        // What concerns the whole (totals) can't be judged before every part was read.
        !param.is_empty() && param != "lines" && !unread.iter().any(|read| param.starts_with(read))
    };
    of_form.extend(of_rules.into_iter().filter(stands));
    of_form
}
