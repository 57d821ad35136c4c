//! Fills an invoice's representation.

use super::{
    AllowanceBody, DeliveryBody, DocumentBody, EffectErrorBody, FailureBody, InvoiceBody, LineBody,
    Links, PaymentBody, PaymentReceivedBody, PendingBody, StoredBody, TaxBody, TaxSubtotalBody,
    TotalsBody, page_url,
};
use crate::domain::invoice::effect::{EffectError, PendingEffect};
use crate::domain::invoice::{
    Allowance, AllowanceValue, DocumentFormat, FailedCharge, Invoice, Line, Payment, Source, State,
};
use crate::domain::money::Currency;
use crate::domain::tax::Tax;
use crate::domain::totals::{LineTotals, TaxSubtotal};
use crate::http::show::{Amount, At, Number, Text};

/// The invoice as the API shows it.
pub fn representation<'a>(invoice: &'a Invoice, links: Links<'_>) -> InvoiceBody<'a> {
    let content = &invoice.content;
    let currency = invoice.currency();
    let issued = invoice.issued();
    let (paid_at, voided_at, marked_at) = match invoice.state {
        State::Paid { paid_at, .. } => (Some(At(paid_at)), None, None),
        State::Void { voided_at, .. } => (None, Some(At(voided_at)), None),
        State::Uncollectible { marked_at, .. } => (None, None, Some(At(marked_at))),
        _ => (None, None, None),
    };
    InvoiceBody {
        id: invoice.id,
        object: "invoice",
        version: invoice.version,
        status: invoice.status(),
        number: issued.map(|issued| issued.number.as_str()),
        source: match invoice.source {
            Source::Api => "api",
            Source::Upload { .. } => "upload",
        },
        issuer: &content.issuer,
        customer: content.customer,
        bill_to: &content.bill_to,
        ship_to: content.ship_to.as_deref(),
        currency,
        prices_include_tax: content.prices_include_tax,
        rounding: content.rounding,
        locale: content.locale,
        page_size: content.page_size,
        purchase_order: content.purchase_order.as_deref(),
        reference: content.reference.as_deref(),
        memo: content.memo.as_deref(),
        payment_terms: content.payment_terms.as_deref(),
        due_in_days: content.due_in_days,
        lines: content
            .lines
            .iter()
            .enumerate()
            .map(|(at, line)| show_line(at, line, invoice.totals.lines.get(at), currency))
            .collect(),
        discounts: show_allowances(&content.discounts, currency),
        charges: show_allowances(&content.charges, currency),
        metadata: &content.metadata,
        totals: show_totals(invoice),
        payment: show_payment(invoice),
        document: show_document(invoice),
        delivery: show_delivery(invoice),
        pending: invoice.effects.iter().map(show_pending).collect(),
        overdue: invoice.is_overdue(),
        page_url: issued.map(|_| page_url(invoice, links)),
        created_at: At(invoice.created_at),
        updated_at: At(invoice.updated_at),
        issued_on: issued.map(|issued| issued.issued_on),
        due_on: issued.map(|issued| issued.due_on),
        finalized_at: issued.map(|issued| At(issued.finalized_at)),
        paid_at,
        voided_at,
        marked_uncollectible_at: marked_at,
        first_viewed_at: invoice.first_viewed_at.map(At),
    }
}

fn show_line<'a>(
    at: usize,
    line: &'a Line,
    totals: Option<&LineTotals>,
    currency: Currency,
) -> LineBody<'a> {
    LineBody {
        id: Text(at + 1),
        description: &line.description,
        product: line.product.as_deref(),
        quantity: Number(line.quantity),
        unit: line.unit.as_deref(),
        unit_price: Amount(line.unit_price, currency),
        discount: line
            .discount
            .as_ref()
            .map(|discount| show_allowance(discount, currency)),
        tax: show_tax(&line.tax),
        amount: totals.map(|totals| Text(totals.amount)),
        net: totals.map(|totals| Text(totals.net)),
    }
}

fn show_tax(tax: &Tax) -> TaxBody<'_> {
    TaxBody {
        category: tax.category,
        rate: Number(tax.rate),
        exemption_reason: tax.exemption_reason.as_deref(),
    }
}

fn show_allowances(allowances: &[Allowance], currency: Currency) -> Vec<AllowanceBody<'_>> {
    allowances
        .iter()
        .map(|allowance| show_allowance(allowance, currency))
        .collect()
}

