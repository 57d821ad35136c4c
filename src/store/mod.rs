//! What Faktor keeps, as traits: each has a contract suite that every backend passes.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;

use crate::domain::ids::{
    ApiKeyId, CustomerId, EventId, FileId, InvoiceId, OrganizationId, SessionId, UserId,
};
use crate::domain::invoice::command::AllocatedNumber;
use crate::domain::invoice::entry::Recorded;
use crate::domain::invoice::event::PublicEvent;
use crate::domain::invoice::{Invoice, Status};
use crate::domain::money::Currency;
use crate::domain::party::{Customer, Organization};
use crate::domain::permission::Permissions;

pub mod sql;

/// Why the store could not do it. `Conflict` and `NotOwner` are answers, the rest are faults.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The condition on the old version (or on uniqueness) did not hold.
    #[error("another write came first")]
    Conflict,
    /// The condition on the owner's epoch did not hold.
    #[error("this node no longer owns the invoice")]
    NotOwner,
    /// The value of a unique field is taken.
    #[error("{field} is already in use")]
    Taken { field: &'static str },
    /// Disk full, read-only, or gone for the moment. Nothing was written.
    #[error("the store is not available: {reason}")]
    Unavailable { reason: String },
    /// What is stored can't be read.
    #[error("stored data is damaged: {reason}")]
    Corrupt { reason: String },
    /// The data were written by a newer Faktor.
    #[error(
        "the data directory has schema {found}, this binary knows up to {known}; use the newer binary"
    )]
    SchemaTooNew { found: i64, known: i64 },
}

/// The fencing number of a shard's owner; a write with an older one than stored is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// The number of shards; an invoice's shard never changes.
pub const SHARDS: u16 = 256;

/// A shard's number, 0 to [`SHARDS`] - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The shard of an invoice: a stable hash of its id (FNV-1a over the 16 bytes).
    pub fn of(id: InvoiceId) -> Self {
        let hash = id
            .uuid()
            .as_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Self(((hash ^ (hash >> 32)) % u64::from(SHARDS)) as u16)
    }
}

/// One command's outcome: everything that is written at once or not at all.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The invoice after the command; its snapshot and list columns are taken from it.
    pub invoice: Arc<Invoice>,
    /// The version it must still have in the store; 0 for a new one.
    pub expected_version: u64,
    pub epoch: Epoch,
    pub recorded: Vec<Recorded>,
    pub events: Vec<PublicEvent>,
}

/// What a list of invoices is narrowed by; `None` means any.
#[derive(Debug, Clone, Default)]
pub struct InvoiceFilter {
    pub status: Option<Status>,
    pub customer: Option<CustomerId>,
    pub number: Option<String>,
    pub currency: Option<Currency>,
    pub overdue: Option<bool>,
    /// Inclusive.
    pub issued_from: Option<Date>,
    /// Inclusive.
    pub issued_to: Option<Date>,
    /// Inclusive dates, UTC.
    pub created_from: Option<Date>,
    pub created_to: Option<Date>,
    /// Part of number, customer name, purchase order or reference; case-insensitive.
    pub q: Option<String>,
}

/// Which part of a list: newest first, after the item with the given id.
#[derive(Debug, Clone)]
pub struct PageRequest<Id> {
    pub limit: u16,
    pub starting_after: Option<Id>,
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    pub data: Vec<T>,
    pub has_more: bool,
}

/// An invoice whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueInvoice {
    pub id: InvoiceId,
    pub wake_at: Timestamp,
}

