//! Repeats, preconditions, tombstones, and the smaller commands.

use std::sync::Arc;

use faktor::domain::invoice::command::{Command, IdempotencyKey, Request};
use faktor::domain::invoice::decide::{Refusal, Step};
use faktor::domain::invoice::effect::EffectKindName as Kind;
use faktor::domain::invoice::{Content, Status};
use faktor::domain::limits;
use faktor::domain::party::Issuer;
use faktor::domain::tax::{Tax, TaxCategory};
use jiff::SignedDuration;
use jiff::civil::{Date, date};
use rust_decimal::Decimal;

use crate::commands::{create, number, request};
use crate::domain_fixture::{content, issuer};
use crate::story::{Story, finalize, keyed, params, pay, record};

fn rotate(secret: usize) -> Command {
    Command::RotatePageSecret {
        page_secret: format!("secret-{secret}"),
    }
}

#[test]
fn a_repeated_request_gives_the_first_outcome_and_another_body_is_refused() {
    let first = keyed(create(content()), "create-1", 7);
    let story = Story::begin().then_with(&first);
    let story = story.then(rotate(1));
    assert_eq!(story.ask_with(&first), Ok(Step::Replayed { version: 1 }));
    let other = keyed(create(content()), "create-1", 8);
    assert_eq!(story.ask_with(&other), Err(Refusal::IdempotencyKeyReused));
    assert_eq!(story.ask(create(content())), Err(Refusal::AlreadyExists));
}

#[test]
fn a_repeat_is_recognized_before_the_version_is_compared() {
    let first = Request {
        expected_version: Some(1),
        ..keyed(finalize(), "f", 1)
    };
    let story = Story::draft().then_with(&first);
    assert_eq!(story.ask_with(&first), Ok(Step::Replayed { version: 2 }));
}

#[test]
fn a_change_of_another_version_is_refused() {
    let story = Story::draft();
    let at = |expected_version| Request {
        expected_version,
        ..request(Command::Delete)
    };
    let mismatch = Err(Refusal::VersionMismatch { current: 1 });
    assert_eq!(story.ask_with(&at(Some(2))), mismatch);
    assert!(matches!(
        story.ask_with(&at(Some(1))),
        Ok(Step::Changed { .. })
    ));
}

#[test]
fn chosen_keys_are_kept_for_a_day_and_those_of_nodes_in_small_number() {
    let mut story = Story::draft();
    story = story.then_with(&keyed(rotate(0), "chosen", 1));
    for n in 1..=40 {
        let id = IdempotencyKey {
            key: format!("id-{n}"),
            fingerprint: 1,
            keep: false,
            unsure_for_ms: None,
        };
        story = story.then_with(&Request {
            key: Some(id),
            ..request(rotate(n))
        });
    }
    let requests = &story.invoice().requests;
    assert_eq!(requests.len(), 1 + 16);
    assert_eq!(
        (requests[0].key.as_str(), requests[1].key.as_str()),
        ("chosen", "id-25")
    );

    story = story.after(SignedDuration::from_hours(24) - SignedDuration::from_millis(1));
    story = story.then_with(&keyed(rotate(41), "just before", 1));
    assert_eq!(story.invoice().requests[0].key, "chosen");
    story = story
        .after(SignedDuration::from_millis(1))
        .then_with(&keyed(rotate(42), "day", 1));
    assert_eq!(story.invoice().requests[0].key, "id-25");
}

/// A node that asks again because an owner did not answer: what cannot be told from a first request
/// is refused, not carried out once more.
#[test]
fn a_retry_that_could_have_been_forgotten_is_refused() {
    let payment = |unsure_for_ms| {
        let mut request = keyed(rotate(100), "once", 0);
        request.key = request.key.map(|key| IdempotencyKey {
            keep: false,
            unsure_for_ms,
            ..key
        });
        request
    };
    let mut story = Story::draft().then_with(&payment(None));
    assert_eq!(
        story.ask_with(&payment(Some(3_000))),
        Ok(Step::Replayed { version: 2 })
    );
    for n in 1..=16 {
        story = story.after(SignedDuration::from_millis(10));
        assert!(matches!(
            story.ask_with(&payment(Some(3_000))),
            Ok(Step::Replayed { .. })
        ));
        let mut other = keyed(rotate(n), &format!("other-{n}"), 0);
        other.key.as_mut().unwrap().keep = false;
        story = story.then_with(&other);
    }
    assert_eq!(
        story.ask_with(&payment(Some(3_000))),
        Err(Refusal::OutcomeUnknown)
    );
    // The clock of a new owner may be another one.
    let story = story.after(SignedDuration::from_mins(15));
    assert_eq!(
        story.ask_with(&payment(Some(3_000))),
        Err(Refusal::OutcomeUnknown)
    );
    // All of the others came before it may have been carried out: it was not.
    let story = story.after(SignedDuration::from_millis(3_001));
    assert!(matches!(
        story.ask_with(&payment(Some(3_000))),
        Ok(Step::Changed { .. })
    ));
    assert!(matches!(
        story.ask_with(&payment(None)),
        Ok(Step::Changed { .. })
    ));
}

#[test]
fn no_more_chosen_keys_are_remembered_than_the_limit() {
    let mut story = Story::draft();
    for n in 0..limits::REMEMBERED_REQUESTS + 10 {
        story = story.then_with(&keyed(rotate(n), &format!("key-{n}"), 1));
    }
    assert_eq!(story.invoice().requests.len(), limits::REMEMBERED_REQUESTS);
    assert_eq!(story.invoice().requests[0].key, "key-10");
}

