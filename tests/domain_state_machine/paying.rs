//! Money: one charge at a time, every payment once, none lost.

use faktor::domain::ids::EffectId;
use faktor::domain::invoice::command::Command;
use faktor::domain::invoice::decide::{Refusal, Step};
use faktor::domain::invoice::effect::{ChargeState, EffectKindName as Kind};
use faktor::domain::invoice::{PaymentStatus, Status};
use faktor::domain::money::Money;
use jiff::SignedDuration;
use jiff::civil::date;

use crate::commands::{money, provider_payment};
use crate::domain_fixture::currency;
use crate::story::{Story, params, pay, record, void};

pub(crate) fn received(payment: &str, amount: Money, effect: Option<EffectId>) -> Command {
    Command::ReceiveProviderPayment {
        effect,
        payment: provider_payment(payment),
        amount,
        method: "card".to_owned(),
    }
}

pub(crate) fn decline(story: &Story) -> Command {
    Command::FailCharge {
        effect: story.effect_id(Kind::Charge),
        code: "card_declined".to_owned(),
        detail: "the card was declined".to_owned(),
    }
}

#[test]
fn a_second_pay_while_one_is_in_flight_is_refused() {
    let story = Story::open().then(pay());
    assert_eq!(story.invoice().payment_status(), PaymentStatus::Processing);
    assert_eq!(story.ask(pay()), Err(Refusal::PaymentInProgress));
    let charge = story.effect_id(Kind::Charge);
    assert_eq!(
        story.invoice().charge_outcome(&charge),
        ChargeState::InFlight
    );

    let story = story.done(Kind::Charge);
    assert_eq!(story.invoice().status(), Status::Paid);
    assert_eq!(story.invoice().payment_status(), PaymentStatus::Paid);
    assert_eq!(
        story.invoice().charge_outcome(&charge),
        ChargeState::Succeeded
    );
    assert_eq!(story.ask(pay()), Err(Refusal::AlreadyPaid));
}

#[test]
fn a_declined_charge_leaves_the_invoice_open_and_another_may_follow() {
    let story = Story::open().then(pay());
    let charge = story.effect_id(Kind::Charge);
    let command = decline(&story);
    let story = story.then(command.clone());
    assert_eq!(story.invoice().status(), Status::Open);
    let declined = ChargeState::Declined {
        code: "card_declined".to_owned(),
        detail: "the card was declined".to_owned(),
    };
    assert_eq!(story.invoice().charge_outcome(&charge), declined);
    assert_eq!(story.ask(command), Ok(Step::Unchanged), "told twice");
    assert_eq!(
        story.events.last().unwrap().data["failure"]["code"],
        "card_declined"
    );
    let story = story.then(pay());
    assert_ne!(
        story.effect_id(Kind::Charge),
        charge,
        "a new charge has a key of its own"
    );
}

#[test]
fn the_reply_and_the_webhook_of_one_charge_make_one_payment_in_either_order() {
    let story = Story::open().then(pay());
    let charge = story.effect_id(Kind::Charge);
    let reply = received("pay-1", money(11_900), Some(charge.clone()));
    let webhook = received("pay-1", money(11_900), None);

    let replied = Story::open().then(pay()).then(reply.clone());
    assert_eq!(replied.ask(webhook.clone()), Ok(Step::Unchanged));

    let story = story.then(webhook.clone());
    assert_eq!(story.invoice().status(), Status::Paid);
    assert_eq!(story.ask(webhook), Ok(Step::Unchanged), "received twice");
    let story = story.then(reply.clone());
    assert_eq!(story.invoice().payment.received.len(), 1);
    assert_eq!(
        story.invoice().charge_outcome(&charge),
        ChargeState::Succeeded
    );
    assert!(!story.pending().contains(&Kind::Charge));
    assert_eq!(story.ask(reply), Ok(Step::Unchanged));
}

