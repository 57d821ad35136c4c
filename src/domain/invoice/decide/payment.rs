//! Money: charging a payment method, and recording what came in.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::super::super::ids::EffectId;
use super::super::super::limits;
use super::super::super::money::{MAX_MINOR, Money};
use super::super::effect::{EffectKind, EffectKindName};
use super::super::entry::Entry;
use super::super::{Invoice, Payment, ProviderPayment, Status, validate};
use super::{Decision, Refusal};

/// Charges what is due, once: while a charge is in flight or its outcome is not known, another is
/// refused.
pub(super) fn pay(invoice: &Invoice, payment_method: &str) -> Decision {
    match invoice.status() {
        Status::Open | Status::Uncollectible => {}
        Status::Finalizing => return Err(Refusal::Finalizing),
        Status::Paid => return Err(Refusal::AlreadyPaid),
        Status::Void => return Err(Refusal::AlreadyVoid),
        status @ (Status::Draft | Status::Deleted) => {
            return Err(Refusal::InvoiceNotOpen { status });
        }
    }
    validate::payment_method(payment_method)?;
    if invoice.charge_in_flight().is_some() {
        return Err(Refusal::PaymentInProgress);
    }
    let amount = invoice.due();
    if !amount.is_positive() {
        return Err(Refusal::AlreadyPaid);
    }
    Ok(vec![Entry::ChargeRequested {
        payment_method: payment_method.to_owned(),
        amount,
    }])
}

/// Makes a page for what is due, unless there is one or one is on its way.
pub(super) fn offer(invoice: &Invoice, now: Timestamp) -> Decision {
    match invoice.status() {
        Status::Open | Status::Uncollectible => {}
        Status::Finalizing => return Err(Refusal::Finalizing),
        Status::Paid => return Err(Refusal::AlreadyPaid),
        Status::Void => return Err(Refusal::AlreadyVoid),
        status @ (Status::Draft | Status::Deleted) => {
            return Err(Refusal::InvoiceNotOpen { status });
        }
    }
    if invoice.charge_in_flight().is_some() {
        return Err(Refusal::PaymentInProgress);
    }
    if invoice.needs_payment_link(now) {
        Ok(vec![Entry::PaymentLinkRequested])
    } else {
        Ok(vec![])
    }
}

/// Money received elsewhere, as a person enters it.
pub(super) struct Declared<'a> {
    pub(super) amount: Money,
    pub(super) method: &'a str,
    pub(super) received_on: Option<Date>,
    pub(super) reference: &'a Option<String>,
}

/// Partial and over are allowed, and so is a charge in flight: the money is there.
pub(super) fn record(invoice: &Invoice, received: &Declared<'_>, now: Timestamp) -> Decision {
    match invoice.status() {
        Status::Open | Status::Uncollectible | Status::Paid => {}
        Status::Finalizing => return Err(Refusal::Finalizing),
        Status::Void => return Err(Refusal::AlreadyVoid),
        status @ (Status::Draft | Status::Deleted) => {
            return Err(Refusal::InvoiceNotOpen { status });
        }
    }
    validate::received_payment(received.method, received.reference.as_deref())?;
    check_amount(invoice, received.amount)?;
    if invoice.payment.received.len() >= limits::PAYMENTS {
        let detail = format!("an invoice takes at most {} payments", limits::PAYMENTS);
        return Err(Refusal::invalid("amount", "too_many", detail));
    }
    let today = date_of(now);
    let received_on = received.received_on.unwrap_or(today);
    // A day's grace: it may be tomorrow already where the caller is.
    if received_on > today.saturating_add(Span::new().days(1)) {
        let detail = "the day the money came in can't lie in the future";
        return Err(Refusal::invalid("received_on", "in_the_future", detail));
    }
    let payment = Payment {
        amount: received.amount,
        method: received.method.to_owned(),
        received_on,
        recorded_at: now,
        reference: received.reference.clone(),
        provider: None,
        charge: None,
    };
    Ok(with_paid(
        invoice,
        Entry::PaymentReceived {
            effect: None,
            payment,
        },
    ))
}

/// What a provider says came in is recorded once, whatever state the issued invoice is in: money is
/// never lost. `effect` is the charge that brought it, or the taking down of the page on which it had
/// been paid.
pub(super) fn receive(
    invoice: &Invoice,
    effect: Option<&EffectId>,
    provider: &ProviderPayment,
    amount: Money,
    method: &str,
    now: Timestamp,
) -> Decision {
    match invoice.status() {
        Status::Open | Status::Uncollectible | Status::Paid | Status::Void => {}
        status => return Err(Refusal::InvoiceNotOpen { status }),
    }
    let pending = effect.filter(|effect| invoice.effect(effect).is_some());
    let known = invoice
        .payment
        .received
        .iter()
        .any(|known| known.provider.as_ref() == Some(provider));
    if known {
        let settled = |effect: &EffectId| match effect.kind {
            EffectKindName::ExpirePaymentLink => Entry::PaymentLinkExpired {
                effect: effect.clone(),
            },
            _ => Entry::ChargeSettled {
                effect: effect.clone(),
                payment: provider.clone(),
            },
        };
        return Ok(pending.map(settled).into_iter().collect());
    }
    check_amount(invoice, amount)?;
    let payment = Payment {
        amount,
        method: method.to_owned(),
        received_on: date_of(now),
        recorded_at: now,
        reference: None,
        provider: Some(provider.clone()),
        charge: effect
            .filter(|effect| effect.kind == EffectKindName::Charge)
            .cloned(),
    };
    let received = Entry::PaymentReceived {
        effect: pending.cloned(),
        payment,
    };
    Ok(with_paid(invoice, received))
}

pub(super) fn fail_charge(
    invoice: &Invoice,
    effect: &EffectId,
    code: &str,
    detail: &str,
) -> Vec<Entry> {
    if !is_pending_charge(invoice, effect) {
        return vec![];
    }
    let (code, detail) = (code.to_owned(), detail.to_owned());
    vec![Entry::ChargeFailed {
        effect: effect.clone(),
        code,
        detail,
    }]
}

fn is_pending_charge(invoice: &Invoice, effect: &EffectId) -> bool {
    invoice
        .effect(effect)
        .is_some_and(|effect| matches!(effect.kind, EffectKind::Charge { .. }))
}

fn check_amount(invoice: &Invoice, amount: Money) -> Result<(), Refusal> {
    if amount.currency != invoice.currency() {
        let detail = format!("the invoice is in {}", invoice.currency());
        return Err(Refusal::invalid("currency", "currency_mismatch", detail));
    }
    if !amount.is_positive() {
        let detail = "the amount must be more than zero";
        return Err(Refusal::invalid("amount", "not_positive", detail));
    }
    if amount.minor > MAX_MINOR {
        let detail = format!("at most {}", Money::new(MAX_MINOR, amount.currency));
        return Err(Refusal::invalid("amount", "too_large", detail));
    }
    Ok(())
}

/// The payment, and that the invoice is paid if it brings the last of what is due.
fn with_paid(invoice: &Invoice, received: Entry) -> Vec<Entry> {
    let Entry::PaymentReceived { payment, .. } = &received else {
        return vec![received];
    };
    let owing = matches!(invoice.status(), Status::Open | Status::Uncollectible);
    let paid = owing && payment.amount.minor >= invoice.due().minor;
    let mut entries = vec![received];
    entries.extend(paid.then_some(Entry::Paid));
    entries
}

/// The day it is in UTC.
fn date_of(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}
