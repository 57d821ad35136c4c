//! From a draft to an issued invoice: the intent first, then the number.

use jiff::civil::Date;
use jiff::{Span, Timestamp};

use super::super::super::ids::EffectId;
use super::super::super::money::Money;
use super::super::super::party::Issuer;
use super::super::command::{AllocatedNumber, SendRequest};
use super::super::entry::Entry;
use super::super::{Content, Invoice, State, validate};
use super::Decision;
use super::delivery::{Plan, plan};
use super::draft::only_draft;

pub(super) fn finalize(
    invoice: &Invoice,
    issuer: &Issuer,
    send: Option<&SendRequest>,
    now: Timestamp,
) -> Decision {
    only_draft(invoice)?;
    validate::issue(&invoice.content, issuer)?;
    let plan = send
        .map(|request| plan(&invoice.content, request, now))
        .transpose()?;
    let issuer = Box::new(issuer.clone());
    Ok(match plan {
        None => vec![Entry::FinalizeRequested {
            issuer,
            then_send: None,
        }],
        Some(Plan::Now(order)) => {
            vec![Entry::FinalizeRequested {
                issuer,
                then_send: Some(order),
            }]
        }
        Some(Plan::At(at, order)) => vec![
            Entry::SendScheduled {
                at,
                order,
                issuer: None,
            },
            Entry::FinalizeRequested {
                issuer,
                then_send: None,
            },
        ],
    })
}

/// The number is there: the invoice is issued, and sent if that was asked for.
pub(super) fn assign_number(
    invoice: &Invoice,
    effect: &EffectId,
    allocated: &AllocatedNumber,
) -> Vec<Entry> {
    let State::Finalizing { then_send, .. } = &invoice.state else {
        return vec![];
    };
    if invoice.effect(effect).is_none() {
        return vec![];
    }
    let mut entries = finalized(&invoice.content, invoice.totals.total, allocated);
    entries.extend(
        then_send
            .clone()
            .map(|order| Entry::SendRequested { order }),
    );
    entries
}

/// An invoice over nothing is paid the moment it is issued.
pub(super) fn finalized(
    content: &Content,
    total: Money,
    allocated: &AllocatedNumber,
) -> Vec<Entry> {
    let due_on = due_on(allocated.issued_on, content.due_in_days);
    let mut entries = vec![Entry::Finalized {
        allocated: allocated.clone(),
        due_on,
    }];
    entries.extend((!total.is_positive()).then_some(Entry::Paid));
    entries
}

/// The calendar's last day, if the due date would lie beyond it.
fn due_on(issued_on: Date, due_in_days: u16) -> Date {
    issued_on.saturating_add(Span::new().days(i64::from(due_in_days)))
}
