//! A right history is let pass, and each wrong one is told.

use std::sync::Arc;
use std::time::Duration;

use faktor::domain::ids::{EffectId, InvoiceId, OrganizationId, UserId};
use faktor::domain::invoice::command::{
    AllocatedNumber, Command, IdempotencyKey, Initiator, Request, SendRequest,
};
use faktor::domain::invoice::decide::{Step, step};
use faktor::domain::invoice::effect::EffectKindName;
use faktor::domain::invoice::entry::{Entry, Recorded};
use faktor::domain::invoice::event::PublicEvent;
use faktor::domain::invoice::{
    DocumentFormat, Invoice, PaymentLink, ProviderPayment, StoredDocument,
};
use faktor::domain::money::Money;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Charge, Evidence, Found, Violation, check};
use crate::domain_fixture::{content, currency, issuer};
use crate::recording::{Attempt, Kind, Operation, Reply, Shown};

/// Everything of a run in which all went well.
struct Run {
    recording: Vec<Operation>,
    evidence: Evidence,
    clock_ms: u64,
}

/// An invoice on its way.
struct Way {
    id: InvoiceId,
    invoice: Option<Invoice>,
    history: Vec<Recorded>,
    events: Vec<PublicEvent>,
    charges: Vec<Charge>,
    mails: Vec<String>,
}

impl Way {
    fn ask(&mut self, command: Command, by: Initiator, key: Option<&str>) {
        let request = Request {
            command,
            by,
            key: key.map(|key| IdempotencyKey {
                key: key.to_owned(),
                fingerprint: 1,
                keep: true,
            }),
            expected_version: None,
            request_id: key.unwrap_or("system").to_owned(),
        };
        let stepped = step(self.invoice.as_ref(), self.id, &request, now());
        let Ok(Step::Changed {
            invoice,
            recorded,
            events,
        }) = stepped
        else {
            panic!("{} gave {stepped:?}", request.command.name());
        };
        self.invoice = Some(*invoice);
        self.history.extend(recorded);
        self.events.extend(events);
    }

    fn system(&mut self, command: Command) {
        self.ask(command, Initiator::System, None);
    }

    fn pending(&self, kind: EffectKindName) -> EffectId {
        let effects = &self.invoice.as_ref().unwrap().effects;
        let found = effects.iter().find(|effect| effect.kind.name() == kind);
        found.unwrap_or_else(|| panic!("no {kind}")).id.clone()
    }

    fn shown(&self) -> Shown {
        let invoice = self.invoice.as_ref().unwrap();
        Shown {
            version: invoice.version,
            status: invoice.status().name().to_owned(),
            number: invoice.issued().map(|issued| issued.number.clone()),
            paid: invoice.paid().to_string(),
        }
    }
}

fn now() -> Timestamp {
    "2026-11-21T09:00:00Z".parse().unwrap()
}

fn user() -> Initiator {
    Initiator::User(UserId::new(Uuid::from_u128(9)))
}

fn money(minor: i64) -> Money {
    Money::new(minor, currency("EUR"))
}

impl Run {
    /// Two invoices: made, changed, sent, charged, mailed; and a read after each request.
    fn good() -> Self {
        let mut run = Self {
            recording: Vec::new(),
            evidence: Evidence::default(),
            clock_ms: 0,
        };
        for number in 1..=2 {
            run.invoice(number);
        }
        run
    }

    fn invoice(&mut self, number: u32) {
        let mut way = Way {
            id: InvoiceId::new(Uuid::from_u128(u128::from(number))),
            invoice: None,
            history: Vec::new(),
            events: Vec::new(),
            charges: Vec::new(),
            mails: Vec::new(),
        };
        let key = |what: &str| format!("{what}-{number}");
        let mut said = content();
        said.reference = Some(key("create"));
        let create = Command::Create {
            organization: OrganizationId::new(Uuid::from_u128(1)),
            content: Arc::new(said.clone()),
            page_secret: "secret".to_owned(),
        };
        self.command(&mut way, Kind::Create, &key("create"), create);
        said.reference = Some(key("edit"));
        let edit = Command::Edit {
            content: Arc::new(said),
        };
        self.command(&mut way, Kind::Edit, &key("edit"), edit);
        let send = Command::Send {
            issuer: Box::new(issuer()),
            request: SendRequest {
                message: Some(key("send")),
                ..SendRequest::default()
            },
        };
        self.command(&mut way, Kind::Send, &key("send"), send);
        issue_and_mail(&mut way, number);
        let pay = Command::Pay {
            payment_method: "pm_ok".to_owned(),
        };
        self.command(&mut way, Kind::Pay("pm_ok"), &key("pay"), pay);
        charge(&mut way, number);
        self.read(&way, &key("read-last"));
        self.evidence.feed.extend(way.events);
        self.evidence.mails.extend(way.mails);
        let found = Found {
            snapshot: way.invoice.unwrap(),
            history: way.history,
            charges: way.charges,
            document: Some("00".repeat(32)),
        };
        self.evidence.invoices.insert(way.id, found);
    }

