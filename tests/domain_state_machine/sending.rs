//! Sending: once, at a time, again.

use std::sync::Arc;

use faktor::domain::invoice::command::{Command, SendRequest};
use faktor::domain::invoice::decide::{Refusal, Step};
use faktor::domain::invoice::effect::EffectKindName as Kind;
use faktor::domain::invoice::{Content, DeliveryStatus, DocumentStatus, Status};
use faktor::domain::party::{Issuer, Party};
use jiff::{SignedDuration, Timestamp};

use crate::commands::import;
use crate::domain_fixture::{content, decimal, issuer, line};
use crate::story::{Story, finalize, params, pay, record, send, send_as, send_at, send_to, void};

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

fn sent() -> Story {
    Story::open()
        .then(send())
        .done(Kind::PaymentLink)
        .done(Kind::Mail)
}

#[test]
fn sending_a_draft_finalizes_renders_links_and_mails_in_this_order() {
    let story = Story::draft().then(send());
    assert_eq!(story.due(), [Kind::Number]);
    assert_eq!(story.invoice().delivery.status, DeliveryStatus::Pending);

    let story = story.done(Kind::Number);
    assert_eq!(
        story.pending(),
        [Kind::Document, Kind::PaymentLink, Kind::Mail]
    );
    assert_eq!(
        story.due(),
        [Kind::Document, Kind::PaymentLink],
        "the mail waits for both"
    );
    let story = story.done(Kind::Document);
    assert_eq!(story.due(), [Kind::PaymentLink]);
    let story = story.done(Kind::PaymentLink);
    assert_eq!(story.due(), [Kind::Mail]);

    let story = story.done(Kind::Mail);
    let invoice = story.invoice();
    assert_eq!(invoice.delivery.status, DeliveryStatus::Sent);
    assert_eq!(
        invoice.delivery.order.as_ref().unwrap().to,
        ["ap@ada.example"]
    );
    assert_eq!(invoice.wake_at(), invoice.becomes_overdue_at());
    let kinds: Vec<&str> = story
        .events
        .iter()
        .map(|event| event.kind.as_str())
        .collect();
    assert_eq!(
        kinds,
        [
            "invoice.created",
            "invoice.finalized",
            "invoice.document_ready",
            "invoice.sent"
        ]
    );
    let sent = &story.events[3].data;
    assert_eq!(
        sent["payment_link"],
        invoice.payment.link.as_ref().unwrap().url
    );
    assert_eq!(
        (&sent["total"], &sent["due"]),
        (&"119.00".into(), &"119.00".into())
    );
}

#[test]
fn a_double_send_sends_one_mail() {
    let story = Story::draft().then(send());
    assert_eq!(
        story.ask(send()),
        Ok(Step::Unchanged),
        "while the number is allocated"
    );
    assert_eq!(
        story.ask(send_to("other@ada.example")),
        Err(Refusal::Finalizing)
    );

    let story = story.done(Kind::Number);
    assert_eq!(
        story.ask(send()),
        Ok(Step::Unchanged),
        "while the mail is on its way"
    );
    assert_eq!(
        story.ask(send_to("other@ada.example")),
        Err(Refusal::SendInProgress)
    );

    let story = story
        .done(Kind::Document)
        .done(Kind::PaymentLink)
        .done(Kind::Mail);
    let story = story.after(seconds(59));
    assert_eq!(
        story.ask(send()),
        Ok(Step::Unchanged),
        "a double click that came late"
    );
    let story = story.then(send_to("other@ada.example"));
    assert_eq!(
        story.pending(),
        [Kind::Mail],
        "another order is another mail"
    );
}

#[test]
fn from_a_minute_on_the_same_order_is_a_resend_with_a_message_id_of_its_own() {
    let story = sent();
    let first = story.invoice().delivery.message_id.clone();
    let story = story.after(seconds(60)).then(send());
    assert_eq!(
        story.pending(),
        [Kind::Mail],
        "the payment page is still there"
    );
    let story = story.done(Kind::Mail);
    assert_ne!(story.invoice().delivery.message_id, first);
}

