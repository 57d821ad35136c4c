//! Every acknowledged command is in one history once, in an order that the clients can have seen, and
//! no history holds what nobody asked for.

use std::collections::HashMap;
use std::time::Duration;

use faktor::domain::ids::InvoiceId;
use faktor::domain::invoice::command::Initiator;
use faktor::domain::invoice::entry::{Entry, Recorded};

use super::{Story, Violations};
use crate::recording::{Kind, Operation, Reply};

/// Where a command stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    invoice: InvoiceId,
    version: u64,
}

pub(super) fn check(recording: &[Operation], stories: &[Story<'_>], violations: &mut Violations) {
    let places = places(stories);
    let asked: HashMap<&str, &Operation> = recording
        .iter()
        .map(|operation| (operation.key.as_str(), operation))
        .collect();
    for operation in recording {
        answers_are_of_the_invoice(operation, violations);
    }
    for operation in recording.iter().filter(|one| one.kind != Kind::Read) {
        let found = places.get(operation.key.as_str()).map_or(&[][..], |it| it);
        occurs(operation, found, violations);
    }
    for story in stories {
        for recorded in &story.found.history {
            was_asked_for(story.id, recorded, &asked, violations);
        }
        said_once(story, violations);
        in_order(story, &asked, violations);
    }
}

/// Whatever happens to nodes and wires: nothing crashes, and nobody is told that the request was wrong.
fn answers_are_of_the_invoice(operation: &Operation, violations: &mut Violations) {
    let strange = operation
        .attempts
        .iter()
        .any(|attempt| match &attempt.reply {
            Reply::Unknown { why } => why.starts_with("500"),
            Reply::Refused { status, .. } => !matches!(status, 404 | 409 | 412),
            Reply::Done { .. } | Reply::NotTaken { .. } => false,
        });
    if strange {
        violations.note("an answer is about the invoice, or the moment", operation);
    }
}

/// The key of the command that left an entry: what it says itself, as not every command comes with an
/// `Idempotency-Key`, else what it came with.
fn key_of(recorded: &Recorded) -> Option<&str> {
    match &recorded.entry {
        Entry::Created { content, .. } | Entry::Edited { content } => content.reference.as_deref(),
        Entry::PaymentReceived { payment, .. } if payment.provider.is_none() => {
            payment.reference.as_deref()
        }
        // Follows from the payment before it.
        Entry::Paid => None,
        _ => recorded.request.as_ref().map(|request| &*request.key),
    }
}

fn places<'a>(stories: &'a [Story<'_>]) -> HashMap<&'a str, Vec<Place>> {
    let mut places: HashMap<&str, Vec<Place>> = HashMap::new();
    for story in stories {
        for recorded in &story.found.history {
            if let Some(key) = key_of(recorded) {
                places.entry(key).or_default().push(Place {
                    invoice: story.id,
                    version: recorded.version,
                });
            }
        }
    }
    places
}

fn occurs(operation: &Operation, places: &[Place], violations: &mut Violations) {
    if places.len() > 1 {
        violations.note(
            "a command is carried out once",
            format_args!("{operation}: {places:?}"),
        );
    }
    if operation.acknowledged().is_some() && places.is_empty() {
        violations.note("what was acknowledged is in the history", operation);
    }
    if operation.refused().is_some() && !operation.is_open() && !places.is_empty() {
        violations.note(
            "what was refused is not in the history",
            format_args!("{operation}: {places:?}"),
        );
    }
    for place in places {
        if operation
            .invoice
            .is_some_and(|invoice| invoice != place.invoice)
        {
            violations.note(
                "a command reaches its own invoice",
                format_args!("{operation}: {place:?}"),
            );
        }
        let seen = operation.shown().map(|shown| shown.version);
        if seen.is_some_and(|seen| seen < place.version) {
            violations.note(
                "an answer shows what it acknowledges",
                format_args!("{operation}: {place:?}"),
            );
        }
    }
}

fn was_asked_for(
    invoice: InvoiceId,
    recorded: &Recorded,
    asked: &HashMap<&str, &Operation>,
    violations: &mut Violations,
) {
    const RULE: &str = "nothing is in the history that nobody asked for";
    let (version, name) = (recorded.version, recorded.entry.name());
    match (&recorded.by, key_of(recorded)) {
        (Initiator::User(_), Some(key)) => match asked.get(key) {
            None => violations.note(RULE, format_args!("{invoice} {version}: {name} by {key}")),
            Some(operation) if !fits(&operation.kind, &recorded.entry) => violations.note(
                RULE,
                format_args!("{invoice} {version}: {name} by {operation}"),
            ),
            Some(_) => {}
        },
        (Initiator::User(_), None) if matches!(recorded.entry, Entry::Paid) => {}
        (Initiator::User(_), None) | (Initiator::ApiKey(_) | Initiator::Customer, _) => {
            violations.note(RULE, format_args!("{invoice} {version}: {name}"));
        }
        (Initiator::System | Initiator::Provider(_) | Initiator::Clock, _) => {
            let own = matches!(
                recorded.entry,
                Entry::Finalized { .. }
                    | Entry::Paid
                    | Entry::SendRequested { .. }
                    | Entry::BecameOverdue
                    | Entry::EffectClaimed { .. }
                    | Entry::DocumentStored { .. }
                    | Entry::PaymentLinkCreated { .. }
                    | Entry::PaymentLinkExpired { .. }
                    | Entry::MailSent { .. }
                    | Entry::ChargeFailed { .. }
                    | Entry::ChargeSettled { .. }
                    | Entry::PaymentReceived { .. }
                    | Entry::EffectFailed { .. }
                    | Entry::EffectPostponed { .. }
                    | Entry::EffectParked { .. }
            );
            if !own {
                violations.note(RULE, format_args!("{invoice} {version}: {name}"));
            }
        }
    }
}

/// Whether a command of this kind leaves such an entry as its last.
fn fits(kind: &Kind, entry: &Entry) -> bool {
    match kind {
        Kind::Create => matches!(entry, Entry::Created { .. }),
        Kind::Edit => matches!(entry, Entry::Edited { .. }),
        Kind::Finalize => matches!(entry, Entry::FinalizeRequested { .. }),
        Kind::Send => matches!(
            entry,
            Entry::FinalizeRequested { .. } | Entry::SendRequested { .. }
        ),
        Kind::Pay(_) => matches!(entry, Entry::ChargeRequested { .. }),
        Kind::RecordPayment => matches!(entry, Entry::PaymentReceived { .. }),
        Kind::Void => matches!(entry, Entry::Voided { .. }),
        Kind::Read => false,
    }
}

/// A command that was carried out twice under two keys still left its words twice.
fn said_once(story: &Story<'_>, violations: &mut Violations) {
    let mut words: HashMap<(&str, &str), u32> = HashMap::new();
    for recorded in &story.found.history {
        let said = match &recorded.entry {
            Entry::PaymentReceived { payment, .. } => payment.reference.as_deref(),
            Entry::SendRequested { order } => order.message.as_deref(),
            Entry::Voided { reason } => reason.as_deref(),
            Entry::Created { content, .. } | Entry::Edited { content } => {
                content.reference.as_deref()
            }
            _ => None,
        };
        if let Some(said) = said {
            *words.entry((recorded.entry.name(), said)).or_default() += 1;
        }
    }
    for ((entry, said), times) in words.into_iter().filter(|(_, times)| *times > 1) {
        violations.note(
            "a command is carried out once",
            format_args!("{}: {entry} of {said} stands there {times} times", story.id),
        );
    }
}

/// A command that was acknowledged before another began comes before it.
fn in_order(story: &Story<'_>, asked: &HashMap<&str, &Operation>, violations: &mut Violations) {
    let mut earliest: Option<(Duration, &Operation)> = None;
    for recorded in story.found.history.iter().rev() {
        let Some(operation) = key_of(recorded).and_then(|key| asked.get(key)) else {
            continue;
        };
        if let Some((acknowledged, later)) = earliest
            && acknowledged < operation.began()
        {
            violations.note(
                "what was acknowledged first comes first",
                format_args!("{}: {operation} stands before {later}", story.id),
            );
        }
        if let Some(acknowledged) = operation.acknowledged()
            && earliest.is_none_or(|(earliest, _)| acknowledged < earliest)
        {
            earliest = Some((acknowledged, operation));
        }
    }
}