    fn command(&mut self, way: &mut Way, kind: Kind, key: &str, command: Command) {
        way.ask(command, user(), (kind != Kind::Edit).then_some(key));
        self.note(way, kind, key);
        self.read(way, &format!("read-{key}"));
    }

    fn read(&mut self, way: &Way, key: &str) {
        self.note(way, Kind::Read, key);
    }

    fn note(&mut self, way: &Way, kind: Kind, key: &str) {
        let began = Duration::from_millis(self.clock_ms);
        self.clock_ms += 10;
        self.recording.push(Operation {
            key: key.to_owned(),
            kind,
            invoice: Some(way.id),
            attempts: vec![Attempt {
                node: 0,
                began,
                ended: Duration::from_millis(self.clock_ms - 5),
                reply: Reply::Done {
                    status: 200,
                    shown: Some(way.shown()),
                },
            }],
        });
    }

    fn violations(&self) -> Vec<Violation> {
        check(&self.recording, &self.evidence)
    }

    fn found(&mut self, number: u128) -> &mut Found {
        let id = InvoiceId::new(Uuid::from_u128(number));
        self.evidence.invoices.get_mut(&id).unwrap()
    }

    fn operation(&mut self, key: &str) -> &mut Operation {
        let mut operations = self.recording.iter_mut();
        operations.find(|operation| operation.key == key).unwrap()
    }

    /// Rewrites the history, and the snapshot and the feed with it, as a store would that took part in
    /// the mistake.
    fn rewrite(&mut self, number: u128, change: impl FnOnce(&mut Vec<Recorded>)) {
        let found = self.found(number);
        change(&mut found.history);
        for (recorded, version) in found.history.iter_mut().zip(1..) {
            recorded.version = version;
            if let Some(request) = &mut recorded.request {
                request.version = version;
            }
        }
        found.snapshot = super::states(&found.history).pop().unwrap();
    }

    #[track_caller]
    fn breaks(&self, rule: &str) {
        let violations = self.violations();
        assert!(
            violations.iter().any(|violation| violation.rule == rule),
            "{rule:?} is not among {violations:#?}"
        );
    }
}

fn issue_and_mail(way: &mut Way, number: u32) {
    way.system(Command::AssignNumber {
        effect: way.pending(EffectKindName::Number),
        allocated: AllocatedNumber {
            number: format!("2026-{number:04}"),
            issued_on: jiff::civil::date(2026, 11, 21),
        },
    });
    store_document(way);
    way.system(Command::CompletePaymentLink {
        effect: way.pending(EffectKindName::PaymentLink),
        link: PaymentLink {
            provider: "sandbox".to_owned(),
            id: format!("cs_{number}"),
            url: "http://test/checkout".to_owned(),
            amount: money(11_900),
            active: true,
            expires_at: None,
        },
    });
    let mail = way.pending(EffectKindName::Mail);
    let message_id = format!("{mail}@faktor.local");
    way.system(Command::ClaimEffect {
        effect: mail.clone(),
    });
    way.system(Command::CompleteMail {
        effect: mail,
        message_id: message_id.clone(),
    });
    way.mails.push(message_id);
}

fn store_document(way: &mut Way) {
    let stored = StoredDocument {
        format: DocumentFormat::Pdf,
        object: "invoices/1.pdf".to_owned(),
        sha256: "00".repeat(32),
        bytes: 1,
        stored_at: now(),
    };
    way.system(Command::CompleteDocument {
        effect: way.pending(EffectKindName::Document),
        stored,
    });
}

fn charge(way: &mut Way, number: u32) {
    let effect = way.pending(EffectKindName::Charge);
    let id = format!("pi_{number}");
    let payment = Command::ReceiveProviderPayment {
        effect: Some(effect.clone()),
        payment: ProviderPayment {
            provider: "sandbox".to_owned(),
            id: id.clone(),
        },
        amount: money(11_900),
        method: "card".to_owned(),
    };
    way.ask(payment, Initiator::Provider("sandbox".to_owned()), None);
    way.charges.push(Charge {
        id,
        effect,
        amount: money(11_900),
        succeeded: true,
    });
    let link = way.pending(EffectKindName::ExpirePaymentLink);
    way.system(Command::CompleteEffect { effect: link });
    store_document(way);
}

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
