//! A right history is let pass, and each wrong one is told.

use faktor::domain::ids::InvoiceId;
use faktor::domain::invoice::entry::{Entry, Recorded};
use uuid::Uuid;

use crate::recording::{Kind, Operation, Reply, Shown};

mod pages;
mod run;
mod way;

use run::Run;
use way::money;

fn shown_in(operation: &mut Operation) -> &mut Shown {
    match &mut operation.attempts[0].reply {
        Reply::Done {
            shown: Some(shown), ..
        } => shown,
        other => panic!("{other:?}"),
    }
}

fn entry(history: &[Recorded], name: &str) -> usize {
    let found = history.iter().position(|it| it.entry.name() == name);
    found.unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn a_run_in_which_all_went_well_is_let_pass() {
    assert_eq!(Run::good().violations(), []);
}

#[test]
fn a_command_without_an_answer_may_be_in_the_history_or_not() {
    let mut run = Run::good();
    let unknown = Reply::Unknown {
        why: "cut".to_owned(),
    };
    run.operation("pay-1").attempts[0].reply = unknown.clone();
    let mut never = run.operation("pay-1").clone();
    "pay-9".clone_into(&mut never.key);
    never.kind = Kind::Finalize;
    run.recording.push(never);
    assert_eq!(run.violations(), []);
}

#[test]
fn an_acknowledged_command_that_is_lost_is_told() {
    let mut run = Run::good();
    run.rewrite(1, |history| {
        let at = entry(history, "edited");
        history.remove(at);
    });
    run.breaks("what was acknowledged is in the history");
}

#[test]
fn an_acknowledged_invoice_that_is_lost_is_told() {
    let mut run = Run::good();
    run.evidence.invoices.pop_last();
    run.breaks("what was acknowledged is in the history");
    run.breaks("an invoice that was shown exists");
}

#[test]
fn a_command_that_was_carried_out_twice_is_told() {
    for name in ["edited", "charge_requested"] {
        let mut run = Run::good();
        run.rewrite(1, |history| {
            let at = entry(history, name);
            history.insert(at, history[at].clone());
        });
        run.breaks("a command is carried out once");
    }
    // Under another key, as when a client's repeat was taken for a request of its own.
    let mut run = Run::good();
    run.rewrite(1, |history| {
        let at = entry(history, "send_requested");
        let mut again = history[at].clone();
        again.request = None;
        history.insert(at, again);
    });
    run.breaks("a command is carried out once");
}

#[test]
fn a_command_that_reached_another_invoice_is_told() {
    let mut run = Run::good();
    run.operation("pay-1").invoice = Some(InvoiceId::new(Uuid::from_u128(2)));
    run.breaks("a command reaches its own invoice");
}

#[test]
fn a_refused_command_that_was_carried_out_is_told() {
    let mut run = Run::good();
    run.operation("pay-1").attempts[0].reply = Reply::Refused {
        status: 409,
        code: "payment_in_progress".to_owned(),
    };
    run.breaks("what was refused is not in the history");
}

#[test]
fn a_crash_and_a_strange_refusal_are_told() {
    for reply in [
        Reply::Unknown {
            why: "500 internal".to_owned(),
        },
        Reply::Refused {
            status: 422,
            code: "idempotency_key_reused".to_owned(),
        },
    ] {
        let mut run = Run::good();
        run.operation("read-last-1").attempts[0].reply = reply;
        run.breaks("an answer is about the invoice, or the moment");
    }
}

#[test]
fn what_nobody_asked_for_is_told() {
    let mut run = Run::good();
    run.recording.retain(|operation| operation.key != "pay-1");
    run.breaks("nothing is in the history that nobody asked for");
    let mut run = Run::good();
    run.operation("pay-1").kind = Kind::Void;
    run.breaks("nothing is in the history that nobody asked for");
    let mut run = Run::good();
    run.rewrite(1, |history| {
        let mut voided = history.last().unwrap().clone();
        voided.entry = Entry::Voided { reason: None };
        history.push(voided);
    });
    run.breaks("nothing is in the history that nobody asked for");
}

#[test]
fn commands_in_an_order_that_nobody_can_have_seen_are_told() {
    let mut run = Run::good();
    let edit = run.operation("edit-1").attempts[0].clone();
    let create = run.operation("create-1").attempts[0].clone();
    // The edit was over before the create began, though it stands behind it.
    run.operation("edit-1").attempts[0].began = create.began;
    run.operation("edit-1").attempts[0].ended = create.began;
    run.operation("create-1").attempts[0].began = edit.began;
    run.operation("create-1").attempts[0].ended = edit.ended;
    run.breaks("what was acknowledged first comes first");
}

#[test]
fn an_answer_without_what_it_acknowledges_is_told() {
    let mut run = Run::good();
    shown_in(run.operation("edit-1")).version = 1;
    run.breaks("an answer shows what it acknowledges");
}

#[test]
fn a_stale_read_is_told() {
    let mut run = Run::good();
    let stale = shown_in(run.operation("read-edit-1")).clone();
    *shown_in(run.operation("read-last-1")) = stale;
    run.breaks("a read shows what was acknowledged before it began");
}

#[test]
fn a_refusal_out_of_a_state_that_was_over_is_told() {
    for (key, code) in [
        ("read-last-1", "not_found"),
        ("pay-1", "invoice_not_open"),
        ("read-last-1", "draft_not_voidable"),
    ] {
        let mut run = Run::good();
        run.operation(key).attempts[0].reply = Reply::Refused {
            status: 409,
            code: code.to_owned(),
        };
        run.breaks("a refusal has a reason that still held");
    }
    let mut run = Run::good();
    let mut refused = run.operation("read-last-1").clone();
    "void-1".clone_into(&mut refused.key);
    refused.kind = Kind::Void;
    refused.attempts[0].reply = Reply::Refused {
        status: 409,
        code: "already_paid".to_owned(),
    };
    run.recording.push(refused);
    assert_eq!(run.violations(), []);
}

#[test]
fn a_read_of_what_never_was_is_told() {
    let mut run = Run::good();
    "void".clone_into(&mut shown_in(run.operation("read-last-1")).status);
    run.breaks("an answer shows what was committed");
    let mut run = Run::good();
    shown_in(run.operation("read-last-1")).version = 99;
    run.breaks("an answer shows what was committed");
}

#[test]
fn a_history_with_a_hole_or_another_snapshot_is_told() {
    let mut run = Run::good();
    run.found(1).history.remove(3);
    run.breaks("a history has every version once");
    let mut run = Run::good();
    run.found(1).history.pop();
    run.breaks("a history has every version once");
    let mut run = Run::good();
    run.found(1).snapshot.next_effect += 1;
    run.breaks("replaying the history gives the snapshot");
}

#[test]
fn a_gap_in_a_series_and_a_number_twice_are_told() {
    for wrong in ["2026-0003", "2026-0001"] {
        let mut run = Run::good();
        run.rewrite(2, |history| {
            let at = entry(history, "finalized");
            if let Entry::Finalized { allocated, .. } = &mut history[at].entry {
                wrong.clone_into(&mut allocated.number);
            }
        });
        run.breaks("a series has no gap and no number twice");
    }
}

#[test]
fn money_that_was_taken_twice_or_not_booked_is_told() {
    let mut run = Run::good();
    let mut again = run.found(1).charges[0].clone();
    "pi_again".clone_into(&mut again.id);
    run.found(1).charges.push(again);
    run.breaks("an invoice is charged once");
    run.breaks("what the provider took is booked once");

    let mut run = Run::good();
    run.found(1).charges.clear();
    run.breaks("what is booked was taken by the provider");

    let mut run = Run::good();
    run.found(1).charges[0].amount = money(1);
    run.breaks("a charge takes the amount that was asked for");
    run.breaks("what the provider took is booked once");

    let mut run = Run::good();
    run.found(1).charges[0].effect.sequence += 100;
    run.breaks("nothing is charged that nobody asked for");

    let mut run = Run::good();
    run.found(1).charges[0].succeeded = false;
    run.breaks("a declined charge is noted once");
}

#[test]
fn an_invoice_that_is_paid_without_money_is_told() {
    let mut run = Run::good();
    run.found(1).snapshot.payment.received.clear();
    run.breaks("an invoice is paid when the money is there");
}

#[test]
fn a_mail_too_many_or_too_few_is_told() {
    let mut run = Run::good();
    let mail = run.evidence.mails[0].clone();
    run.evidence.mails.push(mail);
    run.breaks("a mail is sent once");

    let mut run = Run::good();
    run.evidence.mails.remove(0);
    run.breaks("a mail that was sent is there");

    let mut run = Run::good();
    run.evidence
        .mails
        .push("inv_0-mail-1@faktor.local".to_owned());
    run.breaks("no mail goes out that nobody asked for");

    let mut run = Run::good();
    run.rewrite(1, |history| {
        let at = entry(history, "effect_claimed");
        history.remove(at);
    });
    run.breaks("a mail is noted before it goes");

    let mut run = Run::good();
    run.rewrite(1, |history| {
        let at = entry(history, "mail_sent");
        history.insert(at, history[at].clone());
    });
    run.breaks("a mail is sent once");
}

#[test]
fn a_feed_that_says_too_much_too_little_or_in_another_order_is_told() {
    let mut run = Run::good();
    run.evidence.feed.remove(2);
    run.breaks("the feed tells every change once and in order");

    let mut run = Run::good();
    run.evidence.feed.swap(1, 2);
    run.breaks("the feed tells every change once and in order");

    let mut run = Run::good();
    let again = run.evidence.feed[0].clone();
    run.evidence.feed.push(again);
    run.breaks("an event is told once");

    let mut run = Run::good();
    run.evidence.feed[0].invoice = InvoiceId::new(Uuid::from_u128(77));
    run.breaks("the feed tells of nothing else");
}

#[test]
fn a_reader_who_is_told_too_much_too_little_or_in_another_order_is_noticed() {
    let mut run = Run::good();
    run.evidence.read.remove(1);
    run.breaks("a reader gets the feed as it is");

    let mut run = Run::good();
    run.evidence.read.swap(1, 2);
    run.breaks("a reader gets the feed as it is");

    let mut run = Run::good();
    let again = run.evidence.read[0];
    run.evidence.read.push(again);
    run.breaks("a reader gets the feed as it is");
}

#[test]
fn a_document_that_is_missing_or_another_one_is_told() {
    for document in [None, Some("11".repeat(32))] {
        let mut run = Run::good();
        run.found(1).document = document;
        run.breaks("a document is there as it was noted");
    }
}

#[test]
fn what_is_stuck_is_told() {
    let mut run = Run::good();
    run.rewrite(1, |history| {
        let at = entry(history, "charge_requested");
        history.truncate(at + 1);
    });
    run.breaks("nothing is stuck");
    let mut run = Run::good();
    run.evidence.undelivered_webhooks = 1;
    run.breaks("every webhook arrives");
}
