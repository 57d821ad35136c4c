//! An invoice's document, and the one update that a command makes of it.
//!
//! Snapshot, entries and events are JSON text, byte for byte what every other store keeps: BSON has
//! no unsigned 64-bit numbers, which fingerprints are. What an operator looks for stands beside it
//! as fields of its own.

use bson::{Bson, DateTime, Document, doc};
use serde::Deserialize;

use super::error::unavailable;
use super::values::{alarm_time, date_time, integer, json_text, unsigned};
use crate::clock;
use crate::domain::invoice::Invoice;
use crate::domain::invoice::command::Initiator;
use crate::domain::invoice::effect::PendingEffect;
use crate::domain::invoice::entry::Recorded;
use crate::domain::invoice::event::PublicEvent;
use crate::store::search::invoice_search;
use crate::store::{Commit, ShardId, StoreError};

const MIB: u64 = 1024 * 1024;
/// How large a document gets by what people ask for: half of what the server takes.
const MAX_BYTES: u64 = 8 * MIB;
/// How large it gets by what Faktor itself must record, such as a payment: an invoice that takes no
/// more edits can still be paid.
const MAX_BYTES_OF_RECORDS: u64 = 12 * MIB;
/// The names and small fields around an entry's text, at most.
const ENTRY_OVERHEAD_BYTES: u64 = 256;
/// The small fields of a document, at most.
const FIELDS_OVERHEAD_BYTES: u64 = 16 * 1024;

/// One command's outcome, ready to be written.
pub(super) struct PreparedCommit {
    pub(super) write: Write,
    organization: String,
    shard: i32,
    created_at: DateTime,
    /// The fields that each command sets; `None` where an invoice has none.
    fields: Vec<(&'static str, Option<Bson>)>,
    history: Vec<Bson>,
    outbox: Vec<Bson>,
}

/// A write and its conditions: what it takes to tell why it did not happen.
#[derive(Clone)]
pub(super) struct Write {
    pub(super) id: String,
    /// Of this very write, by which it is recognized when its reply was lost.
    name: String,
    /// 0 for a new invoice.
    expected_version: i64,
    epoch: i64,
    size: Size,
}

/// What stands in the document about the write before.
#[derive(Deserialize)]
pub(super) struct Written {
    version: i64,
    epoch: i64,
    write: String,
    history_bytes: i64,
}

impl Written {
    pub(super) fn projection() -> Document {
        doc! {"_id": 0, "version": 1, "epoch": 1, "write": 1, "history_bytes": 1}
    }
}

/// The bytes of a command.
#[derive(Clone, Copy)]
struct Size {
    /// Of the parts that each command replaces.
    replaced: u64,
    /// Of the entries that it adds.
    added: u64,
    /// What the document may have afterwards.
    allowed: u64,
}

impl PreparedCommit {
    /// Serializes a commit, and refuses one whose parts do not fit together, because it would be a
    /// hole in the history, and one that is too large by itself. `now` is when it is written.
    pub(super) fn new(commit: &Commit, now: DateTime) -> Result<Self, StoreError> {
        let invoice = commit.invoice.as_ref();
        let name = clock::new_uuid().simple().to_string();
        let entries = entries(commit)?;
        let snapshot = json_text(invoice)?;
        let effects: Vec<Bson> = invoice.effects.iter().map(effect).collect();
        let size = Size {
            replaced: snapshot.len() as u64
                + ENTRY_OVERHEAD_BYTES * effects.len() as u64
                + FIELDS_OVERHEAD_BYTES,
            added: entries.iter().map(EntryText::bytes).sum(),
            allowed: allowed_bytes(commit),
        };
        let mut fields = fields(invoice);
        fields.extend([
            ("version", Some(integer(invoice.version).into())),
            ("epoch", Some(integer(commit.epoch.0).into())),
            ("write", Some(name.as_str().into())),
            ("effects", Some(effects.into())),
            ("snapshot", Some(snapshot.into())),
        ]);
        let write = Write {
            id: invoice.id.to_string(),
            name,
            expected_version: integer(commit.expected_version()),
            epoch: integer(commit.epoch.0),
            size,
        };
        write.size.check(0)?;
        Ok(Self {
            write,
            organization: invoice.organization.to_string(),
            shard: ShardId::of(invoice.id).0.into(),
            created_at: date_time(invoice.created_at),
            fields,
            outbox: entries.iter().filter_map(|it| it.waiting(now)).collect(),
            history: entries.into_iter().map(EntryText::into_history).collect(),
        })
    }

