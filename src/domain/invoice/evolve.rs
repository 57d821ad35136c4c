//! Moves an invoice forward by one fact. Pure and total: replaying the history gives the snapshot.

use jiff::Timestamp;

use super::Invoice;
use super::entry::Recorded;

/// The invoice after `recorded`. Anything before `Created` or `Imported` is nothing.
pub fn evolve(invoice: Option<Invoice>, recorded: &Recorded) -> Option<Invoice> {
    let _ = recorded;
    invoice
}

/// The invoice that a history comes to.
pub fn replay<'a>(history: impl IntoIterator<Item = &'a Recorded>) -> Option<Invoice> {
    history.into_iter().fold(None, evolve)
}

impl Invoice {
    /// The moment the due date is over (UTC), while money is due and it was not noticed yet.
    pub fn becomes_overdue_at(&self) -> Option<Timestamp> {
        None
    }
}
