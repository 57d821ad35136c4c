//! Judges a command against an invoice: facts, or a refusal. Pure.

use jiff::Timestamp;

use super::super::ids::InvoiceId;
use super::command::Command;
use super::entry::Entry;
use super::{Invoice, State};

mod closing;
mod delivery;
mod draft;
mod effects;
mod finalize;
mod payment;
mod refusal;

pub use super::step::{Step, step};
pub use draft::only_draft;
pub use refusal::Refusal;

/// What a command comes to: facts (none, if all is as asked already) or a refusal.
pub type Decision = Result<Vec<Entry>, Refusal>;

/// Judges `command`; `invoice` is `None` before the first entry.
pub fn decide(
    invoice: Option<&Invoice>,
    id: InvoiceId,
    command: &Command,
    now: Timestamp,
) -> Decision {
    use Command as C;
    let found = || {
        invoice
            .filter(|invoice| !matches!(invoice.state, State::Deleted { .. }))
            .ok_or(Refusal::NotFound)
    };
    match command {
        C::Create {
            organization,
            content,
            page_secret,
        } => draft::create(invoice, id, *organization, content, page_secret),
        C::Import {
            organization,
            content,
            page_secret,
            number,
            issued_on,
            format,
            notify,
        } => {
            let import = draft::Import {
                number,
                issued_on: *issued_on,
                format: *format,
                notify,
            };
            draft::import(invoice, id, *organization, content, page_secret, &import)
        }
        C::Edit { content } => draft::edit(found()?, content),
        C::Change { change } => draft::change(found()?, change),
        C::Delete => draft::delete(found()?),
        C::Finalize { issuer, send } => finalize::finalize(found()?, issuer, send.as_ref(), now),
        C::AssignNumber { effect, allocated } => {
            Ok(finalize::assign_number(found()?, effect, allocated))
        }
        C::Send { issuer, request } => delivery::send(found()?, issuer, request, now),
        C::Pay { payment_method } => payment::pay(found()?, payment_method),
        C::OfferPayment => payment::offer(found()?, now),
        C::RecordPayment {
            amount,
            method,
            received_on,
            reference,
        } => {
            let received = payment::Declared {
                amount: *amount,
                method,
                received_on: *received_on,
                reference,
            };
            payment::record(found()?, &received, now)
        }
        C::ReceiveProviderPayment {
            effect,
            payment,
            amount,
            method,
        } => payment::receive(found()?, effect.as_ref(), payment, *amount, method, now),
        C::FailCharge {
            effect,
            code,
            detail,
        } => Ok(payment::fail_charge(found()?, effect, code, detail)),
        C::Void { reason } => closing::void(found()?, reason.as_deref()),
        C::MarkUncollectible { reason } => closing::mark_uncollectible(found()?, reason.as_deref()),
        C::Retry => Ok(effects::retry(found()?)),
        C::Tick => Ok(delivery::tick(found()?, now)),
        C::View => Ok(closing::view(found()?)),
        C::RotatePageSecret { page_secret } => {
            Ok(closing::rotate_page_secret(found()?, page_secret))
        }
        C::ClaimEffect { effect } => Ok(effects::claim(found()?, effect)),
        C::CompleteDocument { effect, stored } => {
            Ok(effects::complete_document(found()?, effect, stored))
        }
        C::CompletePaymentLink { effect, link } => {
            Ok(effects::complete_payment_link(found()?, effect, link))
        }
        C::CompleteEffect { effect } => Ok(effects::complete(found()?, effect)),
        C::CompleteMail { effect, message_id } => {
            Ok(effects::complete_mail(found()?, effect, message_id))
        }
        C::PostponeEffect { effect, until } => Ok(effects::postpone(found()?, effect, *until)),
        C::FailEffect {
            effect,
            error,
            retry_at,
            max_attempts,
        } => Ok(effects::fail(
            found()?,
            effect,
            error,
            *retry_at,
            *max_attempts,
        )),
    }
}
