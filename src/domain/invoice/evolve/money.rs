//! What money coming in, or not needed any more, does to charges and payment pages.

use jiff::Timestamp;

use super::super::super::ids::EffectId;
use super::super::super::money::Money;
use super::super::effect::{EffectKind, PendingEffect};
use super::super::{Invoice, PaymentLink};

impl Invoice {
    /// Takes the payment page down and drops what would ask for money again. What may have been
    /// done outside stays until that is known.
    pub(super) fn need_no_money(&mut self, at: Timestamp) {
        self.drop_dead_charges(|_| true);
        self.drop_dead_links(|_| true);
        self.close_page(at);
    }

    /// Takes the payment page down, if there is one on which somebody could pay.
    pub(super) fn close_page(&mut self, at: Timestamp) {
        let Some(link) = self.payment.link.as_mut().filter(|link| link.active) else {
            return;
        };
        link.active = false;
        let link = link.id.clone();
        self.schedule(EffectKind::ExpirePaymentLink { link }, at);
    }

    /// Makes a page for what is due, unless there is one for just that. Another one is taken down
    /// before.
    pub(super) fn schedule_link(&mut self, at: Timestamp) {
        if self.needs_payment_link(at) {
            self.drop_dead_links(|_| true);
            self.close_page(at);
            let amount = self.due();
            self.schedule(EffectKind::PaymentLink { amount }, at);
        }
    }

    /// What is due is to be charged: from now on there is no page on which it could be paid as well,
    /// and the charge waits until that is so (see [`PendingEffect::is_ready`]).
    pub(super) fn request_charge(&mut self, payment_method: &str, amount: Money, at: Timestamp) {
        self.drop_dead_charges(|_| true);
        self.close_page(at);
        let payment_method = payment_method.to_owned();
        self.schedule(
            EffectKind::Charge {
                payment_method,
                amount,
            },
            at,
        );
    }

    /// The page that was taken down for a charge that brought nothing comes back as another one.
    pub(super) fn reopen_page(&mut self, at: Timestamp) {
        if self.payment.link.is_some() {
            self.schedule_link(at);
        }
    }

    /// Whether money is due that no charge is about to bring, and no page for just that is there or
    /// on its way.
    pub(in super::super) fn needs_payment_link(&self, now: Timestamp) -> bool {
        let due = self.due();
        let there = self
            .payment
            .link
            .as_ref()
            .is_some_and(|link| link.takes(due, now));
        let coming = self.effects.iter().any(|effect| {
            matches!(effect.kind, EffectKind::PaymentLink { amount } if amount == due)
                && !effect.parked
        });
        due.is_positive() && !there && !coming && self.charge_in_flight().is_none()
    }

    /// After money came in: a charge that failed must not be tried again for what was due before, and
    /// the page must ask for the rest only.
    pub(super) fn ask_for_the_rest(&mut self, at: Timestamp) {
        let due = self.due();
        let is_offered = self.payment.link.as_ref().is_some_and(|link| link.active)
            || self.effects.iter().any(|effect| {
                matches!(effect.kind, EffectKind::PaymentLink { .. }) && !effect.parked
            });
        self.drop_dead_charges(|amount| amount != due);
        self.drop_dead_links(|amount| amount != due);
        if is_offered {
            self.schedule_link(at);
        }
    }

    /// Drops charges of such amounts that surely took no money: the last attempt failed before it
    /// could, or there was none, as a page is being taken down since before the charge was asked for.
    fn drop_dead_charges(&mut self, such: impl Fn(Money) -> bool) {
        let dead = self.dead_effects(
            |effect| matches!(effect.kind, EffectKind::Charge { amount, .. } if such(amount)),
        );
        self.effects.retain(|effect| !dead.contains(&effect.id));
    }

    /// Drops payment pages for such amounts that were given up, or not begun, and surely do not exist.
    fn drop_dead_links(&mut self, such: impl Fn(Money) -> bool) {
        let dead = self.dead_effects(|effect| {
            let is_link = matches!(effect.kind, EffectKind::PaymentLink { amount } if such(amount));
            is_link && (effect.parked || effect.last_error.is_none())
        });
        self.effects.retain(|effect| !dead.contains(&effect.id));
    }

    /// Those of such effects that surely did nothing outside.
    fn dead_effects(&self, such: impl Fn(&PendingEffect) -> bool) -> Vec<EffectId> {
        let never_tried = |effect: &PendingEffect| {
            effect.last_error.is_none()
                && self.effects.iter().any(|closing| {
                    closing.id.sequence < effect.id.sequence && closing.holds_up(effect)
                })
        };
        let dead = |effect: &&PendingEffect| {
            such(effect) && (never_tried(effect) || surely_not_done(effect))
        };
        let dead = self.effects.iter().filter(dead);
        dead.map(|effect| effect.id.clone()).collect()
    }

    /// A page for what is due is shown. Nobody knows of any other: it is taken down unseen, and one for
    /// what is due by now follows.
    pub(super) fn link_created(&mut self, effect: &EffectId, link: &PaymentLink, at: Timestamp) {
        self.drop_effect(effect);
        if link.amount == self.due() && self.charge_in_flight().is_none() {
            // There is none, unless taking it down was given up.
            self.close_page(at);
            self.payment.link = Some(Box::new(PaymentLink {
                active: true,
                ..link.clone()
            }));
            return;
        }
        self.payment.link.get_or_insert_with(|| {
            Box::new(PaymentLink {
                active: false,
                ..link.clone()
            })
        });
        let link = link.id.clone();
        self.schedule(EffectKind::ExpirePaymentLink { link }, at);
        self.schedule_link(at);
    }
}

fn surely_not_done(effect: &PendingEffect) -> bool {
    effect
        .last_error
        .as_ref()
        .is_some_and(|error| !error.outcome_unknown)
}
