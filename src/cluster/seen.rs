//! Invoices of other nodes, as this one saw them last. Their owner says each time whether they still
//! are so: what is spared is to send and to read what has not changed.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use crate::actors::invoices::Published;
use crate::domain::ids::InvoiceId;

const MAX_BYTES: u64 = 16 * 1024 * 1024;
const IDLE_AFTER: Duration = Duration::from_mins(1);
/// About what an invoice takes with its JSON, and each of its lines.
const INVOICE_BYTES: usize = 4_096;
const LINE_BYTES: usize = 1_024;

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Seen {
    invoices: Cache<InvoiceId, Arc<Published>>,
}

impl Default for Seen {
    fn default() -> Self {
        let invoices = Cache::builder()
            .max_capacity(MAX_BYTES)
            .weigher(|_: &InvoiceId, published: &Arc<Published>| weigh(published))
            .time_to_idle(IDLE_AFTER)
            .build();
        Self { invoices }
    }
}

fn weigh(published: &Published) -> u32 {
    let lines = published.invoice.content.lines.len();
    u32::try_from(INVOICE_BYTES + lines * LINE_BYTES).unwrap_or(u32::MAX)
}

impl Seen {
    pub(super) fn get(&self, id: InvoiceId) -> Option<Arc<Published>> {
        self.invoices.get(&id)
    }

    /// Notes what an owner said. A late older answer does no harm: the next one corrects it.
    pub(super) fn note(&self, published: Arc<Published>) {
        self.invoices.insert(published.invoice.id, published);
    }
}