/// Invoices: one atomic, conditional write per command.
#[async_trait]
pub trait InvoiceStore: Send + Sync + 'static {
    /// Loads without regard to the organization: callers compare it.
    async fn load(&self, id: InvoiceId) -> Result<Option<Invoice>, StoreError>;

    /// Writes one command's outcome. Durable when it returns `Ok`.
    async fn commit(&self, commit: Commit) -> Result<(), StoreError>;

    /// Deleted drafts are not listed. An unknown `starting_after` gives an empty page.
    async fn list(
        &self,
        organization: OrganizationId,
        filter: &InvoiceFilter,
        page: &PageRequest<InvoiceId>,
    ) -> Result<Page<Invoice>, StoreError>;

    /// The history after `after_version`, oldest first, at most `limit`.
    async fn history(
        &self,
        id: InvoiceId,
        after_version: u64,
        limit: u16,
    ) -> Result<Vec<Recorded>, StoreError>;

    /// The public events of one invoice after `after_version`, oldest first.
    async fn events_of(
        &self,
        id: InvoiceId,
        after_version: u64,
        limit: u16,
    ) -> Result<Vec<PublicEvent>, StoreError>;

    /// Invoices of `shards` (all when `None`) with `wake_at <= now`, earliest first.
    async fn due(
        &self,
        shards: Option<&[ShardId]>,
        now: Timestamp,
        limit: u16,
    ) -> Result<Vec<DueInvoice>, StoreError>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// An event with its place in the organization's feed.
#[derive(Debug, Clone)]
pub struct FeedEvent {
    pub position: u64,
    pub event: PublicEvent,
}

/// The outbox and the feed it fills.
#[async_trait]
pub trait FeedStore: Send + Sync + 'static {
    /// Gives the oldest unpublished events their feed positions, at most `limit`, and returns them.
    /// Called by one publisher only.
    async fn publish(&self, limit: u16) -> Result<Vec<FeedEvent>, StoreError>;

    /// The organization's feed after an event (`None`: from the beginning). `Ok(None)`: no such
    /// event.
    async fn feed(
        &self,
        organization: OrganizationId,
        after: Option<EventId>,
        limit: u16,
    ) -> Result<Option<Vec<PublicEvent>>, StoreError>;
}

/// Gapless numbers.
#[async_trait]
pub trait SeriesStore: Send + Sync + 'static {
    /// The number of `invoice` in the organization's series: the same one however often it is
    /// asked. The issue date is `today`, or the last one of the series if that is later.
    async fn allocate(
        &self,
        organization: OrganizationId,
        invoice: InvoiceId,
        today: Date,
    ) -> Result<AllocatedNumber, StoreError>;
}

/// A provider's webhook as it came in.
#[derive(Debug, Clone)]
pub struct InboxMessage {
    pub provider: String,
    /// The provider's event id; unique with the provider.
    pub event_id: String,
    pub body: Vec<u8>,
    pub received_at: Timestamp,
    pub attempts: u32,
    pub next_attempt_at: Timestamp,
    pub last_error: Option<String>,
    /// Given up: kept for the operator.
    pub parked: bool,
}

/// Webhooks, stored before they are acknowledged.
#[async_trait]
pub trait InboxStore: Send + Sync + 'static {
    /// False when the event was there already.
    async fn receive(&self, message: InboxMessage) -> Result<bool, StoreError>;
    /// Undelivered messages that are due, oldest first; parked ones are not.
    async fn undelivered(
        &self,
        now: Timestamp,
        limit: u16,
    ) -> Result<Vec<InboxMessage>, StoreError>;
    async fn delivered(&self, provider: &str, event_id: &str) -> Result<(), StoreError>;
    async fn failed(
        &self,
        provider: &str,
        event_id: &str,
        error: &str,
        next_attempt_at: Timestamp,
        parked: bool,
    ) -> Result<(), StoreError>;
}

/// A person who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub organization: OrganizationId,
    pub version: u64,
    pub first_name: String,
    pub last_name: String,
    /// Lowercase; unique over all organizations, because it is what one signs in with.
    pub email: String,
    /// Names of roles of the organization.
    pub roles: Vec<String>,
    /// A PHC string (argon2id).
    pub password_hash: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A named set of permissions. `administrator` and `accountant` are built in and not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub organization: OrganizationId,
    pub name: String,
    pub permissions: Permissions,
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A key for programs. Only the hash of its secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub organization: OrganizationId,
    pub name: String,
    pub roles: Vec<String>,
    /// SHA-256 of the whole secret, lowercase hexadecimal.
    pub secret_hash: String,
    /// The first characters, for people to recognize it.
    pub prefix: String,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// A login: the chain of refresh tokens, each usable once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user: UserId,
    /// SHA-256 of the present refresh token, lowercase hexadecimal.
    pub refresh_hash: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// A key that signs access tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The token's `kid`.
    pub id: String,
    /// PKCS #8, DER.
    pub private_der: Vec<u8>,
    pub public_der: Vec<u8>,
    pub created_at: Timestamp,
    /// Signs no more after this; still verifies until tokens it signed have expired.
    pub retired_at: Option<Timestamp>,
}

