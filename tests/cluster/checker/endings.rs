//! Nothing is stuck: what was begun has ended, and left what it should.

use faktor::domain::invoice::effect::{EffectKind, PendingEffect};
use faktor::domain::invoice::{DeliveryStatus, DocumentStatus, Status};

use super::{Story, Violations};

/// The sandbox's bank that can't be reached: its charges never end.
const ENDLESS: &str = "pm_unavailable";

pub(super) fn check(story: &Story<'_>, violations: &mut Violations) {
    const RULE: &str = "nothing is stuck";
    let invoice = &story.found.snapshot;
    for effect in invoice.effects.iter().filter(|effect| !is_endless(effect)) {
        violations.note(RULE, format_args!("{}: {:?}", story.id, effect));
    }
    if invoice.status() == Status::Finalizing {
        violations.note(RULE, format_args!("{}: finalizing", story.id));
    }
    let document = invoice.document.status;
    if invoice.issued().is_some() && document != DocumentStatus::Ready {
        violations.note(RULE, format_args!("{}: document {document:?}", story.id));
    }
    let noted = invoice.document.stored.as_ref();
    let noted = noted.map(|stored| stored.sha256.as_str());
    if noted.is_some() && noted != story.found.document.as_deref() {
        violations.note(
            "a document is there as it was noted",
            format_args!("{}: {:?}", story.id, invoice.document.stored),
        );
    }
    let delivery = invoice.delivery.status;
    if !matches!(delivery, DeliveryStatus::None | DeliveryStatus::Sent) {
        violations.note(RULE, format_args!("{}: delivery {delivery:?}", story.id));
    }
}

fn is_endless(effect: &PendingEffect) -> bool {
    matches!(&effect.kind, EffectKind::Charge { payment_method, .. } if payment_method == ENDLESS)
}
