//! Who issues an invoice and who gets it.

use serde::{Deserialize, Serialize};

use super::ids::{CustomerId, FileId, OrganizationId};
use super::money::Currency;
use super::tax::Tax;
use std::collections::BTreeMap;

/// Free key and value pairs of the caller's; at most [`limits::METADATA_KEYS`](super::limits).
pub type Metadata = BTreeMap<String, String>;

/// A postal address (EN 16931 BG-5, BG-8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line1: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line2: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<String>,
    /// State, county or province.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// ISO 3166-1 alpha-2, such as `DE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
}

/// The buyer as the invoice names it (EN 16931 BG-7), or where goods go (BG-13).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
}

/// The languages documents, mails and pages are written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Locale {
    #[default]
    En,
    De,
    Fr,
    Es,
    It,
    Nl,
    Pl,
    Pt,
    Vi,
}

impl Locale {
    pub const ALL: [Self; 9] = [
        Self::En,
        Self::De,
        Self::Fr,
        Self::Es,
        Self::It,
        Self::Nl,
        Self::Pl,
        Self::Pt,
        Self::Vi,
    ];

    pub const fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
            Self::Fr => "fr",
            Self::Es => "es",
            Self::It => "it",
            Self::Nl => "nl",
            Self::Pl => "pl",
            Self::Pt => "pt",
            Self::Vi => "vi",
        }
    }

    /// Reads `de`, and the region forms `de-AT` and `de_AT`.
    pub fn parse(text: &str) -> Option<Self> {
        let language = text.split(['-', '_']).next()?.to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|locale| locale.code() == language)
    }
}

/// The size of a document's pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PageSize {
    #[default]
    A4,
    Letter,
}

/// Where tax is rounded to the currency's decimals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// Once per tax category and rate, as EN 16931 BR-CO-17 says.
    #[default]
    PerRate,
    /// On every line, then summed.
    PerLine,
}

/// The seller as an invoice names it (EN 16931 BG-4), frozen into it when it is finalized.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issuer {
    pub legal_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax_id: Option<String>,
    /// The entry in a public register, such as `HRB 12345 B, Amtsgericht Berlin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iban: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo: Option<FileId>,
}

/// The words of an organization's own in its mails; empty means the built-in ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailTexts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Stands above the invoice's summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introduction: Option<String>,
    /// Stands at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<String>,
}

/// An issuer of invoices and its settings. Everything else belongs to one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    pub id: OrganizationId,
    /// Counts changes; the resource's `ETag`.
    pub version: u64,
    pub issuer: Issuer,
    pub locale: Locale,
    pub page_size: PageSize,
    /// For drafts that name none.
    pub currency: Currency,
    /// `{YYYY}`, `{YY}`, `{MM}` and one run of zeros in braces, such as `{YYYY}-{0000}`.
    pub number_pattern: String,
    pub due_in_days: u16,
    /// A sentence printed under the totals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_terms: Option<String>,
    pub rounding: Rounding,
    /// For lines that name no tax.
    pub default_tax: Tax,
    pub mail_texts: MailTexts,
    pub created_at: jiff::Timestamp,
    pub updated_at: jiff::Timestamp,
}

/// Somebody who gets invoices; a draft copies it, so that later changes touch no invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    pub id: CustomerId,
    pub organization: OrganizationId,
    pub version: u64,
    pub party: Party,
    pub locale: Option<Locale>,
    pub metadata: Metadata,
    pub created_at: jiff::Timestamp,
    pub updated_at: jiff::Timestamp,
}
