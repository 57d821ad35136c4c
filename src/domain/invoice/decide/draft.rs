//! Making an invoice, and what can be done to a draft.

use std::sync::Arc;

use jiff::civil::Date;

use super::super::super::ids::{InvoiceId, OrganizationId};
use super::super::super::money::Money;
use super::super::super::totals::Totals;
use super::super::change::ContentChange;
use super::super::command::AllocatedNumber;
use super::super::entry::Entry;
use super::super::{Content, DocumentFormat, Invoice, Source, Status, validate};
use super::finalize::finalized;
use super::{Decision, Refusal};

pub(super) fn create(
    invoice: Option<&Invoice>,
    id: InvoiceId,
    organization: OrganizationId,
    content: &Arc<Content>,
    page_secret: &str,
) -> Decision {
    if invoice.is_some() {
        return Err(Refusal::AlreadyExists);
    }
    Ok(vec![created(
        id,
        organization,
        Source::Api,
        content,
        page_secret,
    )?])
}

fn created(
    id: InvoiceId,
    organization: OrganizationId,
    source: Source,
    content: &Arc<Content>,
    page_secret: &str,
) -> Result<Entry, Refusal> {
    let content = validate::normalized(content);
    validate::content(&content)?;
    Ok(Entry::Created {
        id,
        organization,
        source,
        content,
        page_secret: page_secret.to_owned(),
    })
}

/// What an uploaded file says beside its content.
pub(super) struct Import<'a> {
    pub(super) number: &'a str,
    pub(super) issued_on: Date,
    pub(super) format: DocumentFormat,
    pub(super) notify: &'a Option<String>,
}

/// An uploaded invoice comes issued: with a number of its own, its content fixed.
pub(super) fn import(
    invoice: Option<&Invoice>,
    id: InvoiceId,
    organization: OrganizationId,
    content: &Arc<Content>,
    page_secret: &str,
    import: &Import<'_>,
) -> Decision {
    if invoice.is_some() {
        return Err(Refusal::AlreadyExists);
    }
    let source = Source::Upload {
        format: import.format,
    };
    let created = created(id, organization, source, content, page_secret)?;
    validate::import(content, import.number, import.notify.as_deref())?;

    let total = Totals::of(content).map_or(Money::zero(content.currency), |totals| totals.total);
    let allocated = AllocatedNumber {
        number: import.number.to_owned(),
        issued_on: import.issued_on,
    };
    let mut entries = vec![created];
    entries.extend(finalized(content, total, &allocated));
    entries.extend(
        import
            .notify
            .clone()
            .map(|to| Entry::NoticeRequested { to }),
    );
    Ok(entries)
}

/// Replaces all but the issuer, which is the organization's and is refreshed when finalizing.
pub(super) fn edit(invoice: &Invoice, content: &Arc<Content>) -> Decision {
    only_draft(invoice)?;
    let mut content = validate::normalized(content);
    if content.issuer != invoice.content.issuer {
        let issuer = &mut Arc::make_mut(&mut content).issuer;
        issuer.clone_from(&invoice.content.issuer);
    }
    if content == invoice.content {
        return Ok(vec![]);
    }
    validate::content(&content)?;
    Ok(vec![Entry::Edited { content }])
}

/// Replaces parts of the content.
pub(super) fn change(invoice: &Invoice, change: &ContentChange) -> Decision {
    only_draft(invoice)?;
    let present = Content::clone(&invoice.content);
    edit(invoice, &Arc::new(change.clone().over(present)))
}

pub(super) fn delete(invoice: &Invoice) -> Decision {
    only_draft(invoice)?;
    Ok(vec![Entry::Deleted])
}

/// Refuses what only a draft allows.
pub fn only_draft(invoice: &Invoice) -> Result<(), Refusal> {
    match invoice.status() {
        Status::Draft => Ok(()),
        Status::Finalizing => Err(Refusal::Finalizing),
        status => Err(Refusal::InvoiceNotDraft { status }),
    }
}
