//! Sending an invoice: now, or when the clock says so.

use jiff::{SignedDuration, Timestamp};

use super::super::super::party::Issuer;
use super::super::command::{SendOrder, SendRequest};
use super::super::effect::EffectKind;
use super::super::entry::Entry;
use super::super::{Content, DeliveryStatus, Invoice, State, validate};
use super::{Decision, Refusal};

/// The same order given again within this time is a double click, not a second send.
const DOUBLE_CLICK: SignedDuration = SignedDuration::from_secs(60);

/// A send may be planned this far ahead.
const LATEST: SignedDuration = SignedDuration::from_hours(24 * 366);

/// A send with its recipients resolved.
pub(super) enum Plan {
    Now(SendOrder),
    At(Timestamp, SendOrder),
}

/// Resolves the recipients: the customer's own address, if none are named.
pub(super) fn plan(
    content: &Content,
    request: &SendRequest,
    now: Timestamp,
) -> Result<Plan, Refusal> {
    validate::send_request(request)?;
    let own = || content.bill_to.email.clone().map(|email| vec![email]);
    let to = request.to.clone().or_else(own).ok_or_else(|| {
        let detail = "name recipients in `to`, or give the customer an address in `bill_to.email`";
        Refusal::invalid("to", "required", detail)
    })?;
    let order = SendOrder {
        to,
        cc: request.cc.clone(),
        message: request.message.clone(),
    };
    match request.at {
        None => Ok(Plan::Now(order)),
        Some(at) if at <= now => Err(Refusal::invalid(
            "at",
            "in_the_past",
            "the time to send must lie in the future",
        )),
        Some(at) if at.duration_since(now) > LATEST => Err(Refusal::invalid(
            "at",
            "too_late",
            "the time to send may lie at most a year ahead",
        )),
        Some(at) => Ok(Plan::At(at, order)),
    }
}

/// A draft is finalized first, at the time it is to be sent.
pub(super) fn send(
    invoice: &Invoice,
    issuer: &Issuer,
    request: &SendRequest,
    now: Timestamp,
) -> Decision {
    if matches!(invoice.state, State::Void { .. }) {
        return Err(Refusal::AlreadyVoid);
    }
    let plan = plan(&invoice.content, request, now)?;
    match (&invoice.state, plan) {
        (State::Draft, Plan::Now(order)) => {
            validate::issue(&invoice.content, issuer)?;
            let issuer = Box::new(issuer.clone());
            Ok(vec![Entry::FinalizeRequested {
                issuer,
                then_send: Some(order),
            }])
        }
        (State::Draft, Plan::At(at, order)) => {
            validate::issue(&invoice.content, issuer)?;
            Ok(schedule(invoice, at, order, Some(issuer)))
        }
        (
            State::Finalizing {
                then_send: Some(same),
                ..
            },
            Plan::Now(order),
        ) if *same == order => Ok(vec![]),
        (State::Finalizing { .. }, _) => Err(Refusal::Finalizing),
        (_, Plan::Now(order)) => send_now(invoice, order, now),
        (_, Plan::At(at, order)) => Ok(schedule(invoice, at, order, None)),
    }
}

fn schedule(
    invoice: &Invoice,
    at: Timestamp,
    order: SendOrder,
    issuer: Option<&Issuer>,
) -> Vec<Entry> {
    let scheduled = invoice.delivery.scheduled.as_ref();
    if scheduled.is_some_and(|scheduled| scheduled.at == at && scheduled.order == order) {
        return vec![];
    }
    vec![Entry::SendScheduled {
        at,
        order,
        issuer: issuer.cloned().map(Box::new),
    }]
}

/// Sends an issued invoice. A mail that was given up does not stand in the way of a new one.
fn send_now(invoice: &Invoice, order: SendOrder, now: Timestamp) -> Decision {
    let mut under_way = invoice
        .effects
        .iter()
        .filter(|effect| !effect.parked)
        .filter_map(|effect| match &effect.kind {
            EffectKind::Mail { order } => Some(order),
            _ => None,
        })
        .peekable();
    if under_way.peek().is_some() {
        let same = under_way.any(|other| *other == order);
        return if same {
            Ok(vec![])
        } else {
            Err(Refusal::SendInProgress)
        };
    }
    let delivery = &invoice.delivery;
    let double_click = delivery.status == DeliveryStatus::Sent
        && delivery.order.as_ref() == Some(&order)
        && delivery
            .ordered_at
            .is_some_and(|at| now.duration_since(at) < DOUBLE_CLICK);
    Ok(if double_click {
        vec![]
    } else {
        vec![Entry::SendRequested { order }]
    })
}

/// What the clock brings: the due date passed, a send's time came.
pub(super) fn tick(invoice: &Invoice, now: Timestamp) -> Vec<Entry> {
    let mut entries = Vec::new();
    if invoice.becomes_overdue_at().is_some_and(|at| at <= now) {
        entries.push(Entry::BecameOverdue);
    }
    let scheduled = invoice
        .delivery
        .scheduled
        .as_ref()
        .filter(|scheduled| scheduled.at <= now);
    let Some(order) = scheduled.map(|scheduled| scheduled.order.clone()) else {
        return entries;
    };
    entries.extend(match &invoice.state {
        State::Draft => Some(finalize_and_send(invoice, order)),
        State::Open { .. } | State::Paid { .. } | State::Uncollectible { .. } => {
            Some(Entry::SendRequested { order })
        }
        // Sent when the number is there; a void or deleted invoice has no scheduled send.
        State::Finalizing { .. } | State::Void { .. } | State::Deleted { .. } => None,
    });
    entries
}

/// A draft that was edited into something that can't be issued is not tried again and again.
fn finalize_and_send(invoice: &Invoice, order: SendOrder) -> Entry {
    let issuer = &invoice.content.issuer;
    match validate::issue(&invoice.content, issuer) {
        Ok(()) => Entry::FinalizeRequested {
            issuer: Box::new(issuer.clone()),
            then_send: Some(order),
        },
        Err(problems) => Entry::SendCancelled { problems },
    }
}
