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
        self.effects.retain(|effect| !is_dead_link(effect));
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

    /// Makes a page for what is due, unless there is one for just that.
    pub(super) fn schedule_link(&mut self, at: Timestamp) {
        if self.needs_payment_link(at) {
            self.effects.retain(|effect| !is_dead_link(effect));
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

    /// After a part of the money came in, a charge that failed must not be tried again for all.
    pub(super) fn drop_excessive_charge(&mut self) {
        let due = self.due();
        self.drop_dead_charges(|amount| amount != due);
    }

    /// Drops charges of such amounts that surely took no money: the last attempt failed before it
    /// could, or there was none, as a page is being taken down since before the charge was asked for.
    fn drop_dead_charges(&mut self, such: impl Fn(Money) -> bool) {
        let closing = self.effects.iter().filter(|effect| is_closing(effect));
        let closing_since = closing.map(|effect| effect.id.sequence).min();
        self.effects.retain(|effect| {
            let EffectKind::Charge { amount, .. } = effect.kind else {
                return true;
            };
            let never_tried = effect.last_error.is_none()
                && closing_since.is_some_and(|since| since < effect.id.sequence);
            !(such(amount) && (never_tried || surely_not_done(effect)))
        });
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
        } else if self.charge_in_flight().is_some() {
            self.close_page(at);
        }
    }
}

const fn is_closing(effect: &PendingEffect) -> bool {
    matches!(effect.kind, EffectKind::ExpirePaymentLink { .. })
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