#[test]
fn a_mail_that_was_given_up_is_replaced_by_a_new_send_at_once() {
    let story = Story::open().then(send()).done(Kind::PaymentLink);
    let story = story.failed(Kind::Mail, true, false);
    assert_eq!(story.invoice().delivery.status, DeliveryStatus::Failed);
    let given_up = story.effect_id(Kind::Mail);
    let story = story.then(send());
    assert_eq!(story.pending(), [Kind::Mail]);
    assert_ne!(story.effect_id(Kind::Mail), given_up);
    assert_eq!(story.invoice().delivery.status, DeliveryStatus::Pending);
}

#[test]
fn a_mail_waits_while_its_document_is_given_up_and_goes_after_a_retry() {
    let story = Story::draft()
        .then(send())
        .done(Kind::Number)
        .done(Kind::PaymentLink);
    let story = story.failed(Kind::Document, true, false);
    assert_eq!(story.invoice().document.status, DocumentStatus::Failed);
    assert!(story.due().is_empty());
    assert_eq!(story.events.last().unwrap().kind, "invoice.effect_parked");
    let story = story.then(Command::Retry);
    assert_eq!(story.invoice().document.status, DocumentStatus::Pending);
    assert_eq!(story.effect(Kind::Document).attempts, 0);
    let story = story.done(Kind::Document);
    assert_eq!(story.due(), [Kind::Mail]);
}

#[test]
fn a_mail_does_not_wait_for_a_payment_page_that_was_given_up() {
    let story = Story::draft()
        .then(send())
        .done(Kind::Number)
        .done(Kind::Document);
    let story = story.failed(Kind::PaymentLink, false, false);
    assert!(
        !story.due().contains(&Kind::Mail),
        "another attempt follows"
    );
    let story = story.failed(Kind::PaymentLink, true, false);
    assert!(story.due().contains(&Kind::Mail));
}

#[test]
fn a_claim_is_persisted_once_and_only_for_mail() {
    let story = Story::draft().then(send()).done(Kind::Number);
    let claim = |story: &Story, kind| Command::ClaimEffect {
        effect: story.effect_id(kind),
    };
    assert_eq!(
        story.ask(claim(&story, Kind::Document)),
        Ok(Step::Unchanged)
    );
    let story = story.done(Kind::Document).done(Kind::PaymentLink);
    let command = claim(&story, Kind::Mail);
    let story = story.then(command.clone());
    assert!(story.effect(Kind::Mail).claimed);
    assert_eq!(story.ask(command), Ok(Step::Unchanged));
    let story = story.failed(Kind::Mail, false, false);
    assert!(
        !story.effect(Kind::Mail).claimed,
        "the next attempt is claimed anew"
    );
}

#[test]
fn an_effect_without_room_waits_and_no_attempt_is_counted() {
    let story = Story::open().then(send()).done(Kind::PaymentLink);
    let effect = story.effect_id(Kind::Mail);
    let until = story.now + seconds(5);
    let story = story.then(Command::PostponeEffect { effect, until });
    assert!(story.due().is_empty());
    assert_eq!(story.effect(Kind::Mail).attempts, 0);
    assert_eq!(story.invoice().wake_at(), Some(until));
}

#[test]
fn recipients_default_to_the_customers_own_address() {
    let nobody = Content {
        bill_to: Party {
            name: "Ada GmbH".to_owned(),
            ..Party::default()
        },
        ..content()
    };
    let story = Story::draft_of(nobody);
    assert_eq!(params(story.ask(send())), ["to"]);
    let story = story.then(send_to("other@ada.example"));
    assert_eq!(story.invoice().status(), Status::Finalizing);
}

#[test]
fn a_recipient_that_carries_a_header_is_refused() {
    let story = Story::open();
    assert_eq!(
        params(story.ask(send_to("a@b.example\r\nBcc: x@evil.example"))),
        ["to[0]"]
    );
    let many = vec!["a@b.example".to_owned(); 20];
    let request = |to: &[String], cc: &[String]| {
        send_as(SendRequest {
            to: Some(to.to_vec()),
            cc: cc.to_vec(),
            ..SendRequest::default()
        })
    };
    assert!(story.ask(request(&many, &[])).is_ok());
    assert_eq!(params(story.ask(request(&many, &many[..1]))), ["to"]);
    assert_eq!(params(story.ask(request(&[], &many[..1]))), ["to"]);
}

