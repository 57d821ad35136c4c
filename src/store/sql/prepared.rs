//! A commit in the form of columns: made in the caller's task, so that the writer only binds.

use std::sync::Arc;

use uuid::Uuid;

use super::columns::{date_text, integer, micros, search_text, shared_json};
use super::error::corrupt;
use crate::domain::ids::CustomerId;
use crate::domain::invoice::Invoice;
use crate::domain::invoice::entry::Recorded;
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
        let mut history = history_rows(commit.expected_version(), &commit.recorded)?;
        if history.last().map(|row| row.version) != Some(integer(invoice.version)) {
            return Err(corrupt(
                "a commit's entries do not lead to its invoice's version",
            ));
        }
        for event in &commit.events {
            let version = integer(event.version);
            let row = history
                .iter_mut()
                .find(|row| row.version == version && row.event.is_none())
                .ok_or_else(|| corrupt("an event of a commit tells of none of its entries"))?;
            row.event = Some(EventRow {
                id: event.id.uuid(),
                body: shared_json(event)?,
            });
        }
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

    pub(super) fn event_count(&self) -> usize {
        let events = self.history.iter().filter(|row| row.event.is_some());
        events.count()
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

fn history_rows(before: u64, recorded: &[Recorded]) -> Result<Vec<HistoryRow>, StoreError> {
    let row = |(recorded, version): (&Recorded, u64)| {
        if recorded.version != version {
            return Err(corrupt("the versions of a commit's entries have a gap"));
        }
        Ok(HistoryRow {
            version: integer(version),
            at: micros(recorded.at),
            body: shared_json(recorded)?,
            event: None,
        })
    };
    recorded.iter().zip(before + 1..).map(row).collect()
}

impl Listing {
    fn of(invoice: &Invoice) -> Self {
        let issued = invoice.issued();
        let content = &invoice.content;
        Self {
            status: invoice.status().name(),
            number: issued.map(|issued| issued.number.clone()),
            customer: content.customer.map(CustomerId::uuid),
            currency: invoice.currency().code().to_owned(),
            overdue: invoice.is_overdue(),
            issued_on: issued.map(|issued| date_text(issued.issued_on)),
            search: search_text([
                issued.map(|issued| issued.number.as_str()),
                Some(content.bill_to.name.as_str()),
                content.purchase_order.as_deref(),
                content.reference.as_deref(),
            ])
            .into(),
        }
    }
}
