//! A no has a reason that held after all that was acknowledged before it was asked: who answers from a
//! state that is over is not the owner.

use faktor::domain::invoice::{Invoice, Status};

use super::{Story, Violations};
use crate::recording::{Operation, Reply};

/// `known`: the version that had been shown when the refused attempt began.
pub(super) fn check(
    story: &Story<'_>,
    operation: &Operation,
    known: u64,
    violations: &mut Violations,
) {
    let Some(Reply::Refused { code, .. }) = operation.attempts.last().map(|last| &last.reply)
    else {
        return;
    };
    let holds = |state: &Invoice| reason_holds(code, state);
    let since = story.states.iter().filter(|state| state.version >= known);
    if !since.into_iter().any(holds) {
        violations.note(
            "a refusal has a reason that still held",
            format_args!("{operation}: not since version {known}"),
        );
    }
}

fn reason_holds(code: &str, state: &Invoice) -> bool {
    let status = state.status();
    match code {
        "not_found" => status == Status::Deleted,
        "invoice_not_draft" => status != Status::Draft,
        "draft_not_voidable" | "invoice_not_open" => status == Status::Draft,
        "already_paid" => status == Status::Paid || !state.due().is_positive(),
        "already_void" => status == Status::Void,
        "invoice_finalizing" => status == Status::Finalizing,
        "payment_in_progress" => state.charge_in_flight().is_some(),
        "invoice_has_payments" => !state.payment.received.is_empty(),
        // Of these nothing can be said from the state alone.
        _ => true,
    }
}