#[test]
fn a_scheduled_draft_stays_a_draft_until_its_time() {
    let at = Story::draft().now + hours(24);
    let story = Story::draft().then(send_at(at));
    assert_eq!(story.invoice().status(), Status::Draft);
    assert_eq!(story.invoice().delivery.status, DeliveryStatus::Pending);
    assert_eq!(story.invoice().wake_at(), Some(at));
    assert_eq!(story.ask(send_at(at)), Ok(Step::Unchanged));

    let edited = Content {
        lines: vec![line("2", "50.00", "19")],
        ..content()
    };
    let story = story.then(Command::Edit {
        content: Arc::new(edited),
    });
    assert_eq!(
        story.invoice().wake_at(),
        Some(at),
        "an edit leaves the schedule"
    );

    let story = story.after(hours(24) - seconds(1));
    assert_eq!(story.ask(Command::Tick), Ok(Step::Unchanged));
    let story = story.after(seconds(1)).then(Command::Tick);
    assert_eq!(story.due(), [Kind::Number]);
    let story = story.done(Kind::Number);
    assert_eq!(
        story.pending(),
        [Kind::Document, Kind::PaymentLink, Kind::Mail]
    );
    assert_eq!(story.invoice().delivery.scheduled, None);
}

#[test]
fn a_send_is_scheduled_for_the_future_and_at_most_a_year_ahead() {
    let story = Story::draft();
    assert_eq!(params(story.ask(send_at(story.now))), ["at"]);
    assert_eq!(params(story.ask(send_at(story.now - seconds(1)))), ["at"]);
    assert_eq!(params(story.ask(send_at(Timestamp::MAX))), ["at"]);
    assert!(story.ask(send_at(story.now + hours(24 * 366))).is_ok());
    assert_eq!(
        params(story.ask(send_at(story.now + hours(24 * 366) + seconds(1)))),
        ["at"]
    );
}

#[test]
fn a_scheduled_draft_that_can_no_longer_be_issued_is_cancelled_not_tried_for_ever() {
    let nameless = Content {
        issuer: Issuer::default(),
        ..content()
    };
    let story = Story::draft_of(nameless.clone());
    // Scheduling checks and keeps the issuer; only a lower layer's fault could take it away again.
    let mut story = story
        .then(send_at(Story::draft().now + hours(1)))
        .after(hours(1));
    assert_eq!(story.invoice().content.issuer, issuer());
    story.invoice.as_mut().unwrap().content_mut().issuer = Issuer::default();

    let story = story.then(Command::Tick);
    let delivery = &story.invoice().delivery;
    assert_eq!(delivery.status, DeliveryStatus::Failed);
    assert_eq!(delivery.problems[0].param, "issuer.legal_name");
    assert_eq!(story.invoice().wake_at(), None);
    assert_eq!(story.ask(Command::Tick), Ok(Step::Unchanged));
}

#[test]
fn sending_now_takes_the_place_of_a_scheduled_send() {
    let story = Story::open();
    let at = story.now + hours(1);
    let story = story.then(send_at(at)).then(send());
    assert_eq!(story.invoice().delivery.scheduled, None);
    let story = Story::draft().then(send_at(at)).then(finalize());
    let waiting = story.invoice().delivery.scheduled.is_some();
    assert!(waiting, "finalizing alone leaves it");
    let story = story.after(hours(2));
    assert_eq!(
        story.ask(Command::Tick),
        Ok(Step::Unchanged),
        "the number comes first"
    );
    let story = story.failed(Kind::Number, false, true);
    assert_eq!(
        story.invoice().wake_at(),
        Some(story.now + seconds(1)),
        "its next attempt is due"
    );
    let story = story.done(Kind::Number).then(Command::Tick);
    assert!(story.pending().contains(&Kind::Mail));
}

#[test]
fn finalizing_and_sending_in_one_command_does_both() {
    let command = |send| Command::Finalize {
        issuer: Box::new(issuer()),
        send: Some(send),
    };
    let story = Story::draft()
        .then(command(SendRequest::default()))
        .done(Kind::Number);
    assert!(story.pending().contains(&Kind::Mail));
    let at = Some(story.now + hours(1));
    let story = Story::draft().then(command(SendRequest {
        at,
        ..SendRequest::default()
    }));
    let story = story.done(Kind::Number);
    assert!(!story.pending().contains(&Kind::Mail));
    assert_eq!(
        story.invoice().wake_at(),
        Some(story.now),
        "the document is due"
    );
}

