//! A story of one invoice: commands one after the other, at a clock that the test moves.

use faktor::domain::ids::EffectId;
use faktor::domain::invoice::command::{Command, IdempotencyKey, Request, SendRequest};
use faktor::domain::invoice::decide::{Refusal, Step, step};
use faktor::domain::invoice::effect::{EffectKind, EffectKindName, PendingEffect};
use faktor::domain::invoice::entry::Recorded;
use faktor::domain::invoice::event::PublicEvent;
use faktor::domain::invoice::{Content, Invoice};
use jiff::{SignedDuration, Timestamp};

use crate::commands::{completion, create, error, id, money, now, request};
use crate::domain_fixture::{content, issuer};

#[derive(Clone)]
pub(crate) struct Story {
    pub(crate) invoice: Option<Invoice>,
    pub(crate) history: Vec<Recorded>,
    pub(crate) events: Vec<PublicEvent>,
    pub(crate) now: Timestamp,
}

impl Story {
    pub(crate) fn begin() -> Self {
        Self {
            invoice: None,
            history: vec![],
            events: vec![],
            now: now(),
        }
    }

    pub(crate) fn draft() -> Self {
        Self::draft_of(content())
    }

    pub(crate) fn draft_of(content: Content) -> Self {
        Self::begin().then(create(content))
    }

    /// Issued over 119.00 EUR, due in two weeks, its document stored.
    pub(crate) fn open() -> Self {
        Self::draft()
            .then(finalize())
            .done(EffectKindName::Number)
            .done(EffectKindName::Document)
    }

    pub(crate) fn invoice(&self) -> &Invoice {
        self.invoice.as_ref().unwrap()
    }

    pub(crate) fn ask(&self, command: Command) -> Result<Step, Refusal> {
        self.ask_with(&request(command))
    }

    pub(crate) fn ask_with(&self, request: &Request) -> Result<Step, Refusal> {
        step(self.invoice.as_ref(), id(), request, self.now)
    }

    /// The command is carried out.
    pub(crate) fn then(self, command: Command) -> Self {
        let request = request(command);
        self.then_with(&request)
    }

    pub(crate) fn then_with(mut self, request: &Request) -> Self {
        match self.ask_with(request) {
            Ok(Step::Changed {
                invoice,
                recorded,
                events,
            }) => {
                self.invoice = Some(*invoice);
                self.history.extend(recorded);
                self.events.extend(events);
                self
            }
            other => panic!("{} gave {other:?}", request.command.name()),
        }
    }

    pub(crate) fn after(mut self, time: SignedDuration) -> Self {
        self.now += time;
        self
    }

    /// The outside reports that the pending effect of this kind is done.
    pub(crate) fn done(self, kind: EffectKindName) -> Self {
        let command = completion(self.invoice(), &self.effect(kind).id);
        self.then(command)
    }

    /// The outside reports that an attempt at the pending effect of this kind failed.
    pub(crate) fn failed(self, kind: EffectKindName, permanent: bool, unknown: bool) -> Self {
        let command = Command::FailEffect {
            effect: self.effect(kind).id.clone(),
            error: error(permanent, unknown),
            retry_at: self.now + SignedDuration::from_secs(1),
            max_attempts: 3,
        };
        self.then(command)
    }

    /// The oldest pending effect of this kind.
    pub(crate) fn effect(&self, kind: EffectKindName) -> &PendingEffect {
        let mut effects = self.invoice().effects.iter();
        effects
            .find(|effect| effect.kind.name() == kind)
            .unwrap_or_else(|| panic!("no {kind}"))
    }

    pub(crate) fn effect_id(&self, kind: EffectKindName) -> EffectId {
        self.effect(kind).id.clone()
    }

    pub(crate) fn pending(&self) -> Vec<EffectKindName> {
        self.invoice()
            .effects
            .iter()
            .map(|effect| effect.kind.name())
            .collect()
    }

    /// What an actor has under way now.
    pub(crate) fn due(&self) -> Vec<EffectKindName> {
        self.invoice()
            .due_effects(self.now)
            .map(|effect| effect.kind.name())
            .collect()
    }

    /// The payment pages that are to be taken down.
    pub(crate) fn expiring(&self) -> Vec<&str> {
        let kinds = self.invoice().effects.iter().map(|effect| &effect.kind);
        kinds
            .filter_map(|kind| match kind {
                EffectKind::ExpirePaymentLink { link } => Some(link.as_str()),
                _ => None,
            })
            .collect()
    }
}

pub(crate) fn finalize() -> Command {
    Command::Finalize {
        issuer: Box::new(issuer()),
        send: None,
    }
}

pub(crate) fn send() -> Command {
    send_as(SendRequest::default())
}

pub(crate) fn send_as(request: SendRequest) -> Command {
    Command::Send {
        issuer: Box::new(issuer()),
        request,
    }
}

pub(crate) fn send_to(address: &str) -> Command {
    send_as(SendRequest {
        to: Some(vec![address.to_owned()]),
        ..SendRequest::default()
    })
}

pub(crate) fn send_at(at: Timestamp) -> Command {
    send_as(SendRequest {
        at: Some(at),
        ..SendRequest::default()
    })
}

pub(crate) fn pay() -> Command {
    Command::Pay {
        payment_method: "pm_ok".to_owned(),
    }
}

pub(crate) fn record(minor: i64) -> Command {
    Command::RecordPayment {
        amount: money(minor),
        method: "bank_transfer".to_owned(),
        received_on: None,
        reference: None,
    }
}

pub(crate) fn void() -> Command {
    Command::Void { reason: None }
}

pub(crate) fn keyed(command: Command, key: &str, fingerprint: u64) -> Request {
    let key = IdempotencyKey {
        key: key.to_owned(),
        fingerprint,
        keep: true,
        unsure_for_ms: None,
    };
    Request {
        key: Some(key),
        ..request(command)
    }
}

/// The parameters that a refusal names.
pub(crate) fn params(result: Result<Step, Refusal>) -> Vec<String> {
    match result {
        Err(Refusal::Invalid { problems }) => {
            problems.into_iter().map(|problem| problem.param).collect()
        }
        other => panic!("not refused as invalid: {other:?}"),
    }
}
