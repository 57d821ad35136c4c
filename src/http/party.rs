//! Parties and addresses as requests write them.

use serde::Deserialize;
use utoipa::ToSchema;

use super::input::{Field, Object, optional, required};
use crate::domain::party::{Address, Party};
use crate::domain::problem::Problems;

/// A postal address.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Address)]
pub struct AddressInput {
    #[schema(value_type = Option<String>, example = "Ring 1")]
    line1: Option<Field<String>>,
    #[schema(value_type = Option<String>)]
    line2: Option<Field<String>>,
    #[schema(value_type = Option<String>, example = "Berlin")]
    city: Option<Field<String>>,
    #[schema(value_type = Option<String>, example = "10115")]
    postal_code: Option<Field<String>>,
    #[schema(value_type = Option<String>)]
    state: Option<Field<String>>,
    /// ISO 3166-1 alpha-2.
    #[schema(value_type = Option<String>, example = "DE")]
    country: Option<Field<String>>,
}

impl AddressInput {
    pub fn read(self, problems: &mut Problems) -> Address {
        Address {
            line1: optional(self.line1, "line1", problems),
            line2: optional(self.line2, "line2", problems),
            city: optional(self.city, "city", problems),
            postal_code: optional(self.postal_code, "postal_code", problems),
            state: optional(self.state, "state", problems),
            country: optional(self.country, "country", problems),
        }
    }
}

/// Somebody an invoice is addressed to.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Party)]
pub struct PartyInput {
    #[schema(value_type = String, example = "Ada GmbH")]
    name: Option<Field<String>>,
    #[schema(value_type = Option<String>, example = "ap@ada.example")]
    email: Option<Field<String>>,
    #[schema(value_type = Option<String>)]
    phone: Option<Field<String>>,
    #[schema(value_type = Option<String>, example = "DE123456789")]
    tax_id: Option<Field<String>>,
    #[schema(value_type = Option<AddressInput>)]
    address: Option<Object<AddressInput>>,
}

impl PartyInput {
    pub fn read(self, problems: &mut Problems) -> Party {
        Party {
            name: required(self.name, "name", problems).unwrap_or_default(),
            email: optional(self.email, "email", problems),
            phone: optional(self.phone, "phone", problems),
            tax_id: optional(self.tax_id, "tax_id", problems),
            address: read_address(self.address, problems),
        }
    }
}

pub fn read_address(
    given: Option<Object<AddressInput>>,
    problems: &mut Problems,
) -> Option<Address> {
    given.map(|Object(address)| problems.within("address", |problems| address.read(problems)))
}
