//! What an invoice says: its lines, parties and terms, as the caller wrote them.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::super::ids::CustomerId;
use super::super::money::Currency;
use super::super::party::{Issuer, Locale, MailTexts, Metadata, PageSize, Party, Rounding};
use super::super::tax::Tax;

/// A percentage of, or an amount off, what it applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowanceValue {
    /// In percent: 10 means 10 %.
    Percent(Decimal),
    /// In major units of the invoice's currency.
    Amount(Decimal),
}

impl AllowanceValue {
    /// The number alone, whatever it counts.
    pub const fn number(self) -> Decimal {
        match self {
            Self::Percent(number) | Self::Amount(number) => number,
        }
    }
}

/// A discount (EN 16931 allowance) or charge, of a line or of the whole document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    pub value: AllowanceValue,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One invoice line (EN 16931 BG-25) as the caller wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub description: String,
    /// The caller's product, article number or SKU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    pub quantity: Decimal,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// In major units; may have more decimals than the currency.
    pub unit_price: Decimal,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discount: Option<Box<Allowance>>,
    pub tax: Tax,
}

/// What an invoice says, apart from number and dates. A draft's content can be edited; finalizing
/// freezes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The seller. Refreshed from the organization when the invoice is finalized.
    pub issuer: Issuer,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerId>,
    pub bill_to: Party,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ship_to: Option<Box<Party>>,
    pub currency: Currency,
    pub prices_include_tax: bool,
    pub rounding: Rounding,
    pub locale: Locale,
    pub page_size: PageSize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purchase_order: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
    /// The sentence on payment terms under the totals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_terms: Option<String>,
    pub due_in_days: u16,
    pub lines: Vec<Line>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discounts: Vec<Allowance>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charges: Vec<Allowance>,
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    #[serde(default)]
    pub mail_texts: MailTexts,
}

/// How the invoice came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Api,
    /// An uploaded file with a number of its own; `format` is the document it is turned into.
    Upload {
        format: DocumentFormat,
    },
}

/// The formats a document can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DocumentFormat {
    Pdf,
    Xlsx,
    Csv,
    Json,
}

impl DocumentFormat {
    /// Of a file in it, such as `pdf`.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Pdf => "pdf",
            Self::Xlsx => "xlsx",
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }
}
