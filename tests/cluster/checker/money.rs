//! The provider's books and the invoice agree: money is taken once, and none is lost.

use std::collections::BTreeMap;

use faktor::domain::invoice::effect::{EffectKind, EffectKindName};
use faktor::domain::invoice::entry::Entry;
use faktor::domain::invoice::{Payment, Status};
use faktor::domain::money::Money;

use super::pages::{self, Page};
use super::{Story, Violations};

pub(super) fn check(story: &Story<'_>, violations: &mut Violations) {
    let pages = pages::of(story);
    charged_once(story, violations);
    charged_as_asked_for(story, &pages, violations);
    payments_are_the_charges(story, violations);
    refusals_are_told_once(story, violations);
    paid_when_all_is_there(story, violations);
}

/// Whether on a page or not.
fn charged_once(story: &Story<'_>, violations: &mut Violations) {
    let taken: Vec<_> = story
        .found
        .charges
        .iter()
        .filter(|it| it.succeeded)
        .collect();
    if taken.len() > 1 {
        violations.note(
            "an invoice is charged once",
            format_args!("{}: {taken:?}", story.id),
        );
    }
}

/// A charge names the effect that asked for it; one that was made on a page, the effect that made the
/// page.
fn charged_as_asked_for(story: &Story<'_>, pages: &[Page<'_>], violations: &mut Violations) {
    let id = story.id;
    let requested = story.effects(|effect| match effect.kind {
        EffectKind::Charge { amount, .. } | EffectKind::PaymentLink { amount } => Some(amount),
        _ => None,
    });
    for charge in &story.found.charges {
        let is_asked_for = match charge.session {
            None => charge.effect.kind == EffectKindName::Charge,
            Some(_) => pages.iter().any(|page| page.is_of(charge)),
        };
        match requested.get(&charge.effect).filter(|_| is_asked_for) {
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

/// To the invoice; what a page declines, it tells its visitor alone.
fn refusals_are_told_once(story: &Story<'_>, violations: &mut Violations) {
    let asked_for = story.found.charges.iter().filter(|it| it.session.is_none());
    for charge in asked_for.filter(|it| !it.succeeded) {
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
    // Paid on its page in the moment in which it was voided: the money is there.
    let on_page = |payment: &Payment| {
        let payment = payment.provider.as_ref();
        story.found.charges.iter().any(|charge| {
            charge.session.is_some() && payment.is_some_and(|payment| payment.id == charge.id)
        })
    };
    let covered = invoice.paid().minor >= invoice.totals.total.minor;
    let wrong = match invoice.status() {
        Status::Paid => !covered,
        Status::Open | Status::Uncollectible => covered,
        Status::Void => !invoice.payment.received.iter().all(on_page),
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
