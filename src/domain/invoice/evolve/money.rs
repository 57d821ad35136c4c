//! What money coming in, or not needed any more, does to charges and payment pages.

use jiff::Timestamp;

use super::super::super::ids::EffectId;
use super::super::super::money::Money;
use super::super::effect::{EffectKind, PendingEffect};
use super::super::{FailedCharge, Invoice, PaymentLink};

impl Invoice {
    /// Takes the payment page down and drops what would ask for money again. What may have been
    /// done outside stays until that is known.
    pub(super) fn need_no_money(&mut self, at: Timestamp) {
        self.drop_dead_charges(at, |_| true);
        self.drop_dead_links(at, |_| true);
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
            self.drop_dead_links(at, |_| true);
            self.close_page(at);
            let amount = self.due();
            self.schedule(EffectKind::PaymentLink { amount }, at);
        }
    }

    /// What is due is to be charged: from now on there is no page on which it could be paid as well,
    /// and the charge waits until that is so (see [`PendingEffect::is_ready`]). The taking down of a page
    /// that was given up begins anew.
    pub(super) fn request_charge(&mut self, payment_method: &str, amount: Money, at: Timestamp) {
        self.drop_dead_charges(at, |_| true);
        for closing in self.effects.iter_mut().filter(|effect| effect.is_closing()) {
            if closing.parked {
                closing.begin_anew(at);
            }
        }
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
        let dropped = self.drop_dead_charges(at, |amount| amount != due);
        self.drop_dead_links(at, |amount| amount != due);
        if is_offered {
            self.schedule_link(at);
        }
        if let Some(effect) = dropped.into_iter().next_back()
            && due.is_positive()
        {
            self.payment.last_failure = Some(Box::new(FailedCharge {
                effect,
                code: "amount_changed".to_owned(),
                detail: "another amount is due by now, and nothing was charged".to_owned(),
                at,
            }));
            self.reopen_page(at);
        }
    }

    /// Drops charges of such amounts that surely took no money, and surely take none at this moment.
    fn drop_dead_charges(&mut self, at: Timestamp, such: impl Fn(Money) -> bool) -> Vec<EffectId> {
        let dead = self.dead_effects(
            at,
            |effect| matches!(effect.kind, EffectKind::Charge { amount, .. } if such(amount)),
        );
        self.effects.retain(|effect| !dead.contains(&effect.id));
        dead
    }

    /// Drops payment pages for such amounts that were given up, or not begun, and surely do not exist.
    fn drop_dead_links(&mut self, at: Timestamp, such: impl Fn(Money) -> bool) {
        let dead = self.dead_effects(at, |effect| {
            let is_link = matches!(effect.kind, EffectKind::PaymentLink { amount } if such(amount));
            is_link && (effect.parked || effect.last_error.is_none())
        });
        self.effects.retain(|effect| !dead.contains(&effect.id));
    }

    /// Those of such effects that surely did nothing outside, and surely are not at it.
    fn dead_effects(&self, at: Timestamp, such: impl Fn(&PendingEffect) -> bool) -> Vec<EffectId> {
        let dead = |effect: &&PendingEffect| {
            such(effect) && (self.was_never_tried(effect) || has_surely_failed(effect, at))
        };
        let dead = self.effects.iter().filter(dead);
        dead.map(|effect| effect.id.clone()).collect()
    }

    /// A page for what is due is shown, if there is none. Nobody knows of any other: it is taken down
    /// unseen, and one for what is due by now follows.
    pub(super) fn link_created(&mut self, effect: &EffectId, link: &PaymentLink, at: Timestamp) {
        self.drop_effect(effect);
        let due = self.due();
        let there = self.payment.link.as_ref();
        let is_wanted = link.amount == due
            && !there.is_some_and(|there| there.takes(due, at))
            && self.charge_in_flight().is_none();
        if is_wanted {
            // There is no other, unless taking it down was given up.
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

    /// The page is down: what waited for that begins. For the provider a charge that never began is as
    /// old as that.
    pub(super) fn page_closed(&mut self, effect: &EffectId, at: Timestamp) {
        let waited: Vec<EffectId> = self.charges_never_tried().cloned().collect();
        self.drop_effect(effect);
        for charge in self.effects.iter_mut().filter(|it| waited.contains(&it.id)) {
            charge.requested_at = at;
        }
    }
}

/// Whether the last attempt surely did nothing, and the next one has not begun.
fn has_surely_failed(effect: &PendingEffect, at: Timestamp) -> bool {
    let not_done = effect
        .last_error
        .as_ref()
        .is_some_and(|error| !error.outcome_unknown);
    not_done && (effect.parked || effect.next_attempt_at > at)
}
