//! Gapless invoice numbers.

use async_trait::async_trait;
use jiff::civil::Date;

use super::StoreError;
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::command::AllocatedNumber;

/// Gapless numbers.
///
/// No number stands twice in an organization (VAT Directive 2006/112/EC, Article 226 (2): a number
/// "which uniquely identifies the invoice"). An invoice that brings its own, see
/// [`InvoiceStore::commit`](super::InvoiceStore::commit), may have one that a series would write: the
/// series steps over it. So there is no hole: each number up to the last one is some invoice's.
#[async_trait]
pub trait SeriesStore: Send + Sync + 'static {
    /// The number of `invoice` in the organization's series: the same one however often it is
    /// asked, in a later year and after a change of the pattern too. The issue date is `today`, or
    /// the last one of the series if that is later.
    ///
    /// However many numbers stand in its way, there is one behind them.
    async fn allocate(
        &self,
        organization: OrganizationId,
        invoice: InvoiceId,
        today: Date,
    ) -> Result<AllocatedNumber, StoreError>;

    /// Reserves a number that an invoice brings along, for stores of invoices that are not this
    /// store; repeating it for the same invoice and number is fine. `Taken { field: "number" }` when
    /// another invoice of the organization has it, or this one has another.
    async fn reserve(
        &self,
        organization: OrganizationId,
        invoice: InvoiceId,
        number: &AllocatedNumber,
    ) -> Result<(), StoreError>;
}
