//! The provider's books and the invoice agree: money is taken once, and none is lost.

use std::collections::BTreeMap;

use faktor::domain::invoice::Status;
use faktor::domain::invoice::effect::EffectKind;
use faktor::domain::invoice::entry::Entry;
use faktor::domain::money::Money;

use super::{Story, Violations};

pub(super) fn check(story: &Story<'_>, violations: &mut Violations) {
    let (id, found) = (story.id, story.found);
    let taken: Vec<_> = found
        .charges
        .iter()
        .filter(|charge| charge.succeeded)
        .collect();
    if taken.len() > 1 {
        violations.note(
            "an invoice is charged once",
            format_args!("{id}: {taken:?}"),
        );
    }
    let requested = story.effects(|effect| match effect.kind {
        EffectKind::Charge { amount, .. } => Some(amount),
        _ => None,
    });
    for charge in &found.charges {
        match requested.get(&charge.effect) {
            None => violations.note(
                "nothing is charged that nobody asked for",
                format_args!("{id}: {charge:?}"),
            ),
            Some(amount) if *amount != charge.amount => violations.note(
                "a charge takes the amount that was asked for",
                format_args!("{id}: {charge:?}, asked for {amount}"),
            ),
            Some(_) => {}
        }
    }
    payments_are_the_charges(story, violations);
    refusals_are_told_once(story, violations);
    paid_when_all_is_there(story, violations);
}

fn payments_are_the_charges(story: &Story<'_>, violations: &mut Violations) {
    let mut booked: BTreeMap<&str, Vec<Money>> = BTreeMap::new();
    for payment in &story.found.snapshot.payment.received {
        if let Some(provider) = &payment.provider {
            booked.entry(&provider.id).or_default().push(payment.amount);
        }
    }
    for charge in story.found.charges.iter().filter(|it| it.succeeded) {
        match booked.remove(charge.id.as_str()).as_deref() {
            Some([amount]) if *amount == charge.amount => {}
            other => violations.note(
                "what the provider took is booked once",
                format_args!("{}: {charge:?} is booked as {other:?}", story.id),
            ),
        }
    }
    for (payment, amounts) in booked {
        violations.note(
            "what is booked was taken by the provider",
            format_args!("{}: {payment}, {amounts:?}", story.id),
        );
    }
}

fn refusals_are_told_once(story: &Story<'_>, violations: &mut Violations) {
    for charge in story.found.charges.iter().filter(|it| !it.succeeded) {
        let told = story.found.history.iter().filter(|recorded| {
            matches!(&recorded.entry, Entry::ChargeFailed { effect, .. } if *effect == charge.effect)
        });
        let told = told.count();
        if told != 1 {
            violations.note(
                "a declined charge is noted once",
                format_args!("{}: {charge:?} is noted {told} times", story.id),
            );
        }
    }
}

fn paid_when_all_is_there(story: &Story<'_>, violations: &mut Violations) {
    let invoice = &story.found.snapshot;
    let covered = invoice.paid().minor >= invoice.totals.total.minor;
    let wrong = match invoice.status() {
        Status::Paid => !covered,
        Status::Open | Status::Uncollectible => covered,
        Status::Void => invoice.paid().minor > 0,
        _ => false,
    };
    if wrong {
        violations.note(
            "an invoice is paid when the money is there",
            format_args!(
                "{}: {} with {} of {}",
                story.id,
                invoice.status().name(),
                invoice.paid(),
                invoice.totals.total
            ),
        );
    }
}
