//! Invoices: loading, committing, listing, history and alarms.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bson::{DateTime, Document, doc};
use jiff::Timestamp;
use mongodb::options::ReturnDocument;
use serde::Deserialize;
use tokio::time::Instant;

use super::document::{PreparedCommit, Written};
use super::error::{Failure, unavailable};
use super::query::{self, After};
use super::values::{date_time, integer, parse_json, timestamp, unsigned};
use super::{Find, MongoStore};
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::command::AllocatedNumber;
use crate::domain::invoice::entry::Recorded;
use crate::domain::invoice::event::PublicEvent;
use crate::domain::invoice::{Invoice, Status};
use crate::store::{
    Commit, DueInvoice, Epoch, InvoiceFilter, InvoiceStore, Page, PageRequest, ShardId, StoreError,
};

#[derive(Deserialize)]
struct Snapshot {
    snapshot: String,
}

#[derive(Deserialize)]
struct Owned {
    epoch: i64,
    snapshot: String,
}

impl Owned {
    fn projection() -> Document {
        doc! {"_id": 0, "epoch": 1, "snapshot": 1}
    }
}

#[derive(Deserialize)]
struct Created {
    created_at: DateTime,
}

#[derive(Deserialize)]
struct Due {
    #[serde(rename = "_id")]
    id: String,
    wake_at: DateTime,
}

#[derive(Deserialize)]
struct History {
    #[serde(default)]
    history: Vec<StoredEntry>,
}

#[derive(Deserialize)]
struct StoredEntry {
    version: i64,
    body: String,
    event: Option<String>,
}

#[async_trait]
impl InvoiceStore for MongoStore {
    async fn load(&self, id: InvoiceId) -> Result<Option<Invoice>, StoreError> {
        let filter = doc! {"_id": id.to_string()};
        let projection = doc! {"_id": 0, "snapshot": 1};
        let found: Option<Snapshot> = self.find_one(&self.invoices, filter, projection).await?;
        found.map(|found| parse_json(&found.snapshot)).transpose()
    }

    async fn claim(&self, id: InvoiceId, epoch: Epoch) -> Result<Option<Invoice>, StoreError> {
        let epoch = integer(epoch.0);
        let stored = match self.stored(id).await? {
            Some(stored) if stored.epoch < epoch => match self.raise(id, epoch).await? {
                Some(raised) => Some(raised),
                None => self.stored(id).await?,
            },
            stored => stored,
        };
        match stored {
            Some(stored) if stored.epoch > epoch => Err(StoreError::NotOwner),
            Some(stored) if stored.epoch < epoch => Err(unavailable(
                "the invoice's newest owner is not yet with a majority of MongoDB's members",
            )),
            stored => stored
                .map(|stored| parse_json(&stored.snapshot))
                .transpose(),
        }
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let now = date_time(self.clock.now());
        let prepared = PreparedCommit::new(&commit, now)?;
        let has_events = prepared.has_events();
        if let Some(number) = commit.brought_number() {
            self.reserve(&commit.invoice, &number).await?;
        }
        let started = Instant::now();
        let written = self.write(prepared, now).await;
        metrics::histogram!("faktor_store_commit_seconds").record(started.elapsed().as_secs_f64());
        let is_fault = matches!(written, Err(StoreError::Unavailable { .. }));
        self.failing.store(is_fault, Ordering::Release);
        if has_events && (written.is_ok() || is_fault) {
            self.unplaced.store(true, Ordering::Release);
        }
        written
    }

    async fn list(
        &self,
        organization: OrganizationId,
        filter: &InvoiceFilter,
        page: &PageRequest<InvoiceId>,
    ) -> Result<Page<Invoice>, StoreError> {
        let nothing = Page {
            data: Vec::new(),
            has_more: false,
        };
        if filter.status == Some(Status::Deleted) {
            return Ok(nothing);
        }
        let after = match page.starting_after {
            None => None,
            Some(id) => match self.created_at(organization, id).await? {
                Some(created_at) => Some(After { created_at, id }),
                None => return Ok(nothing),
            },
        };
        let wanted = Find {
            filter: query::listed(organization, filter, after.as_ref())?,
            projection: doc! {"_id": 0, "snapshot": 1},
            sort: query::newest_first(),
            // The one too many tells that there is more.
            limit: page.limit.saturating_add(1),
        };
        let found: Vec<Snapshot> = self.find(&self.invoices, wanted).await?;
        let limit = usize::from(page.limit);
        let data = found.iter().take(limit);
        Ok(Page {
            data: data
                .map(|found| parse_json(&found.snapshot))
                .collect::<Result<_, _>>()?,
            has_more: found.len() > limit,
        })
    }

    async fn history(
        &self,
        id: InvoiceId,
        after_version: u64,
        limit: u16,
    ) -> Result<Vec<Recorded>, StoreError> {
        let entries = self.entries(id, after_version, limit).await?;
        entries
            .iter()
            .map(|entry| parse_json(&entry.body))
            .collect()
    }

    async fn events_of(
        &self,
        id: InvoiceId,
        after_version: u64,
        limit: u16,
    ) -> Result<Vec<PublicEvent>, StoreError> {
        let mut events = Vec::new();
        let mut after = after_version;
        // Not every entry has an event.
        while events.len() < usize::from(limit) {
            let entries = self.entries(id, after, limit).await?;
            let Some(last) = entries.last() else { break };
            after = unsigned(last.version)?;
            for event in entries.iter().filter_map(|entry| entry.event.as_deref()) {
                events.push(parse_json(event)?);
            }
            if entries.len() < usize::from(limit) {
                break;
            }
        }
        events.truncate(limit.into());
        Ok(events)
    }

