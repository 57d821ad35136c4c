//! What a checkout page told its visitors is what became of their money.

use std::collections::BTreeMap;

use super::{Charge, Story, Violations};
use crate::recording::{Outcome, Visit};

/// What is known of a page from both sides.
#[derive(Default)]
struct Session<'a> {
    visits: Vec<&'a Visit>,
    charges: Vec<&'a Charge>,
}

pub(super) fn check(visits: &[Visit], stories: &[Story<'_>], violations: &mut Violations) {
    let mut sessions: BTreeMap<&str, Session<'_>> = BTreeMap::new();
    for visit in visits {
        answer_is_of_the_page(visit, violations);
        let session = sessions.entry(&visit.session).or_default();
        session.visits.push(visit);
    }
    for story in stories {
        for charge in &story.found.charges {
            let Some(session) = &charge.session else {
                continue;
            };
            let session = sessions.entry(session).or_default();
            session.charges.push(charge);
        }
    }
    for (id, session) in &sessions {
        paid_once(id, session, violations);
        told_what_happened(session, violations);
        stems_from_visits(id, session, violations);
    }
}

/// Whatever happens to the nodes: nothing crashes, and a page that an invoice shows is there.
fn answer_is_of_the_page(visit: &Visit, violations: &mut Violations) {
    match visit.outcome {
        Outcome::Strange { .. } => {
            violations.note("an answer is about the page, or the moment", visit);
        }
        Outcome::Missing => violations.note("a page that is shown is there", visit),
        _ => {}
    }
}

impl Session<'_> {
    fn payments(&self) -> usize {
        let paid = self.charges.iter().filter(|charge| charge.succeeded);
        paid.count()
    }

    fn count(&self, holds: impl Fn(&Outcome) -> bool) -> usize {
        let visits = self.visits.iter();
        visits.filter(|visit| holds(&visit.outcome)).count()
    }
}

/// However often the button is pressed, and at however many nodes.
fn paid_once(id: &str, session: &Session<'_>, violations: &mut Violations) {
    let payments = session.payments();
    let told = session.count(|outcome| *outcome == Outcome::Paid);
    if payments > 1 || told > 1 {
        violations.note(
            "a page is paid at most once",
            format_args!("{id}: {payments} charges, and {told} visitors were told so"),
        );
    }
}

fn told_what_happened(session: &Session<'_>, violations: &mut Violations) {
    let payments = session.payments();
    let nobody_paid = session.count(Outcome::may_have_paid) == 0;
    for visit in &session.visits {
        match visit.outcome {
            Outcome::Paid | Outcome::AlreadyPaid if payments != 1 => violations.note(
                "a page that says that it is paid took the money once",
                format_args!("{visit}: {payments} charges"),
            ),
            Outcome::Expired if payments > 0 => {
                violations.note("a page that was taken down took no money", visit);
            }
            Outcome::Declined if payments > 0 && nobody_paid => {
                violations.note("a visit that was declined took no money", visit);
            }
            _ => {}
        }
    }
}

/// Each charge on a page has a visit of its own, to the page of that invoice.
fn stems_from_visits(id: &str, session: &Session<'_>, violations: &mut Violations) {
    let visits = session.count(Outcome::may_have_charged);
    let of_another = session.charges.iter().any(|charge| {
        let invoice = charge.effect.invoice;
        session.visits.iter().any(|visit| visit.invoice != invoice)
    });
    if session.charges.len() > visits || of_another {
        violations.note(
            "a charge on a page stems from a visit",
            format_args!("{id}: {:?} after {:?}", session.charges, session.visits),
        );
    }
}
