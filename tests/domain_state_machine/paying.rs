//! Money: one charge at a time, every payment once, none lost.

use faktor::domain::ids::EffectId;
use faktor::domain::invoice::command::Command;
use faktor::domain::invoice::decide::{Refusal, Step};
use faktor::domain::invoice::effect::{ChargeState, EffectKindName as Kind};
use faktor::domain::invoice::{PaymentStatus, Status};
use faktor::domain::money::Money;
use jiff::SignedDuration;
use jiff::civil::date;

use crate::commands::{link, money, provider_payment};
use crate::domain_fixture::currency;
use crate::story::{Story, params, pay, record, send, send_to, void};

fn received(payment: &str, amount: Money, effect: Option<EffectId>) -> Command {
    Command::ReceiveProviderPayment {
        effect,
        payment: provider_payment(payment),
        amount,
        method: "card".to_owned(),
    }
}

fn decline(story: &Story) -> Command {
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
fn once_paid_the_payment_page_is_taken_down_and_the_document_is_made_anew() {
    let story = Story::open()
        .then(send())
        .done(Kind::PaymentLink)
        .done(Kind::Mail);
    let story = story.then(record(11_900));
    assert_eq!(story.pending(), [Kind::ExpirePaymentLink, Kind::Document]);
    assert!(!story.invoice().payment.link.as_ref().unwrap().active);
    let story = story.done(Kind::ExpirePaymentLink).done(Kind::Document);
    assert!(story.pending().is_empty());
}

#[test]
fn a_payment_page_is_offered_once_for_what_is_due() {
    let story = Story::open().then(Command::OfferPayment);
    assert_eq!(story.pending(), [Kind::PaymentLink]);
    assert_eq!(story.ask(Command::OfferPayment), Ok(Step::Unchanged));
    let story = story.done(Kind::PaymentLink);
    assert_eq!(story.ask(Command::OfferPayment), Ok(Step::Unchanged));
    let story = story.then(record(11_900));
    assert_eq!(story.ask(Command::OfferPayment), Err(Refusal::AlreadyPaid));
}

#[test]
fn a_charge_waits_until_nobody_can_pay_on_the_page_any_more() {
    let story = Story::open()
        .then(send())
        .done(Kind::PaymentLink)
        .done(Kind::Mail)
        .then(pay());
    assert!(!story.invoice().payment.link.as_ref().unwrap().active);
    assert_eq!(story.due().last(), Some(&Kind::ExpirePaymentLink));
    // As long as the provider has not said that the page is closed, it may be paid there.
    let story = story.failed(Kind::ExpirePaymentLink, false, true);
    assert!(!story.due().contains(&Kind::Charge));
    let parked = story.clone().failed(Kind::ExpirePaymentLink, true, false);
    assert!(!parked.due().contains(&Kind::Charge));
    // Nor is another one made meanwhile.
    assert_eq!(
        story.ask(Command::OfferPayment),
        Err(Refusal::PaymentInProgress)
    );
    let sent = story.clone().then(send_to("cfo@ada.example"));
    assert!(!sent.pending().contains(&Kind::PaymentLink));

    let story = story.done(Kind::ExpirePaymentLink);
    assert!(story.due().contains(&Kind::Charge));
    let story = story.done(Kind::Charge);
    assert_eq!(story.invoice().payment_status(), PaymentStatus::Paid);
    assert!(!story.pending().contains(&Kind::PaymentLink));
}

#[test]
fn what_was_paid_on_the_page_is_not_charged_as_well() {
    let waiting = Story::open()
        .then(send())
        .done(Kind::PaymentLink)
        .then(pay());
    let closing = waiting.effect_id(Kind::ExpirePaymentLink);
    let paid = |effect| received("pi_page", money(11_900), effect);

    let found = waiting.clone().then(paid(Some(closing.clone())));
    assert_eq!(found.invoice().payment_status(), PaymentStatus::Paid);
    assert!(!found.pending().contains(&Kind::Charge));
    assert!(!found.pending().contains(&Kind::ExpirePaymentLink));
    assert_eq!(found.invoice().payment.received[0].charge, None);
    // Its webhook says nothing new.
    assert_eq!(found.ask(paid(None)), Ok(Step::Unchanged));

    let told = waiting.clone().then(paid(None));
    assert!(!told.pending().contains(&Kind::Charge));
    let told = told.then(paid(Some(closing)));
    assert_eq!(told.invoice().payment.received.len(), 1);
    assert!(!told.pending().contains(&Kind::ExpirePaymentLink));

    // After a part of it there is another amount to ask for.
    let part = waiting.then(record(1));
    assert!(!part.pending().contains(&Kind::Charge));
}

#[test]
fn after_a_charge_that_was_declined_there_is_a_page_again_if_there_was_one() {
    let story = Story::open()
        .then(send())
        .done(Kind::PaymentLink)
        .then(pay())
        .done(Kind::ExpirePaymentLink);
    let command = decline(&story);
    let declined = story.then(command);
    assert!(declined.pending().contains(&Kind::PaymentLink));

    let story = Story::open().then(pay());
    let command = decline(&story);
    let declined = story.then(command);
    assert!(declined.pending().is_empty(), "{:?}", declined.pending());
}

#[test]
fn a_page_that_comes_during_a_charge_is_taken_down_unseen() {
    let story = Story::open().then(Command::OfferPayment).then(pay());
    assert!(story.due().contains(&Kind::Charge), "nobody knows a page");
    let story = story.done(Kind::PaymentLink);
    assert!(!story.invoice().payment.link.as_ref().unwrap().active);
    assert_eq!(story.expiring().len(), 1);
    // It has begun already: that it is not dead is what the next answer must say.
    let paid = story.then(record(11_900));
    assert!(paid.pending().contains(&Kind::Charge));
}

#[test]
fn a_charge_that_is_tried_again_by_hand_closes_the_page_that_came_meanwhile() {
    let story = Story::open().then(pay()).failed(Kind::Charge, true, false);
    let story = story.then(Command::OfferPayment).done(Kind::PaymentLink);
    let story = story.then(Command::Retry);
    assert_eq!(story.due(), [Kind::ExpirePaymentLink]);
    assert!(
        story
            .done(Kind::ExpirePaymentLink)
            .due()
            .contains(&Kind::Charge)
    );
}

#[test]
fn a_payment_page_that_will_close_soon_is_replaced_by_another_and_taken_down() {
    let story = Story::open().then(Command::OfferPayment);
    let effect = story.effect_id(Kind::PaymentLink);
    let mut first = link("cs_1", money(11_900));
    let closes = story.now + SignedDuration::from_hours(24);
    first.expires_at = Some(closes);
    let mut story = story.then(Command::CompletePaymentLink {
        effect,
        link: first,
    });
    assert_eq!(story.ask(Command::OfferPayment), Ok(Step::Unchanged));
    story.now = closes - SignedDuration::from_mins(15);
    assert_eq!(story.ask(Command::OfferPayment), Ok(Step::Unchanged));
    story.now = closes - SignedDuration::from_mins(14);
    let story = story.then(Command::OfferPayment);
    assert_eq!(story.expiring(), ["cs_1"]);
    assert_eq!(
        story.due(),
        [Kind::ExpirePaymentLink],
        "one after the other"
    );
    assert_eq!(story.ask(Command::OfferPayment), Ok(Step::Unchanged));
    // One that can't be taken down does not keep customers from paying.
    let given_up = story.clone().failed(Kind::ExpirePaymentLink, true, false);
    assert_eq!(given_up.due(), [Kind::PaymentLink]);

    let story = story.done(Kind::ExpirePaymentLink).done(Kind::PaymentLink);
    assert!(story.invoice().payment.link.as_ref().unwrap().active);
    assert_eq!(story.ask(Command::OfferPayment), Ok(Step::Unchanged));
}

#[test]
fn a_page_for_what_is_not_due_any_more_is_never_shown() {
    let story = Story::open()
        .then(Command::OfferPayment)
        .then(record(1_900));
    let unseen = format!("link-{}", story.effect(Kind::PaymentLink).id.sequence);
    let story = story.done(Kind::PaymentLink);
    assert!(!story.invoice().payment.link.as_ref().unwrap().active);
    assert_eq!(story.expiring(), [unseen.as_str()]);
    let story = story.done(Kind::ExpirePaymentLink).done(Kind::PaymentLink);
    let link = story.invoice().payment.link.as_ref().unwrap();
    assert_eq!((link.active, link.amount), (true, money(10_000)));
}

#[test]
fn what_was_paid_on_the_page_for_all_leaves_nothing_to_ask_for_the_rest() {
    let story = Story::open()
        .then(send())
        .done(Kind::PaymentLink)
        .then(record(1_900));
    let closing = story.effect_id(Kind::ExpirePaymentLink);
    assert!(story.pending().contains(&Kind::PaymentLink));
    let story = story.then(received("pi_page", money(11_900), Some(closing)));
    assert_eq!(story.invoice().payment_status(), PaymentStatus::Overpaid);
    assert!(!story.pending().contains(&Kind::PaymentLink));
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
fn a_payment_page_that_comes_after_the_money_is_taken_down_at_once() {
    let story = Story::open().then(send()).then(record(11_900));
    let link = format!("link-{}", story.effect(Kind::PaymentLink).id.sequence);
    let story = story.done(Kind::PaymentLink);
    assert_eq!(story.expiring(), [link.as_str()]);
    assert!(!story.invoice().payment.link.as_ref().unwrap().active);
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