/// How a refresh token was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    /// The token was the present one; it has been replaced.
    Rotated(Session),
    /// An older token of the chain: the whole chain has been revoked.
    Reused(Session),
    /// Expired, revoked or never issued.
    Unknown,
}

/// Users, roles, keys and sessions.
#[async_trait]
pub trait IdentityStore: Send + Sync + 'static {
    async fn any_user(&self) -> Result<bool, StoreError>;
    /// `Taken { field: "email" }` when the address is in use.
    async fn insert_user(&self, user: &User) -> Result<(), StoreError>;
    /// Conditional on `user.version - 1`. Refuses with `Conflict`, or `Taken`.
    async fn update_user(&self, user: &User) -> Result<(), StoreError>;
    async fn delete_user(
        &self,
        organization: OrganizationId,
        id: UserId,
    ) -> Result<bool, StoreError>;
    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError>;
    async fn user_by_email(&self, email: &str) -> Result<Option<User>, StoreError>;
    async fn users(
        &self,
        organization: OrganizationId,
        page: &PageRequest<UserId>,
    ) -> Result<Page<User>, StoreError>;
    /// How many users hold the role.
    async fn users_with_role(
        &self,
        organization: OrganizationId,
        role: &str,
    ) -> Result<u64, StoreError>;

    async fn roles(&self, organization: OrganizationId) -> Result<Vec<Role>, StoreError>;
    /// `Taken { field: "name" }` when it exists.
    async fn insert_role(&self, role: &Role) -> Result<(), StoreError>;
    async fn update_role(&self, role: &Role) -> Result<(), StoreError>;
    async fn delete_role(
        &self,
        organization: OrganizationId,
        name: &str,
    ) -> Result<bool, StoreError>;

    async fn insert_api_key(&self, key: &ApiKey) -> Result<(), StoreError>;
    async fn api_key_by_hash(&self, secret_hash: &str) -> Result<Option<ApiKey>, StoreError>;
    async fn api_key(
        &self,
        organization: OrganizationId,
        id: ApiKeyId,
    ) -> Result<Option<ApiKey>, StoreError>;
    async fn api_keys(
        &self,
        organization: OrganizationId,
        page: &PageRequest<ApiKeyId>,
    ) -> Result<Page<ApiKey>, StoreError>;
    /// False when there is no such key; revoking twice is fine.
    async fn revoke_api_key(
        &self,
        organization: OrganizationId,
        id: ApiKeyId,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    async fn insert_session(&self, session: &Session) -> Result<(), StoreError>;
    async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError>;
    /// Replaces the present refresh token, in one transaction; an older one of the chain revokes it.
    async fn refresh_session(
        &self,
        presented_hash: &str,
        next_hash: &str,
        now: Timestamp,
    ) -> Result<Refreshed, StoreError>;
    async fn revoke_session(&self, id: SessionId, at: Timestamp) -> Result<(), StoreError>;
    /// Ends all sessions of a user (password changed, user deleted); returns them.
    async fn revoke_sessions_of(
        &self,
        user: UserId,
        at: Timestamp,
    ) -> Result<Vec<SessionId>, StoreError>;

    async fn signing_keys(&self) -> Result<Vec<SigningKey>, StoreError>;
    async fn insert_signing_key(&self, key: &SigningKey) -> Result<(), StoreError>;
    /// Retires every key but `except`, and deletes those retired before `delete_before`.
    async fn retire_signing_keys(
        &self,
        except: &str,
        at: Timestamp,
        delete_before: Timestamp,
    ) -> Result<(), StoreError>;
}

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

/// All stores of a node.
#[derive(Clone)]
pub struct Stores {
    pub invoices: Arc<dyn InvoiceStore>,
    pub feed: Arc<dyn FeedStore>,
    pub series: Arc<dyn SeriesStore>,
    pub inbox: Arc<dyn InboxStore>,
    pub identity: Arc<dyn IdentityStore>,
    pub directory: Arc<dyn DirectoryStore>,
}