#[test]
fn a_deleted_draft_is_gone_but_its_create_is_still_recognized() {
    let first = keyed(create(content()), "create-1", 7);
    let story = Story::begin().then_with(&first).then(Command::Delete);
    assert_eq!(story.invoice().status(), Status::Deleted);
    assert_eq!(story.ask_with(&first), Ok(Step::Replayed { version: 1 }));
    for command in [
        Command::Delete,
        Command::Tick,
        Command::View,
        finalize(),
        pay(),
    ] {
        assert_eq!(story.ask(command), Err(Refusal::NotFound));
    }
    assert_eq!(story.invoice().wake_at(), None);
}

#[test]
fn a_draft_of_a_nameless_organization_can_be_written_but_not_issued() {
    let story = Story::draft_of(Content {
        issuer: Issuer::default(),
        ..content()
    });
    let nameless = Command::Finalize {
        issuer: Box::default(),
        send: None,
    };
    assert_eq!(params(story.ask(nameless)), ["issuer.legal_name"]);
    let story = story.then(finalize());
    assert_eq!(
        story.invoice().content.issuer,
        issuer(),
        "the issuer is refreshed"
    );
}

#[test]
fn a_number_is_assigned_once_and_a_failed_allocation_is_tried_again() {
    let story = Story::draft()
        .then(finalize())
        .failed(Kind::Number, false, true);
    let effect = story.effect_id(Kind::Number);
    let assign = Command::AssignNumber {
        effect,
        allocated: number(),
    };
    let story = story.then(assign.clone());
    assert_eq!(story.invoice().issued().unwrap().number, "2026-0001");
    assert_eq!(story.invoice().issued().unwrap().due_on, date(2026, 12, 5));
    assert_eq!(story.ask(assign), Ok(Step::Unchanged));
}

#[test]
fn a_due_date_beyond_the_calendar_is_its_last_day() {
    let story = Story::draft().then(finalize());
    let effect = story.effect_id(Kind::Number);
    let mut allocated = number();
    allocated.issued_on = Date::MAX;
    let story = story.then(Command::AssignNumber { effect, allocated });
    assert_eq!(story.invoice().issued().unwrap().due_on, Date::MAX);
    assert_eq!(story.invoice().becomes_overdue_at(), None);
}

#[test]
fn an_edit_keeps_the_issuer_and_an_equal_one_changes_nothing() {
    let story = Story::draft();
    let other = Content {
        issuer: Issuer::default(),
        memo: Some("Thanks".to_owned()),
        ..content()
    };
    let edit = Command::Edit {
        content: Arc::new(other),
    };
    let story = story.then(edit.clone());
    assert_eq!(story.invoice().content.issuer, issuer());
    assert_eq!(story.ask(edit), Ok(Step::Unchanged));
    let empty = Content {
        lines: vec![],
        ..content()
    };
    assert_eq!(
        params(story.ask(Command::Edit {
            content: Arc::new(empty)
        })),
        ["lines"]
    );
}

#[test]
fn what_has_a_default_reason_gets_it_when_it_is_written() {
    let mut reverse = content();
    let (category, rate) = (TaxCategory::AE, Decimal::ZERO);
    reverse.lines[0].tax = Tax {
        category,
        rate,
        exemption_reason: None,
    };
    let story = Story::draft_of(reverse.clone());
    let reason = story.invoice().content.lines[0]
        .tax
        .exemption_reason
        .as_deref();
    assert_eq!(reason, Some("Reverse charge"));
    let edit = Command::Edit {
        content: Arc::new(reverse),
    };
    assert_eq!(story.ask(edit), Ok(Step::Unchanged));
}

#[test]
fn only_the_first_look_at_an_issued_invoice_is_recorded() {
    assert_eq!(Story::draft().ask(Command::View), Ok(Step::Unchanged));
    let story = Story::open().then(Command::View);
    assert!(story.invoice().first_viewed_at.is_some());
    assert_eq!(story.ask(Command::View), Ok(Step::Unchanged));
}

#[test]
fn an_overdue_invoice_is_no_longer_overdue_once_it_is_paid() {
    let story = Story::open()
        .after(SignedDuration::from_hours(24 * 15))
        .then(Command::Tick);
    assert!(story.invoice().is_overdue());
    assert!(!story.then(record(11_900)).invoice().is_overdue());
}

#[test]
fn every_event_has_an_id_that_depends_on_invoice_and_version_alone() {
    let (one, two) = (Story::open(), Story::open());
    let ids = |story: &Story| {
        story
            .events
            .iter()
            .map(|event| event.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&one), ids(&two));
    let mut distinct = ids(&one);
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), one.events.len());
}

/// The budget of a live invoice is 12 KiB with its actor; the aggregate itself, with ten lines,
/// takes about 5 KiB.
#[test]
fn the_parts_of_an_invoice_that_are_held_in_memory_are_small() {
    use faktor::domain::invoice::{Invoice, Line, effect::PendingEffect};
    use faktor::domain::totals::LineTotals;

    assert!(size_of::<Invoice>() <= 2_176, "{}", size_of::<Invoice>());
    assert!(size_of::<Line>() + size_of::<LineTotals>() <= 256);
    assert!(size_of::<PendingEffect>() <= 208);
}
