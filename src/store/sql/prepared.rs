//! A commit in the form of columns: made in the caller's task, so that the writer only binds.

use std::sync::Arc;

use uuid::Uuid;

use super::columns::{date_text, integer, micros, shared_json};
use crate::domain::ids::CustomerId;
use crate::domain::invoice::Invoice;
use crate::domain::invoice::entry::Recorded;
use crate::domain::invoice::event::PublicEvent;
use crate::store::search::invoice_search;
use crate::store::{Commit, ShardId, StoreError};

/// One command's outcome, ready to be bound.
pub(super) struct PreparedCommit {
    pub(super) id: Uuid,
    pub(super) organization: Uuid,
    pub(super) shard: i64,
    /// 0 for a new invoice.
    pub(super) expected_version: i64,
    pub(super) version: i64,
    pub(super) epoch: i64,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    pub(super) wake_at: Option<i64>,
    pub(super) snapshot: Arc<str>,
    pub(super) listing: Listing,
    /// False when the listing is as it was before.
    pub(super) relisted: bool,
    pub(super) history: Vec<HistoryRow>,
}

/// What lists are narrowed by.
#[derive(PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) status: &'static str,
    pub(super) number: Option<String>,
    pub(super) customer: Option<Uuid>,
    pub(super) currency: String,
    pub(super) overdue: bool,
    pub(super) issued_on: Option<String>,
    pub(super) search: Arc<str>,
}

/// One entry, with the public event that tells of it.
pub(super) struct HistoryRow {
    pub(super) version: i64,
    pub(super) at: i64,
    pub(super) body: Arc<str>,
    pub(super) event: Option<EventRow>,
}

pub(super) struct EventRow {
    pub(super) id: Uuid,
    pub(super) body: Arc<str>,
}

impl PreparedCommit {
    /// Serializes a commit, and refuses one whose parts do not fit together: it would be a hole in
    /// the history.
    pub(super) fn new(commit: &Commit) -> Result<Self, StoreError> {
        let invoice = commit.invoice.as_ref();
        let history = commit.entries()?.into_iter().map(history_row);
        let history = history.collect::<Result<_, _>>()?;
        let listing = Listing::of(invoice);
        let before = commit.before.as_deref().map(Listing::of);
        Ok(Self {
            id: invoice.id.uuid(),
            organization: invoice.organization.uuid(),
            shard: i64::from(ShardId::of(invoice.id).0),
            expected_version: integer(commit.expected_version()),
            version: integer(invoice.version),
            epoch: integer(commit.epoch.0),
            created_at: micros(invoice.created_at),
            updated_at: micros(invoice.updated_at),
            wake_at: invoice.wake_at().map(micros),
            snapshot: shared_json(invoice)?,
            relisted: before.as_ref() != Some(&listing),
            listing,
            history,
        })
    }

    /// Whether it makes an invoice that comes issued, from an uploaded file: no series gave it its
    /// number.
    pub(super) const fn brings_number(&self) -> bool {
        self.is_new() && self.listing.number.is_some()
    }

    pub(super) const fn is_new(&self) -> bool {
        self.expected_version == 0
    }
}

fn history_row(
    (recorded, event): (&Recorded, Option<&PublicEvent>),
) -> Result<HistoryRow, StoreError> {
    let event = event.map(|event| {
        Ok(EventRow {
            id: event.id.uuid(),
            body: shared_json(event)?,
        })
    });
    Ok(HistoryRow {
        version: integer(recorded.version),
        at: micros(recorded.at),
        body: shared_json(recorded)?,
        event: event.transpose()?,
    })
}

impl Listing {
    fn of(invoice: &Invoice) -> Self {
        let issued = invoice.issued();
        Self {
            status: invoice.status().name(),
            number: issued.map(|issued| issued.number.clone()),
            customer: invoice.content.customer.map(CustomerId::uuid),
            currency: invoice.currency().code().to_owned(),
            overdue: invoice.is_overdue(),
            issued_on: issued.map(|issued| date_text(issued.issued_on)),
            search: invoice_search(invoice).into(),
        }
    }
}
