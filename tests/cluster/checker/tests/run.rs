//! A run in which all went well, to be spoilt.

use std::sync::Arc;
use std::time::Duration;

use faktor::domain::ids::{InvoiceId, OrganizationId, UserId};
use faktor::domain::invoice::command::{Command, Initiator, SendRequest};
use faktor::domain::invoice::entry::Recorded;
use uuid::Uuid;

use super::super::{Charge, Evidence, Found, Violation, check, states};
use super::way::{
    Page, Way, charge, issue_and_mail, make_page, money, page, receive, store_document,
    take_page_down,
};
use crate::domain_fixture::{content, issuer};
use crate::recording::{Attempt, Kind, Operation, Outcome, Reply, Visit};

/// Everything of a run in which all went well.
pub(super) struct Run {
    pub(super) recording: Vec<Operation>,
    pub(super) evidence: Evidence,
    clock_ms: u64,
}

/// How an invoice of a run is paid.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Paid {
    ByCharge,
    OnItsPage,
    /// On both, as one was taking the place of the other.
    OnTwoPages,
}

fn user() -> Initiator {
    Initiator::User(UserId::new(Uuid::from_u128(9)))
}

impl Run {
    /// Invoices 1 and 2: made, changed, sent, charged, mailed; and a read after each request. And
    /// invoice 3, which is paid on its page, by the second of three visits.
    pub(super) fn good() -> Self {
        let mut run = Self {
            recording: Vec::new(),
            evidence: Evidence::default(),
            clock_ms: 0,
        };
        for number in 1..=2 {
            run.invoice(number, Paid::ByCharge);
        }
        run.invoice(3, Paid::OnItsPage);
        run
    }

    /// And invoice 4: a part of it came in otherwise, and then customers paid on the old page and on
    /// the new one before the old one was down.
    pub(super) fn with_a_page_replaced() -> Self {
        let mut run = Self::good();
        run.invoice(4, Paid::OnTwoPages);
        run
    }

    fn invoice(&mut self, number: u32, paid: Paid) {
        let mut way = Way::begin(InvoiceId::new(Uuid::from_u128(u128::from(number))));
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
        match paid {
            Paid::ByCharge => {
                let pay = Command::Pay {
                    payment_method: "pm_ok".to_owned(),
                };
                self.command(&mut way, Kind::Pay("pm_ok"), &key("pay"), pay);
                charge(&mut way, number);
            }
            Paid::OnItsPage => {
                let page = page(&way, &format!("cs_{number}"));
                self.visit(&mut way, &page, Outcome::Declined);
                self.visit(&mut way, &page, Outcome::Paid);
                self.visit(&mut way, &page, Outcome::AlreadyPaid);
                take_page_down(&mut way);
            }
            Paid::OnTwoPages => {
                let old = page(&way, &format!("cs_{number}"));
                let part = Command::RecordPayment {
                    amount: money(1_900),
                    method: "bank_transfer".to_owned(),
                    received_on: None,
                    reference: Some(key("part")),
                };
                self.command(&mut way, Kind::RecordPayment, &key("part"), part);
                make_page(&mut way, &format!("cs_{number}_rest"), money(10_000));
                let new = page(&way, &format!("cs_{number}_rest"));
                self.visit(&mut way, &new, Outcome::Paid);
                self.visit(&mut way, &old, Outcome::Paid);
                take_page_down(&mut way);
                take_page_down(&mut way);
            }
        }
        if paid != Paid::ByCharge {
            store_document(&mut way);
        }
        self.read(&way, &key("read-last"));
        let read = way.events.iter().map(|event| event.id);
        self.evidence.read.extend(read);
        self.evidence.feed.extend(way.events);
        self.evidence.mails.extend(way.mails);
        let found = Found {
            snapshot: way.invoice.unwrap(),
            history: way.history,
            charges: way.charges,
            open_pages: Vec::new(),
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

    /// With what the provider and the invoice make of it.
    fn visit(&mut self, way: &mut Way, page: &Page, outcome: Outcome) {
        let began = Duration::from_millis(self.clock_ms);
        self.clock_ms += 10;
        let succeeded = outcome == Outcome::Paid;
        if outcome.may_have_charged() {
            let id = format!("pi_{}_{}", page.session, way.charges.len());
            way.charges.push(Charge {
                id: id.clone(),
                effect: page.effect.clone(),
                session: Some(page.session.clone()),
                amount: page.amount,
                succeeded,
            });
            if succeeded {
                receive(way, None, id, page.amount);
            }
        }
        self.evidence.visits.push(Visit {
            session: page.session.clone(),
            invoice: way.id,
            method: "pm_ok",
            node: 0,
            began,
            ended: Duration::from_millis(self.clock_ms - 5),
            outcome,
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
