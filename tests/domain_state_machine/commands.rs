//! Requests of every kind, sensible ones and others.

use std::sync::Arc;

use faktor::domain::ids::{EffectId, InvoiceId, OrganizationId};
use faktor::domain::invoice::change::ContentChange;
use faktor::domain::invoice::command::{
    AllocatedNumber, Command, IdempotencyKey, Initiator, Request, SendRequest,
};
use faktor::domain::invoice::effect::{EffectError, EffectKind, EffectKindName};
use faktor::domain::invoice::{
    Content, DocumentFormat, Invoice, PaymentLink, ProviderPayment, StoredDocument,
};
use faktor::domain::money::{Currency, Money};
use faktor::domain::party::Issuer;
use jiff::civil::{Date, date};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::domain_fixture::{Random, any_content, content, currency, issuer, line};

pub(crate) fn id() -> InvoiceId {
    InvoiceId::new(Uuid::from_u128(7))
}

pub(crate) fn organization() -> OrganizationId {
    OrganizationId::new(Uuid::from_u128(1))
}

pub(crate) fn now() -> Timestamp {
    "2026-11-21T09:00:00Z".parse().unwrap()
}

pub(crate) fn request(command: Command) -> Request {
    Request {
        command,
        by: Initiator::System,
        key: None,
        expected_version: None,
        request_id: "req".to_owned(),
    }
}

pub(crate) fn create(content: Content) -> Command {
    Command::Create {
        organization: organization(),
        content: Arc::new(content),
        page_secret: "secret".to_owned(),
    }
}

pub(crate) fn import() -> Command {
    Command::Import {
        organization: organization(),
        content: Arc::new(content()),
        page_secret: "secret".to_owned(),
        number: "EXT-17".to_owned(),
        issued_on: date(2026, 11, 1),
        format: DocumentFormat::Xlsx,
        notify: Some("uploader@ada.example".to_owned()),
    }
}

pub(crate) fn number() -> AllocatedNumber {
    AllocatedNumber {
        number: "2026-0001".to_owned(),
        issued_on: date(2026, 11, 21),
    }
}

pub(crate) fn money(minor: i64) -> Money {
    Money::new(minor, currency("EUR"))
}

pub(crate) fn stored() -> StoredDocument {
    StoredDocument {
        format: DocumentFormat::Pdf,
        object: "invoices/1.pdf".to_owned(),
        sha256: "00".repeat(32),
        bytes: 13_912,
        stored_at: now(),
    }
}

pub(crate) fn link(id: &str, amount: Money) -> PaymentLink {
    PaymentLink {
        provider: "sandbox".to_owned(),
        id: id.to_owned(),
        url: format!("https://pay.example/{id}"),
        amount,
        active: true,
        expires_at: None,
    }
}

pub(crate) fn error(permanent: bool, outcome_unknown: bool) -> EffectError {
    EffectError {
        code: "provider_unavailable".to_owned(),
        detail: "no answer".to_owned(),
        permanent,
        outcome_unknown,
    }
}

pub(crate) fn provider_payment(id: &str) -> ProviderPayment {
    ProviderPayment {
        provider: "sandbox".to_owned(),
        id: id.to_owned(),
    }
}

/// The pending effect of a kind, or one that never was.
pub(crate) fn effect_of(invoice: Option<&Invoice>, kind: EffectKindName) -> EffectId {
    invoice
        .and_then(|invoice| {
            invoice
                .effects
                .iter()
                .find(|effect| effect.kind.name() == kind)
        })
        .map_or(
            EffectId {
                invoice: id(),
                kind,
                sequence: 999,
            },
            |effect| effect.id.clone(),
        )
}

