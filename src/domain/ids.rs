//! Identifiers: `UUIDs` behind newtypes with a readable prefix, so that a wrong id is a clear error.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id of the form {prefix}_ followed by 32 lowercase hexadecimal digits")]
pub struct InvalidId {
    pub prefix: &'static str,
}

fn parse_prefixed(text: &str, prefix: &'static str) -> Result<Uuid, InvalidId> {
    let digits = text
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .filter(|digits| digits.len() == 32)
        .filter(|digits| {
            digits
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        })
        .ok_or(InvalidId { prefix })?;
    Uuid::try_parse(digits).map_err(|_| InvalidId { prefix })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.as_simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse_prefixed(text, $prefix).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// An organization: the issuer of invoices, and the border of what a caller can see.
    OrganizationId,
    "org"
);
id!(InvoiceId, "inv");
id!(CustomerId, "cus");
id!(UserId, "usr");
id!(ApiKeyId, "key");
id!(
    /// A login: the chain of refresh tokens and the access tokens made from them.
    SessionId,
    "ses"
);
id!(
    /// A public event. Derived from the invoice's id and version, so that a repeat has the same id.
    EventId,
    "evt"
);
id!(
    /// An uploaded asset, such as an organization's logo.
    FileId,
    "fil"
);

/// The name of one attempt-independent side effect: the idempotency key given to the outside
/// (Stripe's `Idempotency-Key`, the mail's `Message-ID`, the object's name).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EffectId {
    pub invoice: InvoiceId,
    pub kind: super::invoice::effect::EffectKindName,
    pub sequence: u32,
}

impl fmt::Display for EffectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.invoice, self.kind, self.sequence)
    }
}

impl FromStr for EffectId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId {
            prefix: InvoiceId::PREFIX,
        };
        let mut parts = text.splitn(3, '-');
        let (Some(invoice), Some(kind), Some(sequence)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(invalid());
        };
        Ok(Self {
            invoice: invoice.parse()?,
            kind: kind.parse().map_err(|()| invalid())?,
            sequence: sequence.parse().map_err(|_| invalid())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        let id = InvoiceId::new(Uuid::from_u128(7));
        assert_eq!(id.to_string(), "inv_00000000000000000000000000000007");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let customer = CustomerId::new(Uuid::from_u128(7)).to_string();
        assert_eq!(
            customer.parse::<InvoiceId>(),
            Err(InvalidId { prefix: "inv" })
        );
        assert!("inv_0".parse::<InvoiceId>().is_err());
        assert!(
            "inv_0000000000000000000000000000000G"
                .parse::<InvoiceId>()
                .is_err()
        );
    }
}
