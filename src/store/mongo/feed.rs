//! The feed: every public event, with its place among all of them.
//!
//! A commit leaves its events in the outbox of its invoice; places are given afterwards, one after
//! the other: position 7 is written only by somebody who knows that 6 is there, and the unique index
//! lets one event have it. So there is never a hole that a reader could have passed before it was
//! filled, with however many publishers. Who loses a position looks again. An event that has its
//! place is recognized by its id, and leaves the outbox only then: a crash in between costs a look.
//!
//! An invoice's events are taken in the order of its outbox, and all before them have their places
//! when one gets its own.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bson::{DateTime, Document, doc};
use mongodb::options::{CollectionOptions, ReadConcern};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::error::{Failure, NOT_WITH_MAJORITY, unavailable};
use super::query::unpublished;
use super::values::{integer, parse_json, unsigned};
use super::{Find, MongoStore};
use crate::domain::ids::{EventId, OrganizationId};
use crate::domain::invoice::event::PublicEvent;
use crate::store::{FeedStore, PlacedEvent, StoreError};

/// How often to look for events that this process does not know of: after a crash, or of a node that
/// is gone.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Invoices whose outboxes are read at a time, and events of each.
const INVOICES: u16 = 250;
const EVENTS_OF_INVOICE: i32 = 100;
/// Events that get their places with one write.
const BATCH: usize = 500;
/// Looks at the end of the feed for one batch, while others are faster.
const MAX_LOOKS: usize = 100;
/// Batches that a reader waits for whose cursor has no place yet.
const MAX_BATCHES_OF_READER: usize = 20;

/// An invoice's events without a place.
#[derive(Deserialize)]
struct Waiting {
    #[serde(rename = "_id")]
    invoice: String,
    organization: String,
    version: i64,
    #[serde(default)]
    outbox: Vec<WaitingEvent>,
}

#[derive(Deserialize)]
struct WaitingEvent {
    version: i64,
    id: String,
    committed_at: DateTime,
    event: String,
}

/// An event in the feed.
#[derive(Clone, Serialize, Deserialize)]
struct Placed {
    #[serde(rename = "_id")]
    id: String,
    position: i64,
    organization: String,
    invoice: String,
    version: i64,
    event: String,
}

#[derive(Deserialize)]
struct Position {
    position: i64,
}

#[derive(Deserialize)]
struct Id {
    #[serde(rename = "_id")]
    id: String,
}

/// What is taken from an invoice's outbox once it is in the feed.
struct Taken {
    invoice: String,
    /// Of the invoice when it was read.
    version: i64,
    /// Of the last event that is taken.
    last: i64,
    /// It is all that was in the outbox.
    all: bool,
}

