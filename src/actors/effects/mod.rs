//! Carries out pending effects through the pools and brings their results back as commands.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::time::{Duration, timeout};

use super::invoices::{ExecuteError, InvoicesHandle, WeakInvoices};
use crate::crash_point::crash_point;
use crate::domain::ids::EffectId;
use crate::domain::invoice::Invoice;
use crate::domain::invoice::command::{Command, Initiator};
use crate::domain::invoice::effect::{EffectError, EffectKind, EffectKindName, PendingEffect};
use crate::store::StoreError;

pub(super) use self::tools::EffectTools;
use self::tools::Failure;

mod tools;

/// An effect that takes longer is given up and tried again: the wait for a worker (a minute at most)
/// and the longest that handing over a mail may take, with room to spare.
const EFFECT_TIMEOUT: Duration = Duration::from_mins(3);

/// Runs effects. Cheap to clone.
#[derive(Clone)]
pub(super) struct EffectRunner {
    inner: Arc<Inner>,
}

struct Inner {
    tools: EffectTools,
    invoices: WeakInvoices,
    /// Under way in this process, whatever happens to their invoice's actor meanwhile.
    running: DashMap<EffectId, ()>,
}

impl EffectRunner {
    pub(super) fn new(tools: EffectTools, invoices: WeakInvoices) -> Self {
        Self {
            inner: Arc::new(Inner {
                tools,
                invoices,
                running: DashMap::new(),
            }),
        }
    }

    /// Starts what is due and not under way yet.
    pub(super) fn start(&self, invoice: &Arc<Invoice>) {
        if invoice.effects.is_empty() {
            return;
        }
        let now = self.inner.tools.clock.now();
        for effect in invoice.due_effects(now) {
            if effect.kind.name() == EffectKindName::Number
                || self.inner.running.insert(effect.id.clone(), ()).is_some()
            {
                continue;
            }
            let guard = Running {
                inner: Arc::clone(&self.inner),
                effect: effect.id.clone(),
            };
            let attempt = Attempt {
                invoice: Arc::clone(invoice),
                effect: effect.clone(),
            };
            tokio::spawn(run(guard, attempt));
        }
    }

    pub(super) fn is_running(&self, invoice: &Invoice) -> bool {
        invoice
            .effects
            .iter()
            .any(|effect| self.inner.running.contains_key(&effect.id))
    }

    /// Effects under way.
    pub(super) fn running(&self) -> u64 {
        self.inner.running.len() as u64
    }

    /// The command that notes that no number could be allocated, with the time of the next attempt.
    pub(super) fn unnumbered(&self, effect: &PendingEffect, error: &StoreError) -> Command {
        self.inner.tools.unnumbered(effect, error)
    }
}

/// An attempt at an effect, with the invoice as it was when the attempt began.
struct Attempt {
    invoice: Arc<Invoice>,
    effect: PendingEffect,
}

/// Marks an effect as under way until dropped, whatever ends it.
struct Running {
    inner: Arc<Inner>,
    effect: EffectId,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.inner.running.remove(&self.effect);
    }
}

async fn run(guard: Running, attempt: Attempt) {
    let Attempt { invoice, effect } = &attempt;
    let inner = Arc::clone(&guard.inner);
    let Some(invoices) = inner.invoices.upgrade() else {
        return;
    };
    if needs_claim(effect) {
        match inner.claim(&invoices, effect).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(effect.id = %effect.id, %error, "an attempt could not be noted, so it was not made; tried again later");
                return;
            }
        }
    }
    crash_point("before_effect", Some(effect.kind.name().name()));
    let performed = timeout(EFFECT_TIMEOUT, inner.tools.perform(invoice, effect)).await;
    crash_point("after_effect", Some(effect.kind.name().name()));
    let result = performed.unwrap_or_else(|_| Err(Failure::Failed(timed_out())));
    let command = inner.tools.result_command(effect, result);
    let by = inner.tools.initiator(&command);
    if let Err(error) = invoices
        .execute_internal(invoice.id, command, by, &effect.request_id)
        .await
    {
        tracing::warn!(effect.id = %effect.id, %error, "an effect's result could not be noted; the effect is repeated with the same key");
    }
    // Only now may this effect be started again.
    drop(guard);
}

/// A mail can't be made idempotent by its receiver, so the attempt itself is persisted first.
const fn needs_claim(effect: &PendingEffect) -> bool {
    matches!(
        effect.kind,
        EffectKind::Mail { .. } | EffectKind::UploadNotice { .. }
    ) && !effect.claimed
}

fn timed_out() -> EffectError {
    EffectError {
        code: "timed_out".to_owned(),
        detail: format!("not done within {} s", EFFECT_TIMEOUT.as_secs()),
        permanent: false,
        outcome_unknown: true,
    }
}

impl Inner {
    /// False: the effect was dropped before its attempt began, as those of an invoice that was voided.
    async fn claim(
        &self,
        invoices: &InvoicesHandle,
        effect: &PendingEffect,
    ) -> Result<bool, ExecuteError> {
        let command = Command::ClaimEffect {
            effect: effect.id.clone(),
        };
        let id = effect.id.invoice;
        let claimed = invoices
            .execute_internal(id, command, Initiator::System, &effect.request_id)
            .await?;
        let claimed = claimed.invoice.effect(&effect.id);
        Ok(claimed.is_some_and(|effect| effect.claimed))
    }
}