/// What the outside reports of a pending effect.
pub(crate) fn completion(invoice: &Invoice, effect: &EffectId) -> Command {
    let effect = effect.clone();
    match invoice.effect(&effect).map(|pending| &pending.kind) {
        None | Some(EffectKind::ExpirePaymentLink { .. }) => Command::CompleteEffect { effect },
        Some(EffectKind::Number) => Command::AssignNumber {
            effect,
            allocated: number(),
        },
        Some(EffectKind::Document { .. }) => Command::CompleteDocument {
            effect,
            stored: stored(),
        },
        Some(EffectKind::PaymentLink { amount }) => {
            let link = link(&format!("link-{}", effect.sequence), *amount);
            Command::CompletePaymentLink { effect, link }
        }
        Some(EffectKind::Charge { amount, .. }) => Command::ReceiveProviderPayment {
            payment: provider_payment(&format!("pay-{}", effect.sequence)),
            amount: *amount,
            method: "card".to_owned(),
            effect: Some(effect),
        },
        Some(EffectKind::Mail { .. } | EffectKind::UploadNotice { .. }) => {
            let message_id = format!("{effect}@faktor.local");
            Command::CompleteMail { effect, message_id }
        }
    }
}

fn any_effect(random: &mut Random, invoice: Option<&Invoice>) -> EffectId {
    match invoice {
        Some(invoice) if !invoice.effects.is_empty() && !random.one_in(8) => {
            random.pick(&invoice.effects).id.clone()
        }
        _ => EffectId {
            invoice: id(),
            kind: *random.pick(&EffectKindName::ALL),
            sequence: u32::try_from(random.below(20)).unwrap(),
        },
    }
}

fn any_money(random: &mut Random, invoice: Option<&Invoice>) -> Money {
    let Some(invoice) = invoice else {
        return money(100);
    };
    match random.below(6) {
        0 => Money::new(i64::MAX, invoice.currency()),
        1 => Money::new(-5, invoice.currency()),
        2 => Money::new(100, currency("JPY")),
        3 => Money::new(invoice.due().minor / 2 + 1, invoice.currency()),
        _ => invoice.due(),
    }
}

fn any_text(random: &mut Random, good: &str) -> String {
    match random.below(12) {
        0 => String::new(),
        1 => "a\r\nBcc: x@evil.example".to_owned(),
        2 => "x".repeat(6_000),
        _ => good.to_owned(),
    }
}

fn any_send(random: &mut Random, at: Timestamp) -> SendRequest {
    let to = match random.below(6) {
        0 => Some(vec!["other@ada.example".to_owned()]),
        1 => Some(vec![]),
        2 => Some(vec![any_text(random, "ap@ada.example")]),
        _ => None,
    };
    let at = match random.below(5) {
        0 => Some(at.saturating_add(SignedDuration::from_hours(30)).unwrap()),
        1 => Some(at),
        _ => None,
    };
    let at = if random.one_in(20) {
        Some(Timestamp::MAX)
    } else {
        at
    };
    SendRequest {
        to,
        cc: vec![],
        message: None,
        at,
    }
}

fn any_draft(random: &mut Random) -> Content {
    let currencies: Vec<Currency> = vec![currency("EUR"), currency("JPY"), currency("KWD")];
    match random.below(5) {
        0 => any_content(random, &currencies),
        1 => Content {
            lines: vec![line("0", "1", "19")],
            ..content()
        },
        2 => Content {
            lines: vec![],
            ..content()
        },
        3 => Content {
            issuer: Issuer::default(),
            ..content()
        },
        _ => content(),
    }
}

fn any_date(random: &mut Random) -> Date {
    *random.pick(&[date(2026, 11, 21), date(2026, 11, 1), Date::MIN, Date::MAX])
}

pub(crate) fn any_request(
    random: &mut Random,
    invoice: Option<&Invoice>,
    at: Timestamp,
) -> Request {
    let command = any_command(random, invoice, at);
    let key = random.one_in(3).then(|| IdempotencyKey {
        key: format!("key-{}", random.below(400)),
        fingerprint: random.next(),
        keep: random.one_in(2),
        unsure_for_ms: None,
    });
    let expected_version = random.one_in(10).then(|| random.below(20));
    Request {
        key,
        expected_version,
        ..request(command)
    }
}

