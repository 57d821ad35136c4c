//! Payment pages: one at a time, for what is due, and none beside a charge.

use faktor::domain::invoice::PaymentStatus;
use faktor::domain::invoice::command::Command;
use faktor::domain::invoice::decide::{Refusal, Step};
use faktor::domain::invoice::effect::{ChargeState, EffectKindName as Kind};
use jiff::SignedDuration;

use crate::commands::{link, money};
use crate::paying::{decline, received};
use crate::story::{Story, pay, record, send, send_to, void};

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
    // When that is given up, so is the charge, which surely was not made.
    let parked = story.clone().failed(Kind::ExpirePaymentLink, true, false);
    let charge = parked.effect_id(Kind::Charge);
    assert!(matches!(
        parked.invoice().charge_outcome(&charge),
        ChargeState::Parked(error) if !error.outcome_unknown
    ));
    assert!(parked.due().is_empty());
    assert!(parked.ask(void()).is_ok());
    for again in [pay(), Command::Retry] {
        let again = parked.clone().then(again);
        assert_eq!(again.due(), [Kind::ExpirePaymentLink]);
        let again = again.done(Kind::ExpirePaymentLink);
        assert_eq!(again.due(), [Kind::Charge]);
    }
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

    // After a part of it there is another amount to ask for, and another page.
    let charge = waiting.effect_id(Kind::Charge);
    let part = waiting.then(record(1));
    assert!(!part.pending().contains(&Kind::Charge));
    assert!(part.pending().contains(&Kind::PaymentLink));
    assert!(matches!(
        part.invoice().charge_outcome(&charge),
        ChargeState::Declined { code, .. } if code == "amount_changed"
    ));
}

#[test]
fn a_charge_that_waited_is_as_old_as_the_end_of_its_waiting() {
    let story = Story::open()
        .then(send())
        .done(Kind::PaymentLink)
        .then(pay())
        .after(SignedDuration::from_hours(30));
    let story = story.done(Kind::ExpirePaymentLink);
    assert_eq!(story.effect(Kind::Charge).requested_at, story.now);
}

#[test]
fn a_page_that_comes_late_is_not_shown_beside_another() {
    let story = Story::open()
        .then(Command::OfferPayment)
        .failed(Kind::PaymentLink, true, true);
    let late = story.effect_id(Kind::PaymentLink);
    let story = story.then(Command::OfferPayment);
    let effects = &story.invoice().effects;
    let shown = effects.iter().rfind(|effect| effect.id != late).unwrap();
    let effect = shown.id.clone();
    let complete = |effect, page: &str| Command::CompletePaymentLink {
        effect,
        link: link(page, money(11_900)),
    };
    let story = story
        .then(complete(effect, "cs_shown"))
        .then(Command::Retry)
        .then(complete(late, "cs_late"));
    assert_eq!(story.expiring(), ["cs_late"]);
    let link = story.invoice().payment.link.as_ref().unwrap();
    assert_eq!((link.active, link.id.as_str()), (true, "cs_shown"));
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
fn a_payment_page_that_comes_after_the_money_is_taken_down_at_once() {
    let story = Story::open().then(send()).then(record(11_900));
    let link = format!("link-{}", story.effect(Kind::PaymentLink).id.sequence);
    let story = story.done(Kind::PaymentLink);
    assert_eq!(story.expiring(), [link.as_str()]);
    assert!(!story.invoice().payment.link.as_ref().unwrap().active);
}
