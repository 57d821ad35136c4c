//! Effects: scheduled with a name of their own, failed, tried again, dropped; and the documents
//! among them.

use jiff::Timestamp;

use super::super::super::ids::EffectId;
use super::super::effect::{EffectError, EffectKind, PendingEffect};
use super::super::{
    DeliveryStatus, DocumentFormat, DocumentStatus, Invoice, Source, StoredDocument,
};

impl Invoice {
    pub(super) fn schedule(&mut self, kind: EffectKind, at: Timestamp) {
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
            request_id: Box::default(),
            attempts: 0,
            next_attempt_at: at,
            claimed: false,
            last_error: None,
            parked: false,
        });
    }

    pub(super) fn schedule_document(&mut self, at: Timestamp) {
        let format = match self.source {
            Source::Api => DocumentFormat::Pdf,
            Source::Upload { format } => format,
        };
        self.schedule(EffectKind::Document { format }, at);
    }

    /// A document of a later state stands for those of earlier ones that are still under way.
    pub(super) fn store_document(&mut self, effect: &EffectId, stored: &StoredDocument) {
        self.effects.retain(|other| {
            let document = matches!(other.kind, EffectKind::Document { .. });
            !document || other.id.sequence > effect.sequence
        });
        self.document.stored = Some(stored.clone());
    }

    pub(super) fn document_status(&self) -> DocumentStatus {
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

    pub(super) fn effect_failed(
        &mut self,
        id: &EffectId,
        error: &EffectError,
        retry_at: Option<Timestamp>,
    ) {
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

    pub(super) fn retry_effects(&mut self, effects: &[EffectId], at: Timestamp) {
        let (mut mail, mut charge) = (false, false);
        for effect in self
            .effects
            .iter_mut()
            .filter(|effect| effects.contains(&effect.id))
        {
            effect.begin_anew(at);
            mail |= matches!(effect.kind, EffectKind::Mail { .. });
            charge |= matches!(effect.kind, EffectKind::Charge { .. });
        }
        if charge {
            self.close_page(at);
        }
        if mail {
            self.expect_delivery();
        }
    }

    pub(super) fn effect_mut(&mut self, id: &EffectId) -> Option<&mut PendingEffect> {
        self.effects.iter_mut().find(|effect| effect.id == *id)
    }

    pub(super) fn drop_effect(&mut self, id: &EffectId) {
        self.effects.retain(|effect| effect.id != *id);
    }
}
