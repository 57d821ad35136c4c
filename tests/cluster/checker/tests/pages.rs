//! What goes wrong around checkout pages is told.

use faktor::domain::ids::{EffectId, InvoiceId};
use faktor::domain::invoice::entry::{Entry, Recorded};
use uuid::Uuid;

use super::run::Run;
use super::way::money;
use crate::recording::Outcome;

/// The good run with other words for the three visits to invoice 3's page.
fn told(outcomes: [Outcome; 3]) -> Run {
    let mut run = Run::good();
    for (visit, outcome) in run.evidence.visits.iter_mut().zip(outcomes) {
        visit.outcome = outcome;
    }
    run
}

fn unknown() -> Outcome {
    Outcome::Unknown {
        why: "cut".to_owned(),
    }
}

fn not_taken() -> Outcome {
    Outcome::NotTaken {
        why: "refused".to_owned(),
    }
}

#[test]
fn a_visit_without_an_answer_may_have_paid_or_not() {
    for outcomes in [
        [Outcome::Declined, unknown(), Outcome::AlreadyPaid],
        [unknown(), Outcome::Paid, not_taken()],
        [unknown(), unknown(), unknown()],
    ] {
        assert_eq!(told(outcomes).violations(), []);
    }
}

#[test]
fn a_page_that_is_paid_twice_is_told() {
    let mut run = Run::good();
    let mut again = run.found(3).charges[1].clone();
    "pi_again".clone_into(&mut again.id);
    run.found(3).charges.push(again);
    run.breaks("a page is paid at most once");
    run.breaks("a page that says that it is paid took the money once");
    run.breaks("an invoice is charged once");
    run.breaks("what the provider took is booked once");

    // One charge, of which two visitors were told that it was theirs.
    let run = told([Outcome::Declined, Outcome::Paid, Outcome::Paid]);
    run.breaks("a page is paid at most once");
}

#[test]
fn a_page_that_says_what_is_not_so_is_told() {
    for outcome in [Outcome::Paid, Outcome::AlreadyPaid] {
        let mut run = told([Outcome::Declined, unknown(), outcome]);
        run.found(3).charges[1].succeeded = false;
        run.breaks("a page that says that it is paid took the money once");
    }
    let run = told([Outcome::Declined, Outcome::Paid, Outcome::Expired]);
    run.breaks("a page that was taken down took no money");
    let run = told([Outcome::Declined, Outcome::Declined, not_taken()]);
    run.breaks("a visit that was declined took no money");
}

#[test]
fn a_charge_on_a_page_that_nobody_visited_is_told() {
    const RULE: &str = "a charge on a page stems from a visit";
    let mut run = Run::good();
    run.evidence.visits.clear();
    run.breaks(RULE);
    // Two charges, and one visit that can have left one.
    told([not_taken(), Outcome::Paid, Outcome::AlreadyPaid]).breaks(RULE);
    let mut run = Run::good();
    run.evidence.visits[0].invoice = InvoiceId::new(Uuid::from_u128(1));
    run.breaks(RULE);
}

#[test]
fn a_page_that_is_gone_and_a_strange_answer_are_told() {
    let run = told([Outcome::Declined, Outcome::Paid, Outcome::Missing]);
    run.breaks("a page that is shown is there");
    let strange = Outcome::Strange { status: 500 };
    let run = told([Outcome::Declined, Outcome::Paid, strange]);
    run.breaks("an answer is about the page, or the moment");
}

#[test]
fn a_charge_on_a_page_names_the_page_and_its_amount() {
    let mut run = Run::good();
    run.found(3).charges[1].amount = money(1);
    run.breaks("a charge takes the amount that was asked for");

    // Another page's, the effect of another kind, and none at all.
    let mut run = Run::good();
    run.found(3).charges[1].session = Some("cs_2".to_owned());
    run.breaks("nothing is charged that nobody asked for");
    let mut run = Run::good();
    run.found(3).charges[1].session = None;
    run.breaks("nothing is charged that nobody asked for");
    let mut run = Run::good();
    run.found(1).charges[0].session = Some("cs_1".to_owned());
    run.breaks("nothing is charged that nobody asked for");
}

#[test]
fn an_invoice_that_is_charged_and_paid_on_its_page_is_told() {
    let mut run = Run::good();
    let mut on_page = run.found(3).charges[1].clone();
    on_page.effect = run.found(1).history.iter().find_map(link_effect).unwrap();
    on_page.session = Some("cs_1".to_owned());
    run.found(1).charges.push(on_page);
    run.breaks("an invoice is charged once");
}

fn link_effect(recorded: &Recorded) -> Option<EffectId> {
    match &recorded.entry {
        Entry::PaymentLinkCreated { effect, .. } => Some(effect.clone()),
        _ => None,
    }
}

#[test]
fn two_pages_that_can_be_paid_both_are_told() {
    let mut run = Run::with_a_page_replaced();
    run.breaks("a page is made when the one before it is down");
    run.breaks("an invoice is charged once");
    run.found(4).charges.pop();
    let rules: Vec<_> = run.violations().iter().map(|it| it.rule).collect();
    assert!(!rules.contains(&"an invoice is charged once"), "{rules:?}");
}

#[test]
fn a_page_that_is_left_over_is_told() {
    let mut run = Run::good();
    run.found(1).open_pages.push("cs_1".to_owned());
    run.breaks("a page that is not needed any more is taken down");
}

#[test]
fn a_void_invoice_has_money_only_from_a_page() {
    const RULE: &str = "an invoice is paid when the money is there";
    let voided = |number| {
        let mut run = Run::good();
        run.rewrite(number, |history| {
            let paid = history.iter_mut().find(|it| it.entry.name() == "paid");
            paid.unwrap().entry = Entry::Voided { reason: None };
        });
        run
    };
    voided(1).breaks(RULE);
    let on_page = voided(3).violations();
    assert!(
        on_page.iter().all(|violation| violation.rule != RULE),
        "{on_page:#?}"
    );
}
