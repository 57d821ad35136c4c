//! Invoices and commits of a realistic size, for the store's tests and benchmark.

use std::sync::Arc;

use faktor::clock;
use faktor::domain::ids::{CustomerId, EventId, InvoiceId, OrganizationId, UserId};
use faktor::domain::invoice::command::{Initiator, SendOrder};
use faktor::domain::invoice::entry::{Entry, Recorded};
use faktor::domain::invoice::event::PublicEvent;
use faktor::domain::invoice::{
    Content, DeliveryState, DocumentState, Invoice, Issued, Line, PaymentState, ScheduledSend,
    Source, State,
};
use faktor::domain::money::{Currency, Money};
use faktor::domain::party::{
    Address, Issuer, Locale, MailTexts, Metadata, Organization, PageSize, Party, Rounding,
};
use faktor::domain::tax::{Tax, TaxCategory};
use faktor::domain::totals::{LineTotals, TaxSubtotal, Totals};
use faktor::store::{Commit, Epoch};
use jiff::civil::{Date, date};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

pub(crate) const LINES: usize = 10;

pub(crate) fn new_organization() -> OrganizationId {
    OrganizationId::new(clock::new_uuid())
}

/// Noon of a day, and so many milliseconds.
pub(crate) fn at(milliseconds: i64) -> Timestamp {
    noon(date(2026, 3, 1)) + SignedDuration::from_millis(milliseconds)
}

pub(crate) fn noon(day: Date) -> Timestamp {
    day.at(12, 0, 0, 0)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .unwrap()
        .timestamp()
}

pub(crate) fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

/// An organization that numbers its invoices `2026-0001`.
pub(crate) fn organization(id: OrganizationId) -> Organization {
    Organization {
        id,
        version: 1,
        issuer: issuer(),
        locale: Locale::De,
        page_size: PageSize::A4,
        currency: currency("EUR"),
        number_pattern: "{YYYY}-{0000}".to_owned(),
        due_in_days: 14,
        payment_terms: None,
        rounding: Rounding::PerRate,
        default_tax: Tax::standard(19.into()),
        mail_texts: MailTexts::default(),
        created_at: at(0),
        updated_at: at(0),
    }
}

fn issuer() -> Issuer {
    Issuer {
        legal_name: "Rechenwerk GmbH".to_owned(),
        address: Some(address()),
        email: Some("office@rechenwerk.example".to_owned()),
        tax_id: Some("DE123456789".to_owned()),
        iban: Some("DE89370400440532013000".to_owned()),
        ..Issuer::default()
    }
}

fn address() -> Address {
    Address {
        line1: Some("Ring 1".to_owned()),
        city: Some("Berlin".to_owned()),
        postal_code: Some("10115".to_owned()),
        country: Some("DE".to_owned()),
        ..Address::default()
    }
}

fn content() -> Content {
    let line = |number: usize| Line {
        description: format!("Consulting on the migration of the archive, part {number}"),
        product: Some(format!("SKU-{number:04}")),
        quantity: "2.5".parse().unwrap(),
        unit: Some("hour".to_owned()),
        unit_price: "99.90".parse().unwrap(),
        discount: None,
        tax: Tax::standard(19.into()),
    };
    Content {
        issuer: issuer(),
        customer: None,
        bill_to: Party {
            name: "Ada Werke AG".to_owned(),
            email: Some("ap@ada.example".to_owned()),
            tax_id: Some("DE987654321".to_owned()),
            address: Some(address()),
            ..Party::default()
        },
        ship_to: None,
        currency: currency("EUR"),
        prices_include_tax: false,
        rounding: Rounding::PerRate,
        locale: Locale::De,
        page_size: PageSize::A4,
        purchase_order: Some("PO-7".to_owned()),
        reference: None,
        memo: Some("Thank you for your trust.".to_owned()),
        payment_terms: None,
        due_in_days: 14,
        lines: (1..=LINES).map(line).collect(),
        discounts: Vec::new(),
        charges: Vec::new(),
        metadata: Metadata::default(),
        mail_texts: MailTexts::default(),
    }
}

