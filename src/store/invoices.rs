//! Invoices: one atomic, conditional write per command.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;

use super::{Epoch, Page, PageRequest, ShardId, StoreError};
use crate::domain::ids::{CustomerId, InvoiceId, OrganizationId};
use crate::domain::invoice::command::AllocatedNumber;
use crate::domain::invoice::entry::Recorded;
use crate::domain::invoice::event::PublicEvent;
use crate::domain::invoice::{Invoice, Status};
use crate::domain::money::Currency;

/// One command's outcome: everything that is written at once or not at all.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The invoice after the command; its snapshot and list columns are taken from it.
    pub invoice: Arc<Invoice>,
    /// The invoice before the command; `None` for a new one. The store must still have its version.
    pub before: Option<Arc<Invoice>>,
    pub epoch: Epoch,
    /// The entries that lead from the version before to the invoice's version, without a gap.
    pub recorded: Vec<Recorded>,
    /// At most one for each entry.
    pub events: Vec<PublicEvent>,
}

impl Commit {
    /// The version the store must still have; 0 for a new invoice.
    pub fn expected_version(&self) -> u64 {
        self.before.as_ref().map_or(0, |before| before.version)
    }

    /// The number of a new invoice that comes issued, from an uploaded file: no series gave it.
    pub(super) fn brought_number(&self) -> Option<AllocatedNumber> {
        let issued = match self.before {
            None => self.invoice.issued()?,
            Some(_) => return None,
        };
        Some(AllocatedNumber {
            number: issued.number.clone(),
            issued_on: issued.issued_on,
        })
    }

    /// Each entry with the public event that tells of it, in the order of their versions. Refuses
    /// with `Corrupt` when the parts do not fit together: it would be a hole in the history.
    pub(super) fn entries(&self) -> Result<Vec<(&Recorded, Option<&PublicEvent>)>, StoreError> {
        let before = self.expected_version();
        let mut entries = Vec::with_capacity(self.recorded.len());
        for (recorded, version) in self.recorded.iter().zip(before + 1..) {
            if recorded.version != version {
                return Err(corrupt("the versions of a commit's entries have a gap"));
            }
            entries.push((recorded, None));
        }
        if entries.last().map(|(recorded, _)| recorded.version) != Some(self.invoice.version) {
            return Err(corrupt(
                "a commit's entries do not lead to its invoice's version",
            ));
        }
        for event in &self.events {
            let told = entries
                .iter_mut()
                .find(|(recorded, told)| recorded.version == event.version && told.is_none());
            let (_, told) =
                told.ok_or_else(|| corrupt("an event of a commit tells of none of its entries"))?;
            *told = Some(event);
        }
        Ok(entries)
    }
}

fn corrupt(reason: &str) -> StoreError {
    StoreError::Corrupt {
        reason: reason.to_owned(),
    }
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
    /// Inclusive date, UTC.
    pub created_from: Option<Date>,
    /// Inclusive date, UTC.
    pub created_to: Option<Date>,
    /// Part of number, customer name, purchase order or reference; case-insensitive.
    pub q: Option<String>,
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

    /// Loads as the owner with this epoch: from now on every write with an older one is refused, also
    /// one that is on its way. `NotOwner` when a newer owner was here.
    async fn claim(&self, id: InvoiceId, epoch: Epoch) -> Result<Option<Invoice>, StoreError>;

    /// Writes one command's outcome. Durable when it returns `Ok`.
    ///
    /// A new invoice that has a number brings it along; it is reserved with the same write.
    /// `Taken { field: "number" }` when another invoice of the organization has it.
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

    /// Whether the store answers, and takes writes again if it could not take the last one.
    async fn ping(&self) -> Result<(), StoreError>;
}
