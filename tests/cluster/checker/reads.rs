//! Whoever is answered sees at least what was acknowledged before it asked, and nothing that never was.

use std::collections::HashMap;
use std::time::Duration;

use faktor::domain::ids::InvoiceId;

use super::{Story, Violations, refusals};
use crate::recording::{Kind, Operation, Shown};

pub(super) fn check(recording: &[Operation], stories: &[Story<'_>], violations: &mut Violations) {
    let mut by_invoice: HashMap<InvoiceId, Vec<&Operation>> = HashMap::new();
    for operation in recording {
        if let Some(invoice) = operation.invoice {
            by_invoice.entry(invoice).or_default().push(operation);
        }
    }
    for story in stories {
        let operations = by_invoice.remove(&story.id).unwrap_or_default();
        for operation in &operations {
            if let Some(shown) = operation.shown() {
                was_so(story, operation, shown, violations);
            }
        }
        nothing_is_forgotten(story, &operations, violations);
    }
    for (invoice, operations) in by_invoice {
        if operations.iter().any(|one| one.acknowledged().is_some()) {
            violations.note("an invoice that was shown exists", invoice);
        }
    }
}

/// The answer is the invoice as it was at that version.
fn was_so(story: &Story<'_>, operation: &Operation, shown: &Shown, violations: &mut Violations) {
    let Some(state) = story.at(shown.version) else {
        violations.note(
            "an answer shows what was committed",
            format_args!("{operation}: there is no such version"),
        );
        return;
    };
    let number = state.issued().map(|issued| issued.number.clone());
    let paid = state.paid().to_string();
    if state.status().name() != shown.status || number != shown.number || paid != shown.paid {
        violations.note(
            "an answer shows what was committed",
            format_args!(
                "{operation}: it was {}, {number:?}, {paid} paid",
                state.status().name()
            ),
        );
    }
}

/// Answers go forward in time.
fn nothing_is_forgotten(story: &Story<'_>, operations: &[&Operation], violations: &mut Violations) {
    let mut seen: Vec<(Duration, u64)> = operations
        .iter()
        .filter_map(|operation| Some((operation.acknowledged()?, operation.shown()?.version)))
        .collect();
    seen.sort_unstable();
    let mut highest = 0;
    for (_, version) in &mut seen {
        highest = highest.max(*version);
        *version = highest;
    }
    for operation in operations {
        // What counts is the attempt that was answered: the ones before it were cut off.
        let Some(last) = operation.attempts.last() else {
            continue;
        };
        let before = seen.partition_point(|(acknowledged, _)| *acknowledged < last.began);
        let known = before.checked_sub(1).map_or(0, |index| seen[index].1);
        if known > 0 {
            refusals::check(story, operation, known, violations);
        }
        let shown = operation.shown().map(|shown| shown.version);
        if operation.kind == Kind::Read && shown.is_some_and(|shown| shown < known) {
            violations.note(
                "a read shows what was acknowledged before it began",
                format_args!("{operation}: version {known} had been shown by then"),
            );
        }
    }
}
