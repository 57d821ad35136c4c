//! Moves an invoice forward by one fact. Pure and total: replaying the history gives the snapshot.
//!
//! Effects are scheduled here, on entering a state or taking an order, so that they too follow from
//! the history alone.

use std::sync::Arc;

use std::mem;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::ids::EffectId;
use super::super::totals::Totals;
use super::command::SendOrder;
use super::effect::EffectKind;
use super::entry::{Entry, Recorded};
use super::{
    Content, DeliveryState, DeliveryStatus, DocumentState, FailedCharge, Invoice, Issued,
    PaymentState, ScheduledSend, State,
};

mod effects;
mod money;

/// The invoice after `recorded`. Anything before `Created` is nothing.
pub fn evolve(invoice: Option<Invoice>, recorded: &Recorded) -> Option<Invoice> {
    let mut invoice = match invoice {
        Some(mut invoice) => {
            let first_new = invoice.next_effect;
            invoice.apply(recorded);
            let effects = invoice.effects.iter_mut();
            for effect in effects.filter(|effect| effect.id.sequence >= first_new) {
                effect.request_id = recorded.request_id.as_str().into();
            }
            invoice
        }
        None => created(recorded)?,
    };
    invoice.version = recorded.version;
    invoice.updated_at = recorded.at;
    invoice.document.status = invoice.document_status();
    if let Some(request) = &recorded.request {
        invoice.remember(request.clone());
    }
    Some(invoice)
}

/// The invoice that a history comes to.
pub fn replay<'a>(history: impl IntoIterator<Item = &'a Recorded>) -> Option<Invoice> {
    history.into_iter().fold(None, evolve)
}

fn created(recorded: &Recorded) -> Option<Invoice> {
    let Entry::Created {
        id,
        organization,
        source,
        content,
        page_secret,
    } = &recorded.entry
    else {
        return None;
    };
    Some(Invoice {
        id: *id,
        organization: *organization,
        version: recorded.version,
        source: *source,
        totals: totals(content),
        content: Arc::clone(content),
        state: State::Draft,
        payment: PaymentState::default(),
        document: DocumentState::default(),
        delivery: DeliveryState::default(),
        page_secret: page_secret.clone(),
        first_viewed_at: None,
        effects: Vec::new(),
        next_effect: 1,
        requests: Vec::new(),
        created_at: recorded.at,
        updated_at: recorded.at,
    })
}

/// `decide` lets no content in that has no totals.
fn totals(content: &Content) -> Totals {
    Totals::of(content).unwrap_or_else(|_| Totals::zero(content.currency))
}

impl Invoice {
    fn apply(&mut self, recorded: &Recorded) {
        let at = recorded.at;
        match &recorded.entry {
            Entry::Created { .. } => {}
            Entry::Edited { content } => {
                self.totals = totals(content);
                self.content = Arc::clone(content);
            }
            Entry::Deleted => self.delete(at),
            Entry::FinalizeRequested { issuer, then_send } => {
                self.content_mut().issuer = (**issuer).clone();
                self.request_number(then_send.clone(), at);
            }
            Entry::Finalized { allocated, due_on } => {
                self.issue(Issued {
                    number: allocated.number.clone(),
                    issued_on: allocated.issued_on,
                    due_on: *due_on,
                    finalized_at: at,
                    overdue: false,
                });
                self.schedule_document(at);
            }
            Entry::SendScheduled { at, order, issuer } => {
                if let Some(issuer) = issuer {
                    self.content_mut().issuer = (**issuer).clone();
                }
                self.delivery.scheduled = Some(Box::new(ScheduledSend {
                    at: *at,
                    order: order.clone(),
                }));
                self.expect_delivery();
            }
            Entry::SendCancelled { problems } => {
                self.delivery.scheduled = None;
                self.delivery.status = DeliveryStatus::Failed;
                self.delivery.problems.clone_from(problems);
            }
            Entry::SendRequested { order } => self.send(order, at),
            Entry::NoticeRequested { to } => {
                self.schedule(EffectKind::UploadNotice { to: to.clone() }, at);
            }
            Entry::EffectClaimed { effect } => {
                if let Some(effect) = self.effect_mut(effect) {
                    effect.claimed = true;
                }
            }
            Entry::DocumentStored { effect, stored } => self.store_document(effect, stored),
            Entry::PaymentLinkRequested => self.schedule_link(at),
            Entry::PaymentLinkCreated { effect, link } => self.link_created(effect, link, at),
            Entry::PaymentLinkExpired { effect } => self.page_closed(effect, at),
            Entry::NoticeSent { effect, .. } => self.drop_effect(effect),
            Entry::MailSent { effect, message_id } => self.mail_sent(effect, message_id, at),
            Entry::ChargeRequested {
                payment_method,
                amount,
            } => self.request_charge(payment_method, *amount, at),
            Entry::ChargeFailed {
                effect,
                code,
                detail,
            } => {
                self.drop_effect(effect);
                let (effect, code, detail) = (effect.clone(), code.clone(), detail.clone());
                self.payment.last_failure = Some(Box::new(FailedCharge {
                    effect,
                    code,
                    detail,
                    at,
                }));
                self.reopen_page(at);
            }
            Entry::ChargeSettled { effect, payment } => {
                self.drop_effect(effect);
                let mut received = self.payment.received.iter_mut();
                if let Some(known) = received.find(|known| known.provider.as_ref() == Some(payment))
                {
                    known.charge = Some(effect.clone());
                }
            }
            Entry::PaymentReceived { effect, payment } => {
                self.payment.received.push(payment.clone());
                // With the effect that brought it: as long as it is there, others have not begun.
                self.ask_for_the_rest(at);
                if let Some(effect) = effect {
                    self.drop_effect(effect);
                }
            }
            Entry::Paid => self.become_paid(at),
            Entry::BecameOverdue => {
                if let State::Open { issued } = &mut self.state {
                    issued.overdue = true;
                }
            }
            Entry::Voided { reason } => self.become_void(reason.clone(), at),
            Entry::MarkedUncollectible { reason } => {
                let reason = reason.clone();
                self.transition(|state| match state {
                    State::Open { issued } => State::Uncollectible {
                        issued,
                        marked_at: at,
                        reason,
                    },
                    other => other,
                });
            }
            Entry::Viewed => self.first_viewed_at = Some(at),
            Entry::PageSecretRotated { page_secret } => self.page_secret.clone_from(page_secret),
            Entry::EffectFailed {
                effect,
                error,
                retry_at,
            } => {
                self.effect_failed(effect, error, Some(*retry_at));
            }
            Entry::EffectPostponed { effect, until } => {
                if let Some(effect) = self.effect_mut(effect) {
                    effect.next_attempt_at = *until;
                    effect.claimed = false;
                }
            }
            Entry::EffectParked { effect, error } => self.effect_failed(effect, error, None),
            Entry::EffectsRetried { effects } => self.retry_effects(effects, at),
        }
    }

