//! What came of an effect. A report about one that is not pending any more changes nothing: the
//! same result may be reported twice, and an effect may have been dropped while it was under way.

use jiff::Timestamp;

use super::super::super::ids::EffectId;
use super::super::effect::{EffectError, EffectKind};
use super::super::entry::Entry;
use super::super::{Invoice, PaymentLink, Status, StoredDocument};

/// Only what can't be made idempotent outside is claimed: a mail that may have gone out is marked
/// before it goes.
pub(super) fn claim(invoice: &Invoice, id: &EffectId) -> Vec<Entry> {
    let claimable = invoice.effect(id).is_some_and(|effect| {
        let mail = matches!(
            effect.kind,
            EffectKind::Mail { .. } | EffectKind::UploadNotice { .. }
        );
        mail && !effect.claimed && !effect.parked
    });
    if claimable {
        vec![Entry::EffectClaimed { effect: id.clone() }]
    } else {
        vec![]
    }
}

pub(super) fn complete_document(
    invoice: &Invoice,
    id: &EffectId,
    stored: &StoredDocument,
) -> Vec<Entry> {
    match pending(invoice, id) {
        Some(EffectKind::Document { .. }) => {
            vec![Entry::DocumentStored {
                effect: id.clone(),
                stored: stored.clone(),
            }]
        }
        _ => vec![],
    }
}

pub(super) fn complete_payment_link(
    invoice: &Invoice,
    id: &EffectId,
    link: &PaymentLink,
) -> Vec<Entry> {
    match pending(invoice, id) {
        Some(EffectKind::PaymentLink { .. }) => {
            vec![Entry::PaymentLinkCreated {
                effect: id.clone(),
                link: link.clone(),
            }]
        }
        _ => vec![],
    }
}

pub(super) fn complete_mail(invoice: &Invoice, id: &EffectId, message_id: &str) -> Vec<Entry> {
    let (effect, message_id) = (id.clone(), message_id.to_owned());
    match pending(invoice, id) {
        Some(EffectKind::Mail { .. }) => vec![Entry::MailSent { effect, message_id }],
        Some(EffectKind::UploadNotice { .. }) => vec![Entry::NoticeSent { effect, message_id }],
        _ => vec![],
    }
}

/// For an effect that leaves nothing behind but being done.
pub(super) fn complete(invoice: &Invoice, id: &EffectId) -> Vec<Entry> {
    match pending(invoice, id) {
        Some(EffectKind::ExpirePaymentLink { .. }) => {
            vec![Entry::PaymentLinkExpired { effect: id.clone() }]
        }
        _ => vec![],
    }
}

/// Tries again later, or gives up. A charge that surely was not made is not tried again once another
/// amount is due. When a page could not be taken down, the charges that waited for that are given up with
/// it.
pub(super) fn fail(
    invoice: &Invoice,
    id: &EffectId,
    error: &EffectError,
    retry_at: Timestamp,
    max_attempts: u32,
) -> Vec<Entry> {
    let Some(effect) = invoice.effect(id).filter(|effect| !effect.parked) else {
        return vec![];
    };
    let (id, mut error) = (id.clone(), error.clone());
    // Failing to ask again says nothing about an attempt whose reply was lost; a refusal does, as
    // the key is the same.
    let unknown_before = effect
        .last_error
        .as_ref()
        .is_some_and(|last| last.outcome_unknown);
    error.outcome_unknown |= unknown_before && !error.permanent && asks_provider(&effect.kind);
    let owing = matches!(invoice.status(), Status::Open | Status::Uncollectible);
    let needless = match effect.kind {
        EffectKind::Charge { amount, .. } => !owing || amount != invoice.due(),
        _ => false,
    };
    if needless && !error.outcome_unknown {
        let EffectError { code, detail, .. } = error;
        return vec![Entry::ChargeFailed {
            effect: id,
            code,
            detail,
        }];
    }
    let last = effect.attempts.saturating_add(1) >= max_attempts;
    if !(error.permanent || last) {
        return vec![Entry::EffectFailed {
            effect: id,
            error,
            retry_at,
        }];
    }
    let mut entries = Vec::new();
    if effect.is_closing() {
        entries.extend(invoice.charges_never_tried().map(|charge| {
            let detail = format!("the payment page could not be taken down: {}", error.detail);
            Entry::EffectParked {
                effect: charge.clone(),
                error: EffectError {
                    code: error.code.clone(),
                    detail,
                    permanent: false,
                    outcome_unknown: false,
                },
            }
        }));
    }
    entries.push(Entry::EffectParked { effect: id, error });
    entries
}

const fn asks_provider(kind: &EffectKind) -> bool {
    matches!(
        kind,
        EffectKind::Charge { .. } | EffectKind::PaymentLink { .. }
    )
}

/// Waits for room; what was not tried has not failed.
pub(super) fn postpone(invoice: &Invoice, id: &EffectId, until: Timestamp) -> Vec<Entry> {
    let waiting = invoice.effect(id).is_some_and(|effect| !effect.parked);
    if waiting {
        vec![Entry::EffectPostponed {
            effect: id.clone(),
            until,
        }]
    } else {
        vec![]
    }
}

/// Re-issues everything that was given up.
pub(super) fn retry(invoice: &Invoice) -> Vec<Entry> {
    let parked = invoice.effects.iter().filter(|effect| effect.parked);
    let effects: Vec<EffectId> = parked.map(|effect| effect.id.clone()).collect();
    if effects.is_empty() {
        vec![]
    } else {
        vec![Entry::EffectsRetried { effects }]
    }
}

fn pending<'a>(invoice: &'a Invoice, id: &EffectId) -> Option<&'a EffectKind> {
    invoice.effect(id).map(|effect| &effect.kind)
}