#[async_trait]
impl FeedStore for MongoStore {
    async fn publish(&self, limit: u16) -> Result<u64, StoreError> {
        let limit = u64::from(limit);
        if self.untold.load(Ordering::Acquire) < limit {
            self.place(false).await?;
        }
        let taken = self
            .untold
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |untold| {
                Some(untold.saturating_sub(limit))
            });
        Ok(taken.unwrap_or_else(|untold| untold).min(limit))
    }

    async fn feed(
        &self,
        organization: OrganizationId,
        after: Option<EventId>,
        limit: u16,
    ) -> Result<Option<Vec<PublicEvent>>, StoreError> {
        let after = match after {
            None => 0,
            Some(event) => match self.position_of(organization, event).await? {
                Some(position) => position,
                None => return Ok(None),
            },
        };
        let wanted = Find {
            filter: doc! {
                "organization": organization.to_string(),
                "position": {"$gt": after},
            },
            sort: doc! {"position": 1},
            limit,
            ..Find::default()
        };
        let found: Vec<Placed> = self.find(&self.feed, wanted).await?;
        let events = found.iter().map(|placed| parse_json(&placed.event));
        events.collect::<Result<_, _>>().map(Some)
    }

    async fn placed_after(
        &self,
        position: u64,
        limit: u16,
    ) -> Result<Vec<PlacedEvent>, StoreError> {
        let wanted = Find {
            filter: doc! {"position": {"$gt": integer(position)}},
            sort: doc! {"position": 1},
            limit,
            ..Find::default()
        };
        let found: Vec<Placed> = self.find(&self.feed, wanted).await?;
        let placed = |placed: &Placed| {
            Ok(PlacedEvent {
                position: unsigned(placed.position)?,
                event: parse_json(&placed.event)?,
            })
        };
        found.iter().map(placed).collect()
    }

    async fn cursor(&self, reader: &str) -> Result<u64, StoreError> {
        let projection = doc! {"_id": 0, "position": 1};
        let found: Option<Position> = self
            .find_one(&self.cursors, doc! {"_id": reader}, projection)
            .await?;
        found.map_or(Ok(0), |found| unsigned(found.position))
    }

    async fn note_cursor(&self, reader: &str, position: u64) -> Result<(), StoreError> {
        let note = || async {
            let further = doc! {"$max": {"position": integer(position)}};
            let update = self.cursors.update_one(doc! {"_id": reader}, further);
            update.upsert(true).await
        };
        let noted = match self.timed(note()).await {
            // Another note made the document in the meantime.
            Err(Failure::Duplicate) => self.timed(note()).await,
            noted => noted,
        };
        noted.map(|_| ()).map_err(Failure::into_error)
    }
}

impl MongoStore {
    /// Where an event stands in the organization's feed. One that was committed and has no place
    /// yet gets it now.
    async fn position_of(
        &self,
        organization: OrganizationId,
        event: EventId,
    ) -> Result<Option<i64>, StoreError> {
        let find = async || -> Result<Option<i64>, StoreError> {
            let filter = doc! {"_id": event.to_string(), "organization": organization.to_string()};
            let projection = doc! {"_id": 0, "position": 1};
            let found: Option<Position> = self.find_one(&self.feed, filter, projection).await?;
            Ok(found.map(|found| found.position))
        };
        if let Some(position) = find().await? {
            return Ok(Some(position));
        }
        for _ in 0..MAX_BATCHES_OF_READER {
            let more = self.place(true).await?;
            let position = find().await?;
            if position.is_some() || !more {
                return Ok(position);
            }
        }
        Err(unavailable("too many events have no place in the feed yet"))
    }

    /// Gives a batch of committed events their places, and says whether there may be more without.
    /// Unless it must look, it only does so when this process committed some, or after a while.
    async fn place(&self, must_look: bool) -> Result<bool, StoreError> {
        let mut last_look = self.placing.lock().await;
        let is_time = last_look.is_none_or(|at| at.elapsed() >= LOOK_AGAIN);
        let committed = self.unplaced.swap(false, Ordering::AcqRel);
        if !(must_look || is_time || committed) {
            return Ok(false);
        }
        let placed = self.place_batch().await;
        match placed {
            Ok(false) => *last_look = Some(Instant::now()),
            Ok(true) | Err(_) => self.unplaced.store(true, Ordering::Release),
        }
        placed
    }

    async fn place_batch(&self) -> Result<bool, StoreError> {
        let waiting: Vec<Waiting> = self.find(&self.invoices, waiting()).await?;
        let more = waiting.len() == usize::from(INVOICES);
        let (events, taken) = batch(waiting);
        let more = more || taken.iter().any(|taken| !taken.all);
        if taken.is_empty() {
            return Ok(more);
        }
        let count = events.len() as u64;
        self.append(events).await?;
        self.take_from_outboxes(&taken).await?;
        self.untold.fetch_add(count, Ordering::AcqRel);
        Ok(more)
    }