    fn transition(&mut self, to: impl FnOnce(State) -> State) {
        self.state = to(mem::replace(&mut self.state, State::Draft));
    }

    fn delete(&mut self, at: Timestamp) {
        self.state = State::Deleted { at };
        self.delivery.scheduled = None;
        self.effects = Vec::new();
    }

    fn request_number(&mut self, then_send: Option<SendOrder>, at: Timestamp) {
        if then_send.is_some() {
            self.delivery.scheduled = None;
            self.expect_delivery();
        }
        self.state = State::Finalizing {
            requested_at: at,
            then_send,
        };
        self.schedule(EffectKind::Number, at);
    }

    fn issue(&mut self, issued: Issued) {
        self.effects
            .retain(|effect| !matches!(effect.kind, EffectKind::Number));
        self.state = State::Open { issued };
    }

    fn become_paid(&mut self, at: Timestamp) {
        self.transition(|state| match state {
            State::Open { issued } | State::Uncollectible { issued, .. } => State::Paid {
                issued,
                paid_at: at,
            },
            other => other,
        });
        self.need_no_money(at);
        self.schedule_document(at);
    }

    fn become_void(&mut self, reason: Option<String>, at: Timestamp) {
        self.transition(|state| match state {
            State::Open { issued } | State::Uncollectible { issued, .. } => State::Void {
                issued,
                voided_at: at,
                reason,
            },
            other => other,
        });
        self.need_no_money(at);
        self.effects
            .retain(|effect| !matches!(effect.kind, EffectKind::Mail { .. }));
        self.delivery.scheduled = None;
        if self.delivery.status != DeliveryStatus::None {
            self.delivery.status = match self.delivery.sent_at {
                Some(_) => DeliveryStatus::Sent,
                None => DeliveryStatus::None,
            };
        }
        self.schedule_document(at);
    }

    fn send(&mut self, order: &SendOrder, at: Timestamp) {
        self.effects
            .retain(|effect| !(effect.parked && matches!(effect.kind, EffectKind::Mail { .. })));
        self.schedule_link(at);
        self.schedule(
            EffectKind::Mail {
                order: order.clone(),
            },
            at,
        );
        self.delivery.scheduled = None;
        self.delivery.order = Some(order.clone());
        self.delivery.ordered_at = Some(at);
        self.expect_delivery();
    }

    pub(super) fn expect_delivery(&mut self) {
        self.delivery.status = DeliveryStatus::Pending;
        self.delivery.problems = Vec::new();
    }

    fn mail_sent(&mut self, effect: &EffectId, message_id: &str, at: Timestamp) {
        self.drop_effect(effect);
        self.delivery.sent_at = Some(at);
        self.delivery.message_id = Some(message_id.to_owned());
        let others = self
            .effects
            .iter()
            .any(|other| matches!(other.kind, EffectKind::Mail { .. }));
        if !others && self.delivery.scheduled.is_none() {
            self.delivery.status = DeliveryStatus::Sent;
        }
    }

    /// The moment the due date is over (UTC), while money is due and it was not noticed yet.
    pub fn becomes_overdue_at(&self) -> Option<Timestamp> {
        let State::Open { issued } = &self.state else {
            return None;
        };
        if issued.overdue || !self.due().is_positive() {
            return None;
        }
        let midnight = issued
            .due_on
            .tomorrow()
            .ok()?
            .to_zoned(TimeZone::UTC)
            .ok()?;
        Some(midnight.timestamp())
    }
}