    pub(super) const fn is_new(&self) -> bool {
        self.write.expected_version == 0
    }

    pub(super) const fn has_events(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The whole document of a new invoice, in the order in which a person reads it.
    pub(super) fn document(self, now: DateTime) -> Document {
        let mut document = doc! {
            "_id": self.write.id,
            "organization": self.organization,
            "shard": self.shard,
            "created_at": self.created_at,
        };
        for (field, value) in self.fields {
            if let Some(value) = value {
                document.insert(field, value);
            }
        }
        if !self.outbox.is_empty() {
            document.insert("unpublished_since", now);
        }
        document.insert("history_bytes", integer(self.write.size.added));
        document.insert("history", self.history);
        document.insert("outbox", self.outbox);
        document
    }

    /// The document as it must be for the change to happen.
    pub(super) fn condition(&self) -> Document {
        let write = &self.write;
        doc! {
            "_id": &write.id,
            "version": write.expected_version,
            "epoch": {"$lte": write.epoch},
            "history_bytes": {"$lte": integer(write.size.room())},
        }
    }

    pub(super) fn change(self, now: DateTime) -> Document {
        let (mut set, mut unset) = (Document::new(), Document::new());
        for (field, value) in self.fields {
            match value {
                Some(value) => set.insert(field, value),
                None => unset.insert(field, ""),
            };
        }
        let mut push = doc! {"history": {"$each": self.history}};
        let mut update =
            doc! {"$set": set, "$inc": {"history_bytes": integer(self.write.size.added)}};
        if !unset.is_empty() {
            update.insert("$unset", unset);
        }
        if !self.outbox.is_empty() {
            push.insert("outbox", doc! {"$each": self.outbox});
            // Since the first event that waits.
            update.insert("$min", doc! {"unpublished_since": now});
        }
        update.insert("$push", push);
        update
    }
}

impl Write {
    /// Whether it is this write that the document tells of.
    pub(super) fn is(&self, stored: &Written) -> bool {
        stored.write == self.name
    }

    /// Why the write did not happen, by what the majority has instead; `Ok` if it did, and only its
    /// reply was lost.
    pub(super) fn refusal(&self, stored: Option<&Written>) -> Result<(), StoreError> {
        match stored {
            Some(stored) if self.is(stored) => Ok(()),
            Some(stored) if stored.epoch > self.epoch => Err(StoreError::NotOwner),
            Some(stored) if stored.version != self.expected_version => Err(StoreError::Conflict),
            // Nothing to change.
            None if self.expected_version > 0 => Err(StoreError::Conflict),
            stored => {
                let history_bytes = stored.map_or(0, |stored| stored.history_bytes);
                self.size.check(unsigned(history_bytes)?)?;
                // What was in the way may yet be taken back.
                Err(unavailable(
                    "another write to the invoice is not yet with a majority of MongoDB's members",
                ))
            }
        }
    }
}

impl Size {
    /// Refuses a document that would be too large, after a history of so many bytes.
    const fn check(self, history_bytes: u64) -> Result<(), StoreError> {
        let allowed = self.allowed;
        let bytes = history_bytes + self.added + self.replaced;
        if bytes > allowed {
            return Err(StoreError::TooLarge { bytes, allowed });
        }
        Ok(())
    }

