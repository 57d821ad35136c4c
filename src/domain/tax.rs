//! Tax categories of EN 16931 and the rules that bind a category to its rate.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// The tax category codes of EN 16931 (UNTDID 5305 subset, BT-118 and BT-151).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TaxCategory {
    /// Standard rate (any positive rate).
    S,
    /// Zero rated goods.
    Z,
    /// Exempt from tax.
    E,
    /// Reverse charge.
    AE,
    /// Intra-community supply.
    K,
    /// Export outside the EU.
    G,
    /// Outside the scope of tax.
    O,
}

impl TaxCategory {
    pub const ALL: [Self; 7] = [
        Self::S,
        Self::Z,
        Self::E,
        Self::AE,
        Self::K,
        Self::G,
        Self::O,
    ];

    pub const fn code(self) -> &'static str {
        match self {
            Self::S => "S",
            Self::Z => "Z",
            Self::E => "E",
            Self::AE => "AE",
            Self::K => "K",
            Self::G => "G",
            Self::O => "O",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|category| category.code() == text)
    }

    /// Whether the document must say why no tax is due (EN 16931 BR-E-10, BR-AE-10, BR-IC-10,
    /// BR-G-10, BR-O-10).
    pub const fn needs_exemption_reason(self) -> bool {
        matches!(self, Self::E | Self::AE | Self::K | Self::G | Self::O)
    }

    /// The reason that stands on the document when the caller gives none. An exemption has no
    /// such text: only the issuer knows its ground.
    pub const fn default_exemption_reason(self) -> Option<&'static str> {
        match self {
            Self::AE => Some("Reverse charge"),
            Self::K => Some("Intra-community supply"),
            Self::G => Some("Export outside the EU"),
            Self::O => Some("Not subject to VAT"),
            Self::S | Self::Z | Self::E => None,
        }
    }
}

/// The tax of one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tax {
    pub category: TaxCategory,
    /// In percent: 19 means 19 %.
    pub rate: Decimal,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exemption_reason: Option<String>,
}

impl Tax {
    pub const fn standard(rate: Decimal) -> Self {
        Self {
            category: TaxCategory::S,
            rate,
            exemption_reason: None,
        }
    }
}
