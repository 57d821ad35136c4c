//! One invoice of a run on its way, with what the provider and the mail spool have of it.

use faktor::domain::ids::{EffectId, InvoiceId};
use faktor::domain::invoice::command::{
    AllocatedNumber, Command, IdempotencyKey, Initiator, Request,
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

use super::super::Charge;
use crate::domain_fixture::currency;
use crate::recording::Shown;

/// An invoice on its way.
pub(super) struct Way {
    pub(super) id: InvoiceId,
    pub(super) invoice: Option<Invoice>,
    pub(super) history: Vec<Recorded>,
    pub(super) events: Vec<PublicEvent>,
    pub(super) charges: Vec<Charge>,
    pub(super) mails: Vec<String>,
}

impl Way {
    pub(super) fn begin(id: InvoiceId) -> Self {
        Self {
            id,
            invoice: None,
            history: Vec::new(),
            events: Vec::new(),
            charges: Vec::new(),
            mails: Vec::new(),
        }
    }

    pub(super) fn ask(&mut self, command: Command, by: Initiator, key: Option<&str>) {
        let request = Request {
            command,
            by,
            key: key.map(|key| IdempotencyKey {
                key: key.to_owned(),
                fingerprint: 1,
                keep: true,
                unsure_for_ms: None,
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

    pub(super) fn shown(&self) -> Shown {
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

pub(super) fn money(minor: i64) -> Money {
    Money::new(minor, currency("EUR"))
}

pub(super) fn issue_and_mail(way: &mut Way, number: u32) {
    way.system(Command::AssignNumber {
        effect: way.pending(EffectKindName::Number),
        allocated: AllocatedNumber {
            number: format!("2026-{number:04}"),
            issued_on: jiff::civil::date(2026, 11, 21),
        },
    });
    store_document(way);
    make_page(way, &format!("cs_{number}"), money(11_900));
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

pub(super) fn store_document(way: &mut Way) {
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

/// A checkout page as the provider knows it.
pub(super) struct Page {
    pub(super) session: String,
    pub(super) effect: EffectId,
    pub(super) amount: Money,
}

pub(super) fn make_page(way: &mut Way, session: &str, amount: Money) {
    way.system(Command::CompletePaymentLink {
        effect: way.pending(EffectKindName::PaymentLink),
        link: PaymentLink {
            provider: "sandbox".to_owned(),
            id: session.to_owned(),
            url: format!("http://test/sandbox/checkout/{session}"),
            amount,
            active: true,
            expires_at: None,
        },
    });
}

pub(super) fn page(way: &Way, session: &str) -> Page {
    let made = way
        .history
        .iter()
        .find_map(|recorded| match &recorded.entry {
            Entry::PaymentLinkCreated { effect, link } if link.id == session => Some(Page {
                session: session.to_owned(),
                effect: effect.clone(),
                amount: link.amount,
            }),
            _ => None,
        });
    made.unwrap_or_else(|| panic!("no page {session}"))
}

pub(super) fn take_page_down(way: &mut Way) {
    let effect = way.pending(EffectKindName::ExpirePaymentLink);
    way.system(Command::CompleteEffect { effect });
}

pub(super) fn receive(way: &mut Way, effect: Option<EffectId>, id: String, amount: Money) {
    let payment = Command::ReceiveProviderPayment {
        effect,
        payment: ProviderPayment {
            provider: "sandbox".to_owned(),
            id,
        },
        amount,
        method: "card".to_owned(),
    };
    way.ask(payment, Initiator::Provider("sandbox".to_owned()), None);
}

pub(super) fn charge(way: &mut Way, number: u32) {
    let effect = way.pending(EffectKindName::Charge);
    let id = format!("pi_{number}");
    receive(way, Some(effect.clone()), id.clone(), money(11_900));
    way.charges.push(Charge {
        id,
        effect,
        session: None,
        amount: money(11_900),
        succeeded: true,
    });
    take_page_down(way);
    store_document(way);
}
