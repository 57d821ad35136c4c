//! Organizations, customers and what belongs to them.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Page, PageRequest, StoreError, User};
use crate::domain::ids::{CustomerId, FileId, OrganizationId};
use crate::domain::party::{Customer, Organization};

/// An asset such as a logo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    pub id: FileId,
    pub organization: OrganizationId,
    pub media_type: String,
    pub bytes: Vec<u8>,
    pub created_at: Timestamp,
}

/// A remembered answer to a keyed POST that is not an invoice command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    pub organization: OrganizationId,
    /// Route and key together.
    pub key: String,
    pub fingerprint: u64,
    pub status: u16,
    pub body: Vec<u8>,
    pub created_at: Timestamp,
}

/// Organizations, customers and what belongs to them.
#[async_trait]
pub trait DirectoryStore: Send + Sync + 'static {
    async fn insert_organization(&self, organization: &Organization) -> Result<(), StoreError>;
    async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>, StoreError>;
    /// Conditional on `organization.version - 1`.
    async fn update_organization(&self, organization: &Organization) -> Result<(), StoreError>;
    /// The organization with its first user, both or neither.
    async fn found_organization(
        &self,
        organization: &Organization,
        user: &User,
    ) -> Result<(), StoreError>;

    async fn insert_customer(&self, customer: &Customer) -> Result<(), StoreError>;
    async fn customer(
        &self,
        organization: OrganizationId,
        id: CustomerId,
    ) -> Result<Option<Customer>, StoreError>;
    /// Conditional on `customer.version - 1`.
    async fn update_customer(&self, customer: &Customer) -> Result<(), StoreError>;
    /// Its invoices stay.
    async fn delete_customer(
        &self,
        organization: OrganizationId,
        id: CustomerId,
    ) -> Result<bool, StoreError>;
    /// `q` narrows by part of name or email; case-insensitive.
    async fn customers(
        &self,
        organization: OrganizationId,
        q: Option<&str>,
        page: &PageRequest<CustomerId>,
    ) -> Result<Page<Customer>, StoreError>;

    async fn insert_asset(&self, asset: &Asset) -> Result<(), StoreError>;
    async fn asset(
        &self,
        organization: OrganizationId,
        id: FileId,
    ) -> Result<Option<Asset>, StoreError>;

    /// The answer kept for a key, if any.
    async fn kept_answer(
        &self,
        organization: OrganizationId,
        key: &str,
    ) -> Result<Option<KeptAnswer>, StoreError>;
    /// Keeps an answer unless there is one; answers older than `forget_before` go.
    async fn keep_answer(
        &self,
        answer: &KeptAnswer,
        forget_before: Timestamp,
    ) -> Result<(), StoreError>;
}
