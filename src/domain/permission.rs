//! What a caller may do. A route asks for one permission; a user holds the union over the roles.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! permissions {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// One permission, written `resource.action`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Permission { $($variant),+ }

        impl Permission {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

permissions! {
    InvoiceCreate = "invoice.create",
    InvoiceGetById = "invoice.get_by_id",
    InvoiceGetAll = "invoice.get_all",
    InvoiceUpdate = "invoice.update",
    InvoiceDelete = "invoice.delete",
    InvoiceSend = "invoice.send",
    ProductCreate = "product.create",
    ProductGetById = "product.get_by_id",
    ProductGetAll = "product.get_all",
    ProductUpdate = "product.update",
    ProductDelete = "product.delete",
    UserCreate = "user.create",
    UserGetById = "user.get_by_id",
    UserGetAll = "user.get_all",
    UserUpdate = "user.update",
    UserDelete = "user.delete",
    RoleCreate = "role.create",
    RoleGetById = "role.get_by_id",
    RoleGetAll = "role.get_all",
    RoleUpdate = "role.update",
    RoleDelete = "role.delete",
}

/// Not the name of a permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown permission; expected one such as invoice.create")]
pub struct UnknownPermission;

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, UnknownPermission> {
        Self::ALL
            .iter()
            .copied()
            .find(|known| known.name() == text)
            .ok_or(UnknownPermission)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of permissions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Permissions(u32);

impl Permissions {
    pub const NONE: Self = Self(0);

    pub fn all() -> Self {
        Permission::ALL.iter().copied().collect()
    }

    /// All of invoice, product `get_*`, user and role `get_by_id`.
    pub fn accountant() -> Self {
        Permission::ALL
            .iter()
            .copied()
            .filter(|permission| {
                permission.name().starts_with("invoice.")
                    || matches!(
                        permission,
                        Permission::ProductGetById
                            | Permission::ProductGetAll
                            | Permission::UserGetById
                            | Permission::RoleGetById
                    )
            })
            .collect()
    }

    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u32) != 0
    }

    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn is_subset_of(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL
            .iter()
            .copied()
            .filter(move |permission| self.contains(*permission))
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(
            permissions
                .into_iter()
                .fold(0, |set, permission| set | 1 << permission as u32),
        )
    }
}