#[test]
fn a_charge_given_up_with_its_outcome_unknown_blocks_and_one_surely_not_made_is_replaced() {
    let unknown = Story::open().then(pay()).failed(Kind::Charge, true, true);
    assert_eq!(unknown.ask(pay()), Err(Refusal::PaymentInProgress));
    assert_eq!(unknown.ask(void()), Err(Refusal::PaymentInProgress));
    let charge = unknown.effect_id(Kind::Charge);
    assert!(matches!(
        unknown.invoice().charge_outcome(&charge),
        ChargeState::Parked(_)
    ));
    let late = unknown.then(received("pay-1", money(11_900), Some(charge)));
    assert_eq!(
        late.invoice().status(),
        Status::Paid,
        "the truth comes out in the end"
    );

    let not_made = Story::open().then(pay()).failed(Kind::Charge, true, false);
    let old = not_made.effect_id(Kind::Charge);
    let again = not_made.then(pay());
    assert_eq!(again.pending(), [Kind::Charge]);
    assert_ne!(again.effect_id(Kind::Charge), old);
}

#[test]
fn attempts_are_counted_until_the_charge_is_parked_and_a_retry_counts_anew() {
    let story = Story::open().then(pay());
    let charge = story.effect_id(Kind::Charge);
    let story = story.failed(Kind::Charge, false, false);
    assert!(matches!(
        story.invoice().charge_outcome(&charge),
        ChargeState::FailedAttempt(_)
    ));
    assert!(
        story.due().is_empty(),
        "the next attempt waits for its time"
    );
    let story = story.failed(Kind::Charge, false, false);
    assert_eq!(story.effect(Kind::Charge).attempts, 2);
    let story = story.failed(Kind::Charge, false, false);
    assert!(story.effect(Kind::Charge).parked);
    let story = story.then(Command::Retry);
    assert_eq!(
        (story.effect(Kind::Charge).attempts, story.due().len()),
        (0, 1)
    );
    assert_eq!(story.ask(Command::Retry), Ok(Step::Unchanged));
}

#[test]
fn money_received_elsewhere_may_be_partial_or_over() {
    let story = Story::open().then(record(1_900));
    assert_eq!(
        story.invoice().payment_status(),
        PaymentStatus::PartiallyPaid
    );
    assert_eq!(story.invoice().due().to_string(), "100.00");
    let story = story.then(record(10_000));
    assert_eq!(story.invoice().status(), Status::Paid);
    let story = story.then(record(1));
    assert_eq!(story.invoice().payment_status(), PaymentStatus::Overpaid);
    assert_eq!(story.invoice().due().to_string(), "0.00");
    assert_eq!(story.invoice().paid().to_string(), "119.01");
}

#[test]
fn a_payment_needs_an_amount_in_the_invoices_currency_and_a_day_that_has_come() {
    let story = Story::open();
    let with = |amount, received_on| Command::RecordPayment {
        amount,
        method: "cash".to_owned(),
        received_on,
        reference: None,
    };
    assert_eq!(params(story.ask(record(0))), ["amount"]);
    assert_eq!(params(story.ask(record(-1))), ["amount"]);
    assert_eq!(params(story.ask(record(i64::MAX))), ["amount"]);
    let yen = Money::new(1, currency("JPY"));
    assert_eq!(params(story.ask(with(yen, None))), ["currency"]);
    assert!(story.ask(with(money(1), Some(date(2026, 11, 22)))).is_ok());
    assert_eq!(
        params(story.ask(with(money(1), Some(date(2026, 11, 23))))),
        ["received_on"]
    );
}

#[test]
fn a_thousand_payments_are_recorded_and_no_more() {
    let mut story = Story::open();
    story = story.then(record(11_900));
    let invoice = story.invoice.as_mut().unwrap();
    let payment = invoice.payment.received[0].clone();
    invoice.payment.received = vec![payment; 999];
    story = story.then(record(1));
    assert_eq!(params(story.ask(record(1))), ["amount"]);
    assert!(
        story.ask(received("pay-9", money(1), None)).is_ok(),
        "a provider's is never lost"
    );
}