fn show_allowance(allowance: &Allowance, currency: Currency) -> AllowanceBody<'_> {
    let (percent, amount) = match allowance.value {
        AllowanceValue::Percent(percent) => (Some(Number(percent)), None),
        AllowanceValue::Amount(amount) => (None, Some(Amount(amount, currency))),
    };
    AllowanceBody {
        percent,
        amount,
        reason: allowance.reason.as_deref(),
    }
}

fn show_totals(invoice: &Invoice) -> TotalsBody<'_> {
    let totals = &invoice.totals;
    TotalsBody {
        lines_net: Text(totals.lines_net),
        discount: Text(totals.discount),
        charge: Text(totals.charge),
        net: Text(totals.net),
        taxes: totals.taxes.iter().map(show_tax_subtotal).collect(),
        tax: Text(totals.tax),
        total: Text(totals.total),
        paid: Text(invoice.paid()),
        due: Text(invoice.due()),
    }
}

fn show_tax_subtotal(row: &TaxSubtotal) -> TaxSubtotalBody<'_> {
    TaxSubtotalBody {
        category: row.category,
        rate: Number(row.rate),
        base: Text(row.base),
        amount: Text(row.amount),
        exemption_reason: row.exemption_reason.as_deref(),
    }
}

fn show_payment(invoice: &Invoice) -> PaymentBody<'_> {
    let payment = &invoice.payment;
    let link = payment.link.as_deref();
    PaymentBody {
        status: invoice.payment_status(),
        url: link
            .filter(|link| link.active)
            .map(|link| link.url.as_str()),
        provider: link.map(|link| link.provider.as_str()),
        received: payment.received.iter().map(show_received).collect(),
        last_failure: payment.last_failure.as_deref().map(show_failure),
    }
}

fn show_received(payment: &Payment) -> PaymentReceivedBody<'_> {
    let provider = payment.provider.as_ref();
    PaymentReceivedBody {
        amount: Text(payment.amount),
        method: &payment.method,
        received_on: payment.received_on,
        recorded_at: At(payment.recorded_at),
        reference: payment.reference.as_deref(),
        provider: provider.map(|provider| provider.provider.as_str()),
        provider_payment: provider.map(|provider| provider.id.as_str()),
    }
}

fn show_failure(failure: &FailedCharge) -> FailureBody<'_> {
    FailureBody {
        code: &failure.code,
        detail: &failure.detail,
        at: At(failure.at),
    }
}

fn show_document(invoice: &Invoice) -> DocumentBody<'_> {
    let of = |format: DocumentFormat| {
        let stored = invoice
            .document
            .stored
            .as_ref()
            .filter(|stored| stored.format == format)?;
        Some(StoredBody {
            sha256: &stored.sha256,
            bytes: stored.bytes,
        })
    };
    DocumentBody {
        status: invoice.document.status,
        pdf: of(DocumentFormat::Pdf),
        xlsx: of(DocumentFormat::Xlsx),
        csv: of(DocumentFormat::Csv),
        json: of(DocumentFormat::Json),
    }
}

fn show_delivery(invoice: &Invoice) -> DeliveryBody<'_> {
    let delivery = &invoice.delivery;
    let scheduled = delivery.scheduled.as_ref();
    let order = scheduled
        .map(|scheduled| &scheduled.order)
        .or(delivery.order.as_ref());
    DeliveryBody {
        status: delivery.status,
        to: order.map_or(&[], |order| &order.to),
        cc: order.map_or(&[], |order| &order.cc),
        sent_at: delivery.sent_at.map(At),
        scheduled_at: scheduled.map(|scheduled| At(scheduled.at)),
        message_id: delivery.message_id.as_deref(),
        problems: &delivery.problems,
    }
}

fn show_pending(effect: &PendingEffect) -> PendingBody<'_> {
    PendingBody {
        kind: effect.kind.name(),
        attempts: effect.attempts,
        next_attempt_at: (!effect.parked).then_some(At(effect.next_attempt_at)),
        last_error: effect.last_error.as_ref().map(show_effect_error),
        parked: effect.parked,
    }
}

fn show_effect_error(error: &EffectError) -> EffectErrorBody<'_> {
    EffectErrorBody {
        code: &error.code,
        detail: &error.detail,
    }
}