    /// Writes events to the end of the feed, but for those that are in it.
    async fn append(&self, mut events: Vec<Placed>) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        for _ in 0..MAX_LOOKS {
            let last = self.last_position().await?;
            for (event, position) in events.iter_mut().zip(last + 1..) {
                event.position = position;
            }
            let feed = self.feed.clone_with_type::<Placed>();
            // In order: it ends at the first that can't be written.
            match self.timed(async { feed.insert_many(&events).await }).await {
                Ok(_) => return Ok(()),
                Err(Failure::Duplicate) => {}
                Err(failure) => return Err(failure.into_error()),
            }
            let placed = self.placed_among(&events).await?;
            events.retain(|event| !placed.contains(&event.id));
            if events.is_empty() {
                return Ok(());
            }
        }
        Err(unavailable(
            "other nodes kept taking the places at the end of the feed",
        ))
    }

    async fn last_position(&self) -> Result<i64, StoreError> {
        let wanted = Find {
            projection: doc! {"_id": 0, "position": 1},
            sort: doc! {"position": -1},
            limit: 1,
            ..Find::default()
        };
        let last: Vec<Position> = self.find(&self.newest_feed(), wanted).await?;
        Ok(last.first().map_or(0, |last| last.position))
    }

    async fn placed_among(&self, events: &[Placed]) -> Result<HashSet<String>, StoreError> {
        let ids: Vec<_> = events.iter().map(|event| event.id.as_str()).collect();
        let wanted = Find {
            limit: u16::try_from(ids.len()).unwrap_or(u16::MAX),
            filter: doc! {"_id": {"$in": ids}},
            projection: doc! {"_id": 1},
            ..Find::default()
        };
        let placed: Vec<Id> = self.find(&self.newest_feed(), wanted).await?;
        Ok(placed.into_iter().map(|placed| placed.id).collect())
    }

    /// The feed with what is not the majority's yet: where a new event can go. If that is taken back
    /// by a failover, so is what was written after it.
    fn newest_feed(&self) -> mongodb::Collection<Document> {
        let local = CollectionOptions::builder()
            .read_concern(ReadConcern::local())
            .build();
        self.database
            .collection_with_options(self.feed.name(), local)
    }

    /// Takes events that are in the feed from their outboxes, with one round trip. The driver has no
    /// call for that which servers before version 8 understand.
    async fn take_from_outboxes(&self, taken: &[Taken]) -> Result<(), StoreError> {
        let updates: Vec<_> = taken.iter().flat_map(Taken::updates).collect();
        let limit_ms = i64::try_from(self.statement_timeout.as_millis()).unwrap_or(i64::MAX);
        let command = doc! {
            "update": self.invoices.name(),
            "updates": updates,
            "ordered": true,
            "writeConcern": {"w": "majority", "j": true, "wtimeout": limit_ms},
        };
        let reply = self
            .timed(async { self.database.run_command(command).await })
            .await
            .map_err(Failure::into_error)?;
        if let Ok([error, ..]) = reply.get_array("writeErrors").map(Vec::as_slice) {
            return Err(unavailable(format!("an outbox was not emptied: {error}")));
        }
        if reply.contains_key("writeConcernError") {
            return Err(unavailable(NOT_WITH_MAJORITY));
        }
        Ok(())
    }
}

/// The outboxes that have waited longest.
fn waiting() -> Find {
    Find {
        filter: unpublished(),
        projection: doc! {
            "organization": 1,
            "version": 1,
            "outbox": {"$slice": EVENTS_OF_INVOICE},
        },
        sort: doc! {"unpublished_since": 1},
        limit: INVOICES,
    }
}

