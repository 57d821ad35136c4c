//! The state × command table as a golden file: what every command comes to in every state.
//! `UPDATE_GOLDEN=1 cargo test --test domain_state_machine` writes it anew.

use std::fmt::Write as _;
use std::sync::Arc;

use faktor::domain::invoice::Invoice;
use faktor::domain::invoice::command::{Command, SendRequest};
use faktor::domain::invoice::decide::{Refusal, Step, step};
use faktor::domain::invoice::effect::EffectKindName;
use jiff::civil::date;
use jiff::{SignedDuration, Timestamp};

use crate::changes;
use crate::commands::{
    completion, create, effect_of, error, id, import, link, money, now, number, provider_payment,
    request, stored,
};
use crate::domain_fixture::{content, issuer, line};

const GOLDEN: &str = "tests/golden/state_command_table.txt";

/// When the table's commands come: after a scheduled send's time, before the due date.
fn later() -> Timestamp {
    now() + SignedDuration::from_hours(48)
}

fn apply(invoice: Option<&Invoice>, command: Command) -> Invoice {
    let request = request(command);
    match step(invoice, id(), &request, now()) {
        Ok(Step::Changed { invoice, .. }) => *invoice,
        other => panic!("{} gave {other:?}", request.command.name()),
    }
}

/// Reports that pending effects of this kind are done.
fn done(invoice: &Invoice, kind: EffectKindName) -> Invoice {
    let effect = effect_of(Some(invoice), kind);
    let command = completion(invoice, &effect);
    apply(Some(invoice), command)
}

fn send(at: Option<Timestamp>) -> Command {
    Command::Send {
        issuer: Box::new(issuer()),
        request: SendRequest {
            at,
            ..SendRequest::default()
        },
    }
}

fn finalize() -> Command {
    Command::Finalize {
        issuer: Box::new(issuer()),
        send: None,
    }
}

fn pay() -> Command {
    Command::Pay {
        payment_method: "pm_ok".to_owned(),
    }
}

fn record(minor: i64) -> Command {
    Command::RecordPayment {
        amount: money(minor),
        method: "cash".to_owned(),
        received_on: None,
        reference: None,
    }
}

fn fail(effect: faktor::domain::ids::EffectId, outcome_unknown: bool) -> Command {
    let error = error(true, outcome_unknown);
    Command::FailEffect {
        effect,
        error,
        retry_at: now(),
        max_attempts: 3,
    }
}

fn states() -> Vec<(&'static str, Option<Invoice>)> {
    let draft = apply(None, create(content()));
    let finalizing = apply(Some(&draft), finalize());
    let numbered = done(&finalizing, EffectKindName::Number);
    let open = done(&numbered, EffectKindName::Document);
    let sending = apply(Some(&open), send(None));
    let sent = done(
        &done(&sending, EffectKindName::PaymentLink),
        EffectKindName::Mail,
    );
    let charging = apply(Some(&open), pay());
    let mail = effect_of(Some(&sending), EffectKindName::Mail);
    let charge = effect_of(Some(&charging), EffectKindName::Charge);
    let with = |invoice: &Invoice, command: Command| Some(apply(Some(invoice), command));
    let scheduled = now() + SignedDuration::from_hours(24);
    vec![
        ("nothing yet", None),
        ("draft", Some(draft.clone())),
        (
            "draft, to be sent at a time that has come",
            with(&draft, send(Some(scheduled))),
        ),
        ("finalizing", Some(finalizing)),
        ("open, document pending", Some(numbered)),
        ("open", Some(open.clone())),
        ("open, being sent", Some(sending.clone())),
        ("open, sent two days ago", Some(sent)),
        ("open, mail given up", with(&sending, fail(mail, false))),
        ("open, charge in flight", Some(charging.clone())),
        (
            "open, charge given up, no money taken",
            with(&charging, fail(charge.clone(), false)),
        ),
        (
            "open, charge given up, outcome unknown",
            with(&charging, fail(charge, true)),
        ),
        ("open, partly paid", with(&open, record(1_000))),
        (
            "uncollectible",
            with(&open, Command::MarkUncollectible { reason: None }),
        ),
        ("paid", with(&open, record(11_900))),
        ("void", with(&open, Command::Void { reason: None })),
        ("imported", Some(apply(None, import()))),
        ("deleted", with(&draft, Command::Delete)),
    ]
}