#[test]
fn a_void_invoice_sends_nothing_any_more() {
    let story = Story::open().then(send()).done(Kind::PaymentLink);
    let story = story
        .then(send_at(Story::draft().now + hours(1)))
        .then(void());
    assert!(!story.pending().contains(&Kind::Mail));
    assert_eq!(story.invoice().delivery.status, DeliveryStatus::None);
    assert_eq!(story.invoice().delivery.scheduled, None);
    assert_eq!(story.ask(send()), Err(Refusal::AlreadyVoid));
    assert_eq!(
        sent().then(void()).invoice().delivery.status,
        DeliveryStatus::Sent
    );
}

#[test]
fn a_paid_invoice_can_be_sent_and_asks_for_no_money() {
    let story = Story::open()
        .then(record(11_900))
        .done(Kind::Document)
        .then(send());
    assert_eq!(story.pending(), [Kind::Mail]);
}

#[test]
fn a_resend_after_a_part_payment_has_a_page_for_the_rest() {
    let story = sent().after(hours(1)).then(record(1_900));
    assert_eq!(
        story.pending(),
        [Kind::ExpirePaymentLink, Kind::PaymentLink],
        "at once, without a send"
    );
    let story = story.then(send());
    assert_eq!(
        story.due(),
        [Kind::ExpirePaymentLink],
        "first the page for all of it is taken down"
    );
    let story = story.done(Kind::ExpirePaymentLink).done(Kind::PaymentLink);
    let link = story.invoice().payment.link.clone().unwrap();
    assert_eq!(link.amount.to_string(), "100.00");
    assert_eq!(story.due(), [Kind::Mail]);
}

#[test]
fn a_later_document_stands_for_an_earlier_one_whichever_comes_first() {
    let story = Story::draft()
        .then(send())
        .done(Kind::Number)
        .done(Kind::PaymentLink);
    let first = story.effect_id(Kind::Document);
    let story = story.then(pay()).done(Kind::Charge);
    let documents: Vec<_> = story
        .invoice()
        .effects
        .iter()
        .map(|effect| effect.id.clone())
        .collect();
    let newest = documents
        .into_iter()
        .rfind(|id| id.kind == Kind::Document)
        .unwrap();
    assert_ne!(first, newest);
    let complete = |effect| Command::CompleteDocument {
        effect,
        stored: crate::commands::stored(),
    };
    let story = story.then(complete(newest));
    assert_eq!(story.invoice().document.status, DocumentStatus::Ready);
    assert_eq!(
        story.ask(complete(first)),
        Ok(Step::Unchanged),
        "a late one changes nothing"
    );
    assert!(story.due().contains(&Kind::Mail), "and holds no mail back");
}

#[test]
fn an_imported_invoice_keeps_its_number_and_tells_its_uploader() {
    let story = Story::begin().then(import());
    assert_eq!(story.invoice().issued().unwrap().number, "EXT-17");
    assert_eq!(story.due(), [Kind::Document]);
    let story = story.done(Kind::Document);
    assert_eq!(story.due(), [Kind::UploadNotice]);
    let story = story.done(Kind::UploadNotice);
    assert!(story.pending().is_empty());
    let kinds: Vec<&str> = story
        .events
        .iter()
        .map(|event| event.kind.as_str())
        .collect();
    assert_eq!(
        kinds,
        [
            "invoice.created",
            "invoice.finalized",
            "invoice.document_ready"
        ]
    );
}

#[test]
fn an_invoice_over_nothing_is_paid_when_it_is_issued() {
    let mut free = content();
    free.lines[0].unit_price = decimal("0");
    let story = Story::draft_of(free).then(send()).done(Kind::Number);
    assert_eq!(story.invoice().status(), Status::Paid);
    assert!(!story.pending().contains(&Kind::PaymentLink));
    assert!(story.pending().contains(&Kind::Mail));
}
