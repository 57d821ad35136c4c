//! The numbers of a series: each once, none left out.

use std::collections::BTreeMap;

use faktor::domain::invoice::entry::Entry;

use super::{Story, Violations};

pub(super) fn check(stories: &[Story<'_>], violations: &mut Violations) {
    let mut series: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for story in stories {
        let mut given = story
            .found
            .history
            .iter()
            .filter_map(|recorded| match &recorded.entry {
                Entry::Finalized { allocated, .. } => Some(allocated.number.as_str()),
                _ => None,
            });
        let number = given.next();
        if given.next().is_some() {
            violations.note("an invoice has one number", story.id);
        }
        let issued = story.found.snapshot.issued();
        if issued.map(|issued| issued.number.as_str()) != number {
            violations.note("an invoice has one number", story.id);
        }
        let Some(number) = number else { continue };
        match number.rsplit_once('-').map(|(name, at)| (name, at.parse())) {
            Some((name, Ok(position))) => series.entry(name).or_default().push(position),
            _ => violations.note("a number is one of its series", number),
        }
    }
    for (name, mut positions) in series {
        positions.sort_unstable();
        for (position, expected) in positions.iter().zip(1..) {
            if *position != expected {
                violations.note(
                    "a series has no gap and no number twice",
                    format_args!("{name}: {position} stands where {expected} should"),
                );
                break;
            }
        }
    }
}
