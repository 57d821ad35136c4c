//! Moves an invoice forward by one fact. Pure and total: replaying the history gives the snapshot.
//!
//! Effects are scheduled here, on entering a state or taking an order, so that they too follow from
//! the history alone.

use std::mem;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::ids::EffectId;
use super::super::totals::Totals;
use super::command::SendOrder;
use super::effect::{EffectError, EffectKind, PendingEffect};
use super::entry::{Entry, Recorded};
use super::{
    Content, DeliveryState, DeliveryStatus, DocumentFormat, DocumentState, DocumentStatus,
    FailedCharge, Invoice, Issued, PaymentLink, PaymentState, ScheduledSend, Source, State,
    StoredDocument,
};

/// The invoice after `recorded`. Anything before `Created` is nothing.
pub fn evolve(invoice: Option<Invoice>, recorded: &Recorded) -> Option<Invoice> {
    let mut invoice = match invoice {
        Some(mut invoice) => {
            invoice.apply(recorded);
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
        content: Content::clone(content),
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
                self.content = Content::clone(content);
            }
            Entry::Deleted => self.delete(at),
            Entry::FinalizeRequested { issuer, then_send } => {
                self.content.issuer = (**issuer).clone();
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
                    self.content.issuer = (**issuer).clone();
                }
                self.delivery.scheduled = Some(ScheduledSend {
                    at: *at,
                    order: order.clone(),
                });
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
            Entry::PaymentLinkExpired { effect } | Entry::NoticeSent { effect, .. } => {
                self.drop_effect(effect);
            }
            Entry::MailSent { effect, message_id } => self.mail_sent(effect, message_id, at),
            Entry::ChargeRequested {
                payment_method,
                amount,
            } => {
                self.effects.retain(|effect| !is_dead_charge(effect));
                let payment_method = payment_method.clone();
                self.schedule(
                    EffectKind::Charge {
                        payment_method,
                        amount: *amount,
                    },
                    at,
                );
            }
            Entry::ChargeFailed {
                effect,
                code,
                detail,
            } => {
                self.drop_effect(effect);
                let (effect, code, detail) = (effect.clone(), code.clone(), detail.clone());
                self.payment.last_failure = Some(FailedCharge {
                    effect,
                    code,
                    detail,
                    at,
                });
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
                self.effects
                    .retain(|pending| effect.as_ref() != Some(&pending.id));
                self.payment.received.push(payment.clone());
                self.drop_excessive_charge();
                self.renew_link(at);
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

    /// Takes the payment page down and drops what would ask for money again. What may have been
    /// done outside stays until that is known.
    fn need_no_money(&mut self, at: Timestamp) {
        self.effects
            .retain(|effect| !is_dead_charge(effect) && !is_dead_link(effect));
        let Some(link) = self.payment.link.as_mut().filter(|link| link.active) else {
            return;
        };
        link.active = false;
        let link = link.id.clone();
        self.schedule(EffectKind::ExpirePaymentLink { link }, at);
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

    fn expect_delivery(&mut self) {
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

    /// Makes a page for what is due, unless there is one for just that.
    fn schedule_link(&mut self, at: Timestamp) {
        if self.needs_payment_link() {
            self.effects.retain(|effect| !is_dead_link(effect));
            let amount = self.due();
            self.schedule(EffectKind::PaymentLink { amount }, at);
        }
    }

    /// Whether money is due and no page for just that is there or on its way.
    pub(super) fn needs_payment_link(&self) -> bool {
        let due = self.due();
        let there = self
            .payment
            .link
            .as_ref()
            .is_some_and(|link| link.active && link.amount == due);
        let coming = self.effects.iter().any(|effect| {
            matches!(effect.kind, EffectKind::PaymentLink { amount } if amount == due)
                && !effect.parked
        });
        due.is_positive() && !there && !coming
    }

    /// After a part of the money came in, a charge that failed must not be tried again for all.
    fn drop_excessive_charge(&mut self) {
        let due = self.due();
        let excessive =
            |kind: &EffectKind| matches!(kind, EffectKind::Charge { amount, .. } if *amount != due);
        self.effects
            .retain(|effect| !(is_dead_charge(effect) && excessive(&effect.kind)));
    }

    /// After a part of the money came in, the page must ask for the rest only.
    fn renew_link(&mut self, at: Timestamp) {
        if self.payment.link.as_ref().is_some_and(|link| link.active) {
            self.schedule_link(at);
        }
    }

    /// The newest page for what is due stays; any other is taken down.
    fn link_created(&mut self, effect: &EffectId, link: &PaymentLink, at: Timestamp) {
        self.drop_effect(effect);
        let due = self.due();
        let fits = |link: &PaymentLink| link.active && link.amount == due;
        let keep_old = self.payment.link.as_ref().is_some_and(fits) && link.amount != due;
        let obsolete = if keep_old {
            Some(link.id.clone())
        } else {
            let old = self.payment.link.replace(PaymentLink {
                active: true,
                ..link.clone()
            });
            old.filter(|old| old.active && old.id != link.id)
                .map(|old| old.id)
        };
        if let Some(link) = obsolete {
            self.schedule(EffectKind::ExpirePaymentLink { link }, at);
        }
        if !due.is_positive() {
            self.need_no_money(at);
        }
    }

    fn schedule_document(&mut self, at: Timestamp) {
        let format = match self.source {
            Source::Api => DocumentFormat::Pdf,
            Source::Upload { format } => format,
        };
        self.schedule(EffectKind::Document { format }, at);
    }

    /// A document of a later state stands for those of earlier ones that are still under way.
    fn store_document(&mut self, effect: &EffectId, stored: &StoredDocument) {
        self.effects.retain(|other| {
            let document = matches!(other.kind, EffectKind::Document { .. });
            !document || other.id.sequence > effect.sequence
        });
        self.document.stored = Some(stored.clone());
    }

    fn document_status(&self) -> DocumentStatus {
        let mut documents = self
            .effects
            .iter()
            .filter(|effect| matches!(effect.kind, EffectKind::Document { .. }))
            .peekable();
        if documents.peek().is_none() {
            return match self.document.stored {
                Some(_) => DocumentStatus::Ready,
                None => DocumentStatus::None,
            };
        }
        if documents.all(|effect| effect.parked) {
            DocumentStatus::Failed
        } else {
            DocumentStatus::Pending
        }
    }

    fn schedule(&mut self, kind: EffectKind, at: Timestamp) {
        let id = EffectId {
            invoice: self.id,
            kind: kind.name(),
            sequence: self.next_effect,
        };
        self.next_effect = self.next_effect.saturating_add(1);
        self.effects.push(PendingEffect {
            id,
            kind,
            requested_at: at,
            attempts: 0,
            next_attempt_at: at,
            claimed: false,
            last_error: None,
            parked: false,
        });
    }

    fn effect_failed(&mut self, id: &EffectId, error: &EffectError, retry_at: Option<Timestamp>) {
        let Some(effect) = self.effect_mut(id) else {
            return;
        };
        effect.attempts = effect.attempts.saturating_add(1);
        effect.claimed = error.outcome_unknown;
        effect.last_error = Some(error.clone());
        effect.parked = retry_at.is_none();
        if let Some(retry_at) = retry_at {
            effect.next_attempt_at = retry_at;
        } else if matches!(effect.kind, EffectKind::Mail { .. }) {
            self.delivery.status = DeliveryStatus::Failed;
        }
    }

    fn retry_effects(&mut self, effects: &[EffectId], at: Timestamp) {
        let mut mail = false;
        for effect in self
            .effects
            .iter_mut()
            .filter(|effect| effects.contains(&effect.id))
        {
            effect.parked = false;
            effect.attempts = 0;
            effect.next_attempt_at = at;
            mail |= matches!(effect.kind, EffectKind::Mail { .. });
        }
        if mail {
            self.expect_delivery();
        }
    }

    fn effect_mut(&mut self, id: &EffectId) -> Option<&mut PendingEffect> {
        self.effects.iter_mut().find(|effect| effect.id == *id)
    }

    fn drop_effect(&mut self, id: &EffectId) {
        self.effects.retain(|effect| effect.id != *id);
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

/// A charge whose last attempt surely took no money.
fn is_dead_charge(effect: &PendingEffect) -> bool {
    matches!(effect.kind, EffectKind::Charge { .. }) && surely_not_done(effect)
}

/// A payment page that was given up and surely does not exist.
fn is_dead_link(effect: &PendingEffect) -> bool {
    matches!(effect.kind, EffectKind::PaymentLink { .. })
        && effect.parked
        && surely_not_done(effect)
}

fn surely_not_done(effect: &PendingEffect) -> bool {
    effect
        .last_error
        .as_ref()
        .is_some_and(|error| !error.outcome_unknown)
}