/// The first events of these outboxes in the order of their commits, without places, and what they
/// leave behind.
fn batch(waiting: Vec<Waiting>) -> (Vec<Placed>, Vec<Taken>) {
    let mut events = Vec::new();
    let mut outboxes = Vec::with_capacity(waiting.len());
    for (number, invoice) in waiting.into_iter().enumerate() {
        let is_cut = invoice.outbox.len() == EVENTS_OF_INVOICE as usize;
        let mut committed_at = DateTime::MIN;
        outboxes.push((
            invoice.invoice.clone(),
            invoice.version,
            invoice.outbox.len(),
            is_cut,
        ));
        for event in invoice.outbox {
            // Another node's clock may be slow: an invoice's own order counts more.
            committed_at = committed_at.max(event.committed_at);
            let placed = Placed {
                id: event.id,
                position: 0,
                organization: invoice.organization.clone(),
                invoice: invoice.invoice.clone(),
                version: event.version,
                event: event.event,
            };
            events.push((committed_at, number, placed));
        }
    }
    // Stable: events of the same moment stay in the order of their outboxes.
    events.sort_by_key(|(committed_at, ..)| *committed_at);
    events.truncate(BATCH);

    let mut counts = vec![(0, 0); outboxes.len()];
    for (_, number, placed) in &events {
        let (count, last) = &mut counts[*number];
        *count += 1;
        *last = placed.version;
    }
    let taken = outboxes.into_iter().zip(counts).map(
        |((invoice, version, length, is_cut), (count, last))| Taken {
            invoice,
            version,
            last,
            all: count == length && !is_cut,
        },
    );
    let events = events.into_iter().map(|(.., placed)| placed);
    (events.collect(), taken.collect())
}

impl Taken {
    fn updates(&self) -> Vec<Document> {
        let mut updates = Vec::with_capacity(2);
        if self.all {
            // As long as nothing was committed since, that was all.
            updates.push(doc! {
                "q": {"_id": &self.invoice, "version": self.version},
                "u": {"$set": {"outbox": []}, "$unset": {"unpublished_since": ""}},
            });
        }
        updates.push(doc! {
            "q": {"_id": &self.invoice, "outbox.version": {"$lte": self.last}},
            "u": {"$pull": {"outbox": {"version": {"$lte": self.last}}}},
        });
        updates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An outbox of events with these versions and times.
    fn waiting(invoice: &str, events: &[(i64, i64)]) -> Waiting {
        let event = |(version, at): &(i64, i64)| WaitingEvent {
            version: *version,
            id: format!("{invoice}{version}"),
            committed_at: DateTime::from_millis(*at),
            event: String::new(),
        };
        Waiting {
            invoice: invoice.to_owned(),
            organization: String::new(),
            version: 1_000,
            outbox: events.iter().map(event).collect(),
        }
    }

    fn ids(events: &[Placed]) -> Vec<&str> {
        events.iter().map(|event| event.id.as_str()).collect()
    }

    #[test]
    fn events_are_placed_in_the_order_of_their_commits() {
        let (events, taken) = batch(vec![
            waiting("a", &[(1, 10), (2, 30)]),
            waiting("b", &[(7, 20), (8, 40)]),
        ]);
        assert_eq!(ids(&events), ["a1", "b7", "a2", "b8"]);
        assert!(taken.iter().all(|taken| taken.all));
        assert_eq!((taken[0].last, taken[1].last), (2, 8));
    }

    #[test]
    fn an_invoices_own_order_stands_against_a_slow_clock() {
        let outbox = [(1, 50), (2, 10), (3, 60)];
        let (events, _) = batch(vec![waiting("a", &outbox), waiting("b", &[(1, 55)])]);
        assert_eq!(ids(&events), ["a1", "a2", "b1", "a3"]);
    }

    #[test]
    fn what_does_not_fit_into_a_batch_stays_in_its_outbox() {
        let many: Vec<_> = (1..=i64::from(EVENTS_OF_INVOICE))
            .map(|it| (it, it))
            .collect();
        let outboxes = ["a", "b", "c", "d", "e", "f"].map(|invoice| waiting(invoice, &many));
        let (events, taken) = batch(outboxes.into());
        assert_eq!(events.len(), BATCH);
        assert!(taken.iter().all(|taken| !taken.all), "more may be behind");
        for taken in taken {
            let mine = events.iter().filter(|event| event.invoice == taken.invoice);
            assert_eq!(mine.map(|event| event.version).max(), Some(taken.last));
        }
    }
}
