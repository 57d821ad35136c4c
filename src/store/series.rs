//! Gapless invoice numbers.

use async_trait::async_trait;
use jiff::civil::Date;

use super::StoreError;
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::command::AllocatedNumber;

/// Gapless numbers.
#[async_trait]
pub trait SeriesStore: Send + Sync + 'static {
    /// The number of `invoice` in the organization's series: the same one however often it is
    /// asked, in a later year and after a change of the pattern too. The issue date is `today`, or the last one of the series if that is later.
    async fn allocate(
        &self,
        organization: OrganizationId,
        invoice: InvoiceId,
        today: Date,
    ) -> Result<AllocatedNumber, StoreError>;
}