    /// How many bytes of history there may be already.
    const fn room(self) -> u64 {
        self.allowed.saturating_sub(self.replaced + self.added)
    }
}

/// What lists, alarms and operators look for.
fn fields(invoice: &Invoice) -> Vec<(&'static str, Option<Bson>)> {
    let issued = invoice.issued();
    let customer = invoice.content.customer;
    vec![
        ("status", Some(invoice.status().name().into())),
        ("number", issued.map(|it| it.number.as_str().into())),
        ("customer", customer.map(|id| id.to_string().into())),
        ("currency", Some(invoice.currency().code().into())),
        ("overdue", Some(invoice.is_overdue().into())),
        (
            "issued_on",
            issued.map(|it| it.issued_on.to_string().into()),
        ),
        ("updated_at", Some(date_time(invoice.updated_at).into())),
        ("wake_at", invoice.wake_at().map(|at| alarm_time(at).into())),
        ("search", Some(invoice_search(invoice).into())),
    ]
}

fn effect(effect: &PendingEffect) -> Bson {
    let mut summary = doc! {
        "id": effect.id.to_string(),
        "attempts": i64::from(effect.attempts),
        "next_attempt_at": date_time(effect.next_attempt_at),
        "claimed": effect.claimed,
        "parked": effect.parked,
    };
    if let Some(error) = &effect.last_error {
        summary.insert("last_error", &error.code);
    }
    summary.into()
}

const fn allowed_bytes_of(by: &Initiator) -> u64 {
    match by {
        Initiator::User(_) | Initiator::ApiKey(_) | Initiator::Customer => MAX_BYTES,
        Initiator::Provider(_) | Initiator::Clock | Initiator::System => MAX_BYTES_OF_RECORDS,
    }
}

fn allowed_bytes(commit: &Commit) -> u64 {
    let each = commit.recorded.iter().map(|it| allowed_bytes_of(&it.by));
    each.min().unwrap_or(MAX_BYTES)
}

/// One entry, with the public event that tells of it, as text.
struct EntryText {
    version: i64,
    at: DateTime,
    body: String,
    event: Option<EventText>,
}

struct EventText {
    id: String,
    body: String,
}

impl EntryText {
    /// In the history, and for its event once more in the outbox.
    fn bytes(&self) -> u64 {
        let event = self.event.as_ref().map_or(0, |event| event.body.len());
        (self.body.len() + event) as u64 + ENTRY_OVERHEAD_BYTES
    }

    fn waiting(&self, now: DateTime) -> Option<Bson> {
        let event = self.event.as_ref()?;
        let waiting = doc! {
            "version": self.version,
            "id": &event.id,
            "committed_at": now,
            "event": &event.body,
        };
        Some(waiting.into())
    }

    fn into_history(self) -> Bson {
        let mut entry = doc! {"version": self.version, "at": self.at, "body": self.body};
        if let Some(event) = self.event {
            entry.insert("event", event.body);
        }
        entry.into()
    }
}

fn entries(commit: &Commit) -> Result<Vec<EntryText>, StoreError> {
    let text = |(recorded, event): (&Recorded, Option<&PublicEvent>)| {
        let event = event.map(|event| {
            Ok(EventText {
                id: event.id.to_string(),
                body: json_text(event)?,
            })
        });
        Ok(EntryText {
            version: integer(recorded.version),
            at: date_time(recorded.at),
            body: json_text(recorded)?,
            event: event.transpose()?,
        })
    };
    commit.entries()?.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: &str = "mine";

    fn write(expected_version: i64) -> Write {
        Write {
            id: String::new(),
            name: WRITE.to_owned(),
            expected_version,
            epoch: 5,
            size: Size {
                replaced: 100,
                added: 10,
                allowed: 1_000,
            },
        }
    }

    fn stored(version: i64, epoch: i64, write: &str) -> Written {
        Written {
            version,
            epoch,
            write: write.to_owned(),
            history_bytes: 200,
        }
    }

    #[test]
    fn a_write_that_did_not_happen_is_told_by_what_is_there_instead() {
        let refusal = |stored: Option<Written>| write(3).refusal(stored.as_ref());
        assert_eq!(refusal(Some(stored(4, 5, WRITE))), Ok(()));
        assert_eq!(
            refusal(Some(stored(4, 5, "other"))),
            Err(StoreError::Conflict)
        );
        assert_eq!(
            refusal(Some(stored(4, 6, "other"))),
            Err(StoreError::NotOwner)
        );
        assert_eq!(
            refusal(Some(stored(3, 6, "other"))),
            Err(StoreError::NotOwner)
        );
        assert_eq!(refusal(None), Err(StoreError::Conflict));
        let full = Written {
            history_bytes: 891,
            ..stored(3, 5, "other")
        };
        let too_large = StoreError::TooLarge {
            bytes: 1_001,
            allowed: 1_000,
        };
        assert_eq!(refusal(Some(full)), Err(too_large));
    }

    #[test]
    fn what_only_the_primary_has_seen_is_no_answer_yet() {
        // Another write was in the way, and the majority does not know of it.
        for (expected_version, there) in [(3, Some(stored(3, 5, "other"))), (0, None)] {
            let answer = write(expected_version).refusal(there.as_ref());
            assert!(
                matches!(answer, Err(StoreError::Unavailable { .. })),
                "{answer:?}"
            );
        }
    }
}
