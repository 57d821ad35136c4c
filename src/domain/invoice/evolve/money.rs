//! What money coming in, or not needed any more, does to charges and payment pages.

use jiff::Timestamp;

use super::super::super::ids::EffectId;
use super::super::effect::{EffectKind, PendingEffect};
use super::super::{Invoice, PaymentLink};

impl Invoice {
    /// Takes the payment page down and drops what would ask for money again. What may have been
    /// done outside stays until that is known.
    pub(super) fn need_no_money(&mut self, at: Timestamp) {
        self.effects
            .retain(|effect| !is_dead_charge(effect) && !is_dead_link(effect));
        let Some(link) = self.payment.link.as_mut().filter(|link| link.active) else {
            return;
        };
        link.active = false;
        let link = link.id.clone();
        self.schedule(EffectKind::ExpirePaymentLink { link }, at);
    }

    /// Makes a page for what is due, unless there is one for just that.
    pub(super) fn schedule_link(&mut self, at: Timestamp) {
        if self.needs_payment_link(at) {
            self.effects.retain(|effect| !is_dead_link(effect));
            let amount = self.due();
            self.schedule(EffectKind::PaymentLink { amount }, at);
        }
    }

    /// Whether money is due and no page for just that is there or on its way.
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
        due.is_positive() && !there && !coming
    }

    /// After a part of the money came in, a charge that failed must not be tried again for all.
    pub(super) fn drop_excessive_charge(&mut self) {
        let due = self.due();
        let excessive =
            |kind: &EffectKind| matches!(kind, EffectKind::Charge { amount, .. } if *amount != due);
        self.effects
            .retain(|effect| !(is_dead_charge(effect) && excessive(&effect.kind)));
    }

    /// After a part of the money came in, the page must ask for the rest only.
    pub(super) fn renew_link(&mut self, at: Timestamp) {
        if self.payment.link.as_ref().is_some_and(|link| link.active) {
            self.schedule_link(at);
        }
    }

    /// The newest page for what is due stays; any other is taken down.
    pub(super) fn link_created(&mut self, effect: &EffectId, link: &PaymentLink, at: Timestamp) {
        self.drop_effect(effect);
        let due = self.due();
        let fits = |link: &PaymentLink| link.active && link.amount == due;
        let keep_old = self.payment.link.as_deref().is_some_and(fits) && link.amount != due;
        let obsolete = if keep_old {
            Some(link.id.clone())
        } else {
            let old = self.payment.link.replace(Box::new(PaymentLink {
                active: true,
                ..link.clone()
            }));
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
}

/// A charge whose last attempt surely took no money.
pub(super) fn is_dead_charge(effect: &PendingEffect) -> bool {
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
