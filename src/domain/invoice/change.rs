//! A change of a draft: what is given replaces a part of its content, what is not stays.

use serde::{Deserialize, Deserializer, Serialize};

use super::super::ids::CustomerId;
use super::super::money::Currency;
use super::super::party::{Locale, Metadata, PageSize, Party, Rounding};
use super::{Allowance, Content, Line};

/// New values for parts of a [`Content`]; `None` leaves a part as it is, `Some(None)` clears it.
///
/// Only the invoice knows what the change is laid over, so that two changes at once both count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContentChange {
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub customer: Option<Option<CustomerId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bill_to: Option<Party>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub ship_to: Option<Option<Box<Party>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prices_include_tax: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounding: Option<Rounding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<Locale>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_size: Option<PageSize>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub purchase_order: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub reference: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub memo: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub payment_terms: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_in_days: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<Vec<Line>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discounts: Option<Vec<Allowance>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charges: Option<Vec<Allowance>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// A value that is there, be it null.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl ContentChange {
    /// The content after the change. Issuer and mail texts are the organization's and stay.
    pub fn over(self, content: Content) -> Content {
        Content {
            issuer: content.issuer,
            customer: self.customer.unwrap_or(content.customer),
            bill_to: self.bill_to.unwrap_or(content.bill_to),
            ship_to: self.ship_to.unwrap_or(content.ship_to),
            currency: self.currency.unwrap_or(content.currency),
            prices_include_tax: self
                .prices_include_tax
                .unwrap_or(content.prices_include_tax),
            rounding: self.rounding.unwrap_or(content.rounding),
            locale: self.locale.unwrap_or(content.locale),
            page_size: self.page_size.unwrap_or(content.page_size),
            purchase_order: self.purchase_order.unwrap_or(content.purchase_order),
            reference: self.reference.unwrap_or(content.reference),
            memo: self.memo.unwrap_or(content.memo),
            payment_terms: self.payment_terms.unwrap_or(content.payment_terms),
            due_in_days: self.due_in_days.unwrap_or(content.due_in_days),
            lines: self.lines.unwrap_or(content.lines),
            discounts: self.discounts.unwrap_or(content.discounts),
            charges: self.charges.unwrap_or(content.charges),
            metadata: self.metadata.unwrap_or(content.metadata),
            mail_texts: content.mail_texts,
        }
    }
}
