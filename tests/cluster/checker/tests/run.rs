//! A run in which all went well, to be spoilt.

use std::sync::Arc;
use std::time::Duration;

use faktor::domain::ids::{EffectId, InvoiceId, OrganizationId, UserId};
use faktor::domain::invoice::command::{
    AllocatedNumber, Command, IdempotencyKey, Initiator, Request, SendRequest,
};
use faktor::domain::invoice::decide::{Step, step};
use faktor::domain::invoice::effect::EffectKindName;
use faktor::domain::invoice::entry::Recorded;
use faktor::domain::invoice::event::PublicEvent;
use faktor::domain::invoice::{
    DocumentFormat, Invoice, PaymentLink, ProviderPayment, StoredDocument,
};
use faktor::domain::money::Money;
use jiff::Timestamp;
use uuid::Uuid;

use super::super::{Charge, Evidence, Found, Violation, check, states};
use crate::domain_fixture::{content, currency, issuer};
use crate::recording::{Attempt, Kind, Operation, Reply, Shown};

/// Everything of a run in which all went well.
pub(super) struct Run {
    pub(super) recording: Vec<Operation>,
    pub(super) evidence: Evidence,
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

pub(super) fn money(minor: i64) -> Money {
    Money::new(minor, currency("EUR"))
}

impl Run {
    /// Two invoices: made, changed, sent, charged, mailed; and a read after each request.
    pub(super) fn good() -> Self {
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
        let read = way.events.iter().map(|event| event.id);
        self.evidence.read.extend(read);
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

    pub(super) fn violations(&self) -> Vec<Violation> {
        check(&self.recording, &self.evidence)
    }

    pub(super) fn found(&mut self, number: u128) -> &mut Found {
        let id = InvoiceId::new(Uuid::from_u128(number));
        self.evidence.invoices.get_mut(&id).unwrap()
    }

    pub(super) fn operation(&mut self, key: &str) -> &mut Operation {
        let mut operations = self.recording.iter_mut();
        operations.find(|operation| operation.key == key).unwrap()
    }

    /// Rewrites the history, and the snapshot and the feed with it, as a store would that took part in
    /// the mistake.
    pub(super) fn rewrite(&mut self, number: u128, change: impl FnOnce(&mut Vec<Recorded>)) {
        let found = self.found(number);
        change(&mut found.history);
        for (recorded, version) in found.history.iter_mut().zip(1..) {
            recorded.version = version;
            if let Some(request) = &mut recorded.request {
                request.version = version;
            }
        }
        found.snapshot = states(&found.history).pop().unwrap();
    }

    #[track_caller]
    pub(super) fn breaks(&self, rule: &str) {
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