    async fn due(
        &self,
        shards: Option<&[ShardId]>,
        now: Timestamp,
        limit: u16,
    ) -> Result<Vec<DueInvoice>, StoreError> {
        let wanted = Find {
            filter: query::due(shards, now),
            projection: doc! {"wake_at": 1},
            sort: doc! {"wake_at": 1},
            limit,
        };
        let found: Vec<Due> = self.find(&self.invoices, wanted).await?;
        let due = |found: &Due| {
            Ok(DueInvoice {
                id: found.id.parse().map_err(super::error::corrupt)?,
                wake_at: timestamp(found.wake_at)?,
            })
        };
        found.iter().map(due).collect()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        if self.failing.load(Ordering::Acquire) {
            self.probe().await?;
            self.failing.store(false, Ordering::Release);
            return Ok(());
        }
        self.answers().await
    }
}

impl MongoStore {
    async fn stored(&self, id: InvoiceId) -> Result<Option<Owned>, StoreError> {
        self.find_one(
            &self.invoices,
            doc! {"_id": id.to_string()},
            Owned::projection(),
        )
        .await
    }

    /// Raises an invoice's epoch if it is lower; the invoice as that found it.
    async fn raise(&self, id: InvoiceId, epoch: i64) -> Result<Option<Owned>, StoreError> {
        let invoices = self.invoices.clone_with_type::<Owned>();
        let condition = doc! {"_id": id.to_string(), "epoch": {"$lt": epoch}};
        let raise = self.timed(async {
            invoices
                .find_one_and_update(condition, doc! {"$set": {"epoch": epoch}})
                .projection(Owned::projection())
                .return_document(ReturnDocument::After)
                .await
        });
        raise.await.map_err(Failure::into_error)
    }

    /// Reserves the number that a new invoice brings along, before the invoice is written: whoever
    /// has the number may make the invoice.
    async fn reserve(&self, invoice: &Invoice, number: &AllocatedNumber) -> Result<(), StoreError> {
        // Before the number: a repeat of this very commit holds it already.
        if self.written(&invoice.id.to_string()).await?.is_some() {
            return Err(StoreError::Conflict);
        }
        let (organization, id) = (invoice.organization, invoice.id);
        self.series.reserve(organization, id, number).await
    }

    /// The one write of a command, with one round trip when it succeeds.
    async fn write(&self, prepared: PreparedCommit, now: DateTime) -> Result<(), StoreError> {
        let write = prepared.write.clone();
        let failure = if prepared.is_new() {
            let document = prepared.document(now);
            let insert = self.timed(async { self.invoices.insert_one(document).await });
            match insert.await {
                Ok(_) => return Ok(()),
                Err(failure) => failure,
            }
        } else {
            let (condition, change) = (prepared.condition(), prepared.change(now));
            let update = self.timed(async { self.invoices.update_one(condition, change).await });
            match update.await {
                Ok(done) if done.matched_count > 0 => return Ok(()),
                Ok(_) => Failure::Duplicate,
                Err(failure) => failure,
            }
        };
        match failure {
            Failure::Refused(error) => Err(error),
            Failure::Duplicate => {
                let stored = self.written(&write.id).await?;
                write.refusal(stored.as_ref())
            }
            Failure::OutcomeUnknown(reason) => match self.written(&write.id).await {
                Ok(Some(stored)) if write.is(&stored) => Ok(()),
                // Not there, but it may be on its way.
                _ => Err(unavailable(reason)),
            },
        }
    }

    async fn written(&self, id: &str) -> Result<Option<Written>, StoreError> {
        self.find_one(&self.invoices, doc! {"_id": id}, Written::projection())
            .await
    }

    /// When an invoice of the organization was created: where a page begins.
    async fn created_at(
        &self,
        organization: OrganizationId,
        id: InvoiceId,
    ) -> Result<Option<DateTime>, StoreError> {
        let filter = doc! {"_id": id.to_string(), "organization": organization.to_string()};
        let projection = doc! {"_id": 0, "created_at": 1};
        let found: Option<Created> = self.find_one(&self.invoices, filter, projection).await?;
        Ok(found.map(|found| found.created_at))
    }

    /// The entries after a version: the n-th of the history leads to version n.
    async fn entries(
        &self,
        id: InvoiceId,
        after_version: u64,
        limit: u16,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        // The server's numbers of an array's elements have 32 bits.
        let Ok(skip) = i32::try_from(after_version) else {
            return Ok(Vec::new());
        };
        if limit == 0 {
            return Ok(Vec::new());
        }
        let filter = doc! {"_id": id.to_string()};
        let part = doc! {"$slice": [skip, i32::from(limit)]};
        let projection = doc! {"_id": 0, "version": 1, "history": part};
        let found: Option<History> = self.find_one(&self.invoices, filter, projection).await?;
        Ok(found.map(|found| found.history).unwrap_or_default())
    }

    /// Tries whether a write succeeds.
    async fn probe(&self) -> Result<(), StoreError> {
        let now = date_time(self.clock.now());
        let probe = self.database.collection::<Document>("probe");
        let write = self.timed(async {
            let update = probe.update_one(doc! {"_id": 1}, doc! {"$set": {"at": now}});
            update.upsert(true).await
        });
        match write.await {
            // Another node was first with it: the store takes writes.
            Ok(_) | Err(Failure::Duplicate) => Ok(()),
            Err(failure) => Err(failure.into_error()),
        }
    }
}