fn any_command(random: &mut Random, invoice: Option<&Invoice>, at: Timestamp) -> Command {
    let Some(known) = invoice else {
        return match random.below(8) {
            0 => import(),
            1 => Command::Tick,
            _ => create(any_draft(random)),
        };
    };
    // Half of the time, what the outside reports of what is pending.
    if random.one_in(2)
        && let Some(effect) = known.due_effects(at).next()
        && !random.one_in(3)
    {
        return completion(known, &effect.id.clone());
    }
    let issuer = Box::new(if random.one_in(6) {
        Issuer::default()
    } else {
        issuer()
    });
    let effect = any_effect(random, invoice);
    match random.below(26) {
        0 => create(any_draft(random)),
        1 => import(),
        2 => Command::Edit {
            content: Arc::new(any_draft(random)),
        },
        3 => any_change(random),
        4 => {
            if random.one_in(4) {
                Command::Delete
            } else {
                Command::View
            }
        }
        5 => Command::Finalize {
            issuer,
            send: random.one_in(2).then(|| any_send(random, at)),
        },
        6 => {
            let issued_on = any_date(random);
            let allocated = AllocatedNumber {
                issued_on,
                ..number()
            };
            Command::AssignNumber { effect, allocated }
        }
        7 | 8 => Command::Send {
            issuer,
            request: any_send(random, at),
        },
        9 | 10 => Command::Pay {
            payment_method: any_text(random, "pm_ok"),
        },
        11 => Command::RecordPayment {
            amount: any_money(random, invoice),
            method: any_text(random, "cash"),
            received_on: random.one_in(2).then(|| any_date(random)),
            reference: None,
        },
        12 => {
            if random.one_in(3) {
                Command::Void {
                    reason: Some(any_text(random, "wrong")),
                }
            } else {
                Command::Retry
            }
        }
        13 => {
            if random.one_in(3) {
                Command::MarkUncollectible { reason: None }
            } else {
                Command::Tick
            }
        }
        14 => Command::Retry,
        15 => Command::Tick,
        16 => Command::RotatePageSecret {
            page_secret: format!("s{}", random.below(3)),
        },
        17 => Command::ClaimEffect { effect },
        18 => Command::ReceiveProviderPayment {
            effect: random.one_in(2).then_some(effect),
            payment: provider_payment(&format!("pay-{}", random.below(6))),
            amount: any_money(random, invoice),
            method: "card".to_owned(),
        },
        19 => Command::FailCharge {
            effect,
            code: "card_declined".to_owned(),
            detail: "the card was declined".to_owned(),
        },
        20 => Command::CompleteMail {
            effect,
            message_id: "m@faktor.local".to_owned(),
        },
        21 => Command::CompleteDocument {
            effect,
            stored: stored(),
        },
        22 => Command::CompletePaymentLink {
            effect,
            link: link("other", money(1)),
        },
        24 => Command::OfferPayment,
        23 => Command::PostponeEffect {
            effect,
            until: at + SignedDuration::from_mins(1),
        },
        _ => Command::FailEffect {
            effect,
            error: error(random.one_in(3), random.one_in(3)),
            retry_at: if random.one_in(9) { Timestamp::MAX } else { at },
            max_attempts: 3,
        },
    }
}

/// Some parts of a draft.
fn any_change(random: &mut Random) -> Command {
    let draft = any_draft(random);
    Command::Change {
        change: Box::new(ContentChange {
            bill_to: random.one_in(2).then_some(draft.bill_to),
            currency: random.one_in(4).then_some(draft.currency),
            lines: random.one_in(2).then_some(draft.lines),
            discounts: random.one_in(2).then_some(draft.discounts),
            memo: random.one_in(2).then_some(draft.memo),
            ..ContentChange::default()
        }),
    }
}