/// Every command, aimed at what is pending where it reports on an effect.
fn commands(invoice: Option<&Invoice>) -> Vec<(&'static str, Command)> {
    let effect = |kind| effect_of(invoice, kind);
    let edited = {
        let mut content = content();
        content.lines.push(line("2", "5.00", "19"));
        Arc::new(content)
    };
    let pending = invoice.and_then(|invoice| invoice.effects.first());
    let first = pending.map_or_else(|| effect(EffectKindName::Mail), |first| first.id.clone());
    let message_id = "m@faktor.local".to_owned();
    let failure = |permanent| Command::FailEffect {
        effect: first.clone(),
        error: error(permanent, false),
        retry_at: later(),
        max_attempts: 3,
    };
    let receive = |minor, effect| Command::ReceiveProviderPayment {
        effect,
        payment: provider_payment("pay-1"),
        amount: money(minor),
        method: "card".to_owned(),
    };
    vec![
        ("create", create(content())),
        ("import", import()),
        ("edit", Command::Edit { content: edited }),
        (
            "edit, nothing new",
            Command::Edit {
                content: Arc::new(content()),
            },
        ),
        ("change", changes::memo(Some("As agreed"))),
        (
            "change, nothing new",
            changes::memo(content().memo.as_deref()),
        ),
        ("delete", Command::Delete),
        ("finalize", finalize()),
        (
            "assign number",
            Command::AssignNumber {
                effect: effect(EffectKindName::Number),
                allocated: number(),
            },
        ),
        ("send", send(None)),
        (
            "send to others",
            Command::Send {
                issuer: Box::new(issuer()),
                request: SendRequest {
                    to: Some(vec!["other@ada.example".to_owned()]),
                    ..SendRequest::default()
                },
            },
        ),
        (
            "send later",
            send(Some(later() + SignedDuration::from_hours(1))),
        ),
        ("pay", pay()),
        ("offer payment", Command::OfferPayment),
        ("record a part payment", record(1_000)),
        ("record the whole payment", record(11_900)),
        ("receive a provider's payment", receive(11_900, None)),
        (
            "receive the charge's payment",
            receive(11_900, Some(effect(EffectKindName::Charge))),
        ),
        (
            "charge declined",
            Command::FailCharge {
                effect: effect(EffectKindName::Charge),
                code: "card_declined".to_owned(),
                detail: "declined".to_owned(),
            },
        ),
        ("void", Command::Void { reason: None }),
        (
            "mark uncollectible",
            Command::MarkUncollectible { reason: None },
        ),
        ("retry", Command::Retry),
        ("tick", Command::Tick),
        ("view", Command::View),
        (
            "rotate page secret",
            Command::RotatePageSecret {
                page_secret: "new".to_owned(),
            },
        ),
        (
            "claim mail",
            Command::ClaimEffect {
                effect: effect(EffectKindName::Mail),
            },
        ),
        (
            "document stored",
            Command::CompleteDocument {
                effect: effect(EffectKindName::Document),
                stored: stored(),
            },
        ),
        (
            "payment link created",
            Command::CompletePaymentLink {
                effect: effect(EffectKindName::PaymentLink),
                link: link("new", money(11_900)),
            },
        ),
        (
            "payment link expired",
            Command::CompleteEffect {
                effect: effect(EffectKindName::ExpirePaymentLink),
            },
        ),
        (
            "mail sent",
            Command::CompleteMail {
                effect: effect(EffectKindName::Mail),
                message_id: message_id.clone(),
            },
        ),
        (
            "notice sent",
            Command::CompleteMail {
                effect: effect(EffectKindName::UploadNotice),
                message_id,
            },
        ),
        (
            "first effect postponed",
            Command::PostponeEffect {
                effect: first.clone(),
                until: later(),
            },
        ),
        ("first effect failed", failure(false)),
        ("first effect failed for good", failure(true)),
    ]
}

fn outcome(invoice: Option<&Invoice>, command: Command) -> String {
    match step(invoice, id(), &request(command), later()) {
        Ok(Step::Unchanged) => "-".to_owned(),
        Ok(Step::Replayed { .. }) => "replayed".to_owned(),
        Ok(Step::Changed {
            invoice: after,
            recorded,
            ..
        }) => {
            let entries: Vec<&str> = recorded
                .iter()
                .map(|recorded| recorded.entry.name())
                .collect();
            let before = invoice.map(Invoice::status);
            let mut text = entries.join(", ");
            if before != Some(after.status()) {
                let _ = write!(text, " → {}", after.status().name());
            }
            text
        }
        Err(Refusal::Invalid { problems }) => {
            let params: Vec<&str> = problems
                .iter()
                .map(|problem| problem.param.as_str())
                .collect();
            format!("refused: invalid {}", params.join(", "))
        }
        Err(refusal) => format!("refused: {}", refusal.code()),
    }
}

#[test]
fn every_command_in_every_state_comes_to_what_the_table_says() {
    let mut table = String::from(
        "What every command comes to in every state: the entries it leaves, and the new status where\n\
         it changes; \"-\" where nothing is to be done; or the refusal's code. The commands come two\n\
         days after the state was reached. Written by UPDATE_GOLDEN=1 cargo test --test\n\
         domain_state_machine.\n",
    );
    for (name, invoice) in states() {
        let _ = write!(table, "\n{name}\n");
        for (command_name, command) in commands(invoice.as_ref()) {
            let outcome = outcome(invoice.as_ref(), command);
            let _ = writeln!(table, "  {command_name:<30}{outcome}");
        }
    }
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &table).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    if expected != table {
        let first = expected
            .lines()
            .zip(table.lines())
            .find(|(old, new)| old != new);
        panic!("{GOLDEN} differs (UPDATE_GOLDEN=1 writes it anew); first at {first:#?}");
    }
}

/// The due date in the table's states is two weeks away; overdue needs its own clock.
#[test]
fn an_open_invoice_becomes_overdue_once_when_its_due_date_is_over() {
    let open = states()
        .into_iter()
        .find(|(name, _)| *name == "open")
        .unwrap()
        .1
        .unwrap();
    let due_on = open.issued().unwrap().due_on;
    assert_eq!(due_on, date(2026, 12, 5));
    let midnight: Timestamp = "2026-12-06T00:00:00Z".parse().unwrap();
    assert_eq!(open.becomes_overdue_at(), Some(midnight));
    let tick = |invoice: &Invoice, at| step(Some(invoice), id(), &request(Command::Tick), at);

    assert_eq!(
        tick(&open, midnight - SignedDuration::from_millis(1)),
        Ok(Step::Unchanged)
    );
    let Ok(Step::Changed { invoice, .. }) = tick(&open, midnight) else {
        panic!("not overdue")
    };
    assert!(invoice.is_overdue());
    assert_eq!(invoice.becomes_overdue_at(), None);
    assert_eq!(tick(&invoice, midnight), Ok(Step::Unchanged));
}