fn totals(lines: usize, currency: Currency) -> Totals {
    let count = i64::try_from(lines).unwrap();
    let money = |minor: i64| Money::new(minor, currency);
    let line = LineTotals {
        before_discount: money(24_975),
        amount: money(24_975),
        net: money(24_975),
    };
    let (net, tax) = (24_975 * count, 4_745 * count);
    Totals {
        lines: vec![line; lines],
        lines_net: money(net),
        discount: money(0),
        charge: money(0),
        net: money(net),
        taxes: vec![TaxSubtotal {
            category: TaxCategory::S,
            rate: 19.into(),
            base: money(net),
            amount: money(tax),
            exemption_reason: None,
        }],
        tax: money(tax),
        total: money(net + tax),
    }
}

/// A draft of ten lines at version 1.
pub(crate) fn draft(organization: OrganizationId) -> Invoice {
    Invoice {
        id: InvoiceId::new(clock::new_uuid()),
        organization,
        version: 1,
        source: Source::Api,
        content: Arc::new(content()),
        totals: totals(LINES, currency("EUR")),
        state: State::Draft,
        payment: PaymentState::default(),
        document: DocumentState::default(),
        delivery: DeliveryState::default(),
        page_secret: "0123456789abcdef".to_owned(),
        first_viewed_at: None,
        effects: Vec::new(),
        next_effect: 1,
        requests: Vec::new(),
        created_at: at(0),
        updated_at: at(0),
    }
}

pub(crate) fn for_customer(mut invoice: Invoice, customer: CustomerId) -> Invoice {
    invoice.content_mut().customer = Some(customer);
    invoice
}

pub(crate) fn issued(number: &str, issued_on: Date, overdue: bool) -> Issued {
    Issued {
        number: number.to_owned(),
        issued_on,
        due_on: issued_on,
        finalized_at: at(1),
        overdue,
    }
}

/// Asks to be woken at a time, by a send that waits for it.
pub(crate) fn waking(mut invoice: Invoice, wake_at: Timestamp) -> Invoice {
    let order = SendOrder {
        to: vec!["ap@ada.example".to_owned()],
        cc: Vec::new(),
        message: None,
    };
    invoice.delivery.scheduled = Some(Box::new(ScheduledSend { at: wake_at, order }));
    invoice
}

/// The commit that brings a new invoice to the store.
pub(crate) fn creation(invoice: &Invoice) -> Commit {
    let entry = Entry::Edited {
        content: Arc::clone(&invoice.content),
    };
    commit_of(invoice.clone(), None, entry)
}

/// The commit that changes an invoice by one entry.
pub(crate) fn change(before: &Invoice, change: impl FnOnce(&mut Invoice)) -> Commit {
    let mut after = before.clone();
    after.version += 1;
    change(&mut after);
    commit_of(after, Some(before), Entry::Viewed)
}

fn commit_of(invoice: Invoice, before: Option<&Invoice>, entry: Entry) -> Commit {
    let recorded = Recorded {
        version: invoice.version,
        at: invoice.updated_at,
        by: Initiator::User(UserId::new(Uuid::from_u128(7))),
        request_id: "req_0123456789abcdef".to_owned(),
        entry,
        request: None,
    };
    let event = event(&invoice);
    Commit {
        invoice: Arc::new(invoice),
        before: before.cloned().map(Arc::new),
        epoch: Epoch(1),
        recorded: vec![recorded],
        events: vec![event],
    }
}

/// The event of an invoice's present version.
pub(crate) fn event(invoice: &Invoice) -> PublicEvent {
    let id = invoice.id.uuid().as_u128() ^ (u128::from(invoice.version) << 64);
    PublicEvent {
        id: EventId::new(Uuid::from_u128(id)),
        kind: "invoice.updated".to_owned(),
        organization: invoice.organization,
        invoice: invoice.id,
        version: invoice.version,
        time: invoice.updated_at,
        data: serde_json::json!({ "id": invoice.id, "version": invoice.version }),
    }
}
