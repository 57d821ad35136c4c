//! The feed tells of every public change once, and of one invoice's in their order.

use std::collections::{HashMap, HashSet};

use faktor::domain::ids::{EventId, InvoiceId};
use faktor::domain::invoice::event::{PublicEvent, kind_of};

use super::{Story, Violations};

pub(super) fn check(stories: &[Story<'_>], feed: &[PublicEvent], violations: &mut Violations) {
    let mut ids = HashSet::new();
    let mut told: HashMap<InvoiceId, Vec<(u64, &str)>> = HashMap::new();
    for event in feed {
        if !ids.insert(event.id) {
            violations.note("an event is told once", event.id);
        }
        told.entry(event.invoice)
            .or_default()
            .push((event.version, &event.kind));
    }
    for story in stories {
        let history = story.found.history.iter();
        let expected: Vec<(u64, &str)> = history
            .filter_map(|recorded| Some((recorded.version, kind_of(&recorded.entry)?)))
            .collect();
        let told = told.remove(&story.id).unwrap_or_default();
        if told != expected {
            violations.note(
                "the feed tells every change once and in order",
                format_args!("{}: {told:?} instead of {expected:?}", story.id),
            );
        }
    }
    for (invoice, events) in told {
        violations.note(
            "the feed tells of nothing else",
            format_args!("{invoice}: {events:?}"),
        );
    }
}

/// Who goes by a cursor gets what stands in the feed, whichever nodes were asked and whatever became of
/// them: nothing is passed over, and nothing comes twice.
pub(super) fn check_reader(feed: &[PublicEvent], read: &[EventId], violations: &mut Violations) {
    let stored: Vec<EventId> = feed.iter().map(|event| event.id).collect();
    if stored == read {
        return;
    }
    let alike = stored
        .iter()
        .zip(read)
        .take_while(|(one, other)| one == other);
    violations.note(
        "a reader gets the feed as it is",
        format_args!(
            "{} events instead of {}, the first {} alike",
            read.len(),
            stored.len(),
            alike.count()
        ),
    );
}
