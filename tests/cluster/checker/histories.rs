//! A history has every version once, and replaying it gives the snapshot.

use super::{Story, Violations};

pub(super) fn check(story: &Story<'_>, violations: &mut Violations) {
    let (id, found) = (story.id, story.found);
    for (recorded, version) in found.history.iter().zip(1..) {
        if recorded.version != version {
            violations.note(
                "a history has every version once",
                format_args!("{id}: {} stands where {version} should", recorded.version),
            );
            return;
        }
    }
    let (stored, written) = (found.snapshot.version, found.history.len() as u64);
    if stored != written {
        violations.note(
            "a history has every version once",
            format_args!("{id}: {written} entries, but the snapshot is at version {stored}"),
        );
    } else if story.states.last() != Some(&found.snapshot) {
        violations.note(
            "replaying the history gives the snapshot",
            format_args!(
                "{id}: {:?} is not {:?}",
                story.states.last(),
                found.snapshot
            ),
        );
    }
}