#[test]
fn what_a_provider_reports_is_recorded_on_void_and_paid_invoices_too() {
    let story = Story::open()
        .then(void())
        .then(received("pay-1", money(11_900), None));
    assert_eq!(story.invoice().status(), Status::Void, "void stays void");
    assert_eq!(story.invoice().payment_status(), PaymentStatus::Overpaid);
    let story = Story::open()
        .then(record(11_900))
        .then(received("pay-1", money(11_900), None));
    assert_eq!(story.invoice().payment_status(), PaymentStatus::Overpaid);

    let yen = Money::new(11_900, currency("JPY"));
    assert_eq!(
        params(Story::open().ask(received("pay-1", yen, None))),
        ["currency"]
    );
    let draft = Err(Refusal::InvoiceNotOpen {
        status: Status::Draft,
    });
    assert_eq!(Story::draft().ask(received("pay-1", money(1), None)), draft);
}

#[test]
fn an_uncollectible_invoice_that_is_paid_after_all_is_paid() {
    let story = Story::open().then(Command::MarkUncollectible { reason: None });
    assert_eq!(story.then(record(11_900)).invoice().status(), Status::Paid);
}

#[test]
fn a_charge_whose_reply_was_lost_stays_unknown_when_asking_again_fails() {
    let story = Story::open()
        .then(pay())
        .failed(Kind::Charge, false, true)
        .failed(Kind::Charge, false, false);
    let error = story.effect(Kind::Charge).last_error.as_ref().unwrap();
    assert!(error.outcome_unknown, "{error:?}");
    assert_eq!(story.ask(pay()), Err(Refusal::PaymentInProgress));
    // Money from elsewhere does not drop it: it may have been made.
    let paid = story.then(record(11_900));
    assert!(paid.pending().contains(&Kind::Charge));
    // A refusal under the same key says that it was not.
    let paid = paid.failed(Kind::Charge, true, false);
    assert!(!paid.pending().contains(&Kind::Charge));
}

#[test]
fn a_charge_that_failed_is_not_tried_again_once_the_money_came_in_otherwise() {
    let waiting = Story::open().then(pay()).failed(Kind::Charge, false, false);
    let paid = waiting.then(record(11_900));
    assert!(!paid.pending().contains(&Kind::Charge));

    let in_flight = Story::open().then(pay()).then(record(11_900));
    assert!(
        in_flight.pending().contains(&Kind::Charge),
        "it may have taken the money"
    );
    let failed = in_flight.failed(Kind::Charge, false, false);
    assert!(!failed.pending().contains(&Kind::Charge));

    // It may have begun its next attempt.
    let again = Story::open()
        .then(pay())
        .failed(Kind::Charge, false, false)
        .after(SignedDuration::from_secs(1))
        .then(record(1_900));
    assert!(again.pending().contains(&Kind::Charge));
    let declined = again.failed(Kind::Charge, false, false);
    assert!(
        !declined.pending().contains(&Kind::Charge),
        "for what was due before it is not tried again"
    );

    let partly = Story::open()
        .then(pay())
        .failed(Kind::Charge, true, false)
        .then(record(1));
    assert!(
        !partly.pending().contains(&Kind::Charge),
        "a retry would charge too much"
    );
}

#[test]
fn void_is_for_issued_invoices_without_money() {
    assert_eq!(Story::draft().ask(void()), Err(Refusal::DraftNotVoidable));
    assert_eq!(
        Story::open().then(pay()).ask(void()),
        Err(Refusal::PaymentInProgress)
    );
    assert_eq!(
        Story::open().then(record(1)).ask(void()),
        Err(Refusal::InvoiceHasPayments)
    );
    assert_eq!(
        Story::open().then(record(11_900)).ask(void()),
        Err(Refusal::AlreadyPaid)
    );
    let story = Story::open().then(void());
    assert_eq!(story.pending(), [Kind::Document], "with the mark VOID");
    assert_eq!(story.invoice().due().to_string(), "0.00");
    assert_eq!(story.ask(void()), Err(Refusal::AlreadyVoid));
}
