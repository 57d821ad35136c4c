//! Invoices that the tests and benchmarks of documents render.

use std::sync::Arc;

use faktor::domain::ids::{InvoiceId, OrganizationId};
use faktor::domain::invoice::{
    Allowance, AllowanceValue, Content, DeliveryState, DocumentState, Invoice, Issued, Line,
    Payment, PaymentState, Source, State,
};
use faktor::domain::money::Money;
use faktor::domain::party::{Address, Issuer, Locale, MailTexts, PageSize, Party, Rounding};
use faktor::domain::tax::{Tax, TaxCategory};
use faktor::domain::totals::Totals;
use faktor::render::RenderContext;
use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;
use uuid::Uuid;

pub(crate) fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

pub(crate) fn context() -> RenderContext {
    RenderContext {
        public_url: Some("https://invoices.example".to_owned()),
        sandbox: false,
        logo_png: None,
    }
}

pub(crate) fn line(
    description: &str,
    quantity: &str,
    unit: Option<&str>,
    price: &str,
    rate: &str,
) -> Line {
    Line {
        description: description.to_owned(),
        product: None,
        quantity: decimal(quantity),
        unit: unit.map(str::to_owned),
        unit_price: decimal(price),
        discount: None,
        tax: Tax::standard(decimal(rate)),
    }
}

pub(crate) fn issuer() -> Issuer {
    Issuer {
        legal_name: "Nordlicht Studio GmbH".to_owned(),
        address: Some(Address {
            line1: Some("Hafenstraße 12".to_owned()),
            city: Some("Hamburg".to_owned()),
            postal_code: Some("20457".to_owned()),
            country: Some("DE".to_owned()),
            ..Address::default()
        }),
        email: Some("billing@nordlicht.example".to_owned()),
        phone: None,
        tax_id: Some("DE287654321".to_owned()),
        registration: Some("HRB 12345, Amtsgericht Hamburg".to_owned()),
        iban: Some("DE89370400440532013000".to_owned()),
        bic: Some("COBADEFFXXX".to_owned()),
        logo: None,
    }
}

/// The example of API.md: 2.5 hours at 99.90 less 10 %, 5.00 off, 19 % tax: 261.54.
pub(crate) fn content() -> Content {
    let mut consulting = line("Consulting", "2.5", Some("hour"), "99.90", "19");
    consulting.discount = Some(Box::new(Allowance {
        value: AllowanceValue::Percent(decimal("10")),
        reason: None,
    }));
    Content {
        issuer: issuer(),
        customer: None,
        bill_to: Party {
            name: "Ada GmbH".to_owned(),
            email: Some("ap@ada.example".to_owned()),
            phone: None,
            tax_id: Some("DE123456789".to_owned()),
            address: Some(Address {
                line1: Some("Ring 1".to_owned()),
                city: Some("Berlin".to_owned()),
                postal_code: Some("10115".to_owned()),
                country: Some("DE".to_owned()),
                ..Address::default()
            }),
        },
        ship_to: None,
        currency: "EUR".parse().unwrap(),
        prices_include_tax: false,
        rounding: Rounding::PerRate,
        locale: Locale::En,
        page_size: PageSize::A4,
        purchase_order: Some("PO-7".to_owned()),
        reference: None,
        memo: None,
        payment_terms: None,
        due_in_days: 14,
        lines: vec![consulting],
        discounts: vec![Allowance {
            value: AllowanceValue::Amount(decimal("5.00")),
            reason: Some("loyalty".to_owned()),
        }],
        charges: vec![],
        metadata: std::collections::BTreeMap::new(),
        mail_texts: MailTexts::default(),
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn issued() -> Issued {
    Issued {
        number: "2026-0001".to_owned(),
        issued_on: Date::constant(2026, 11, 21),
        due_on: Date::constant(2026, 12, 5),
        finalized_at: at("2026-11-21T09:00:00Z"),
        overdue: false,
    }
}

pub(crate) fn invoice_of(content: Content, state: State) -> Invoice {
    let totals = Totals::of(&content).unwrap();
    Invoice {
        id: InvoiceId::new(Uuid::from_u128(0x0192_f0c1_a2b3_7c1e_8d5f_6a7b_8c9d_0e1f)),
        organization: OrganizationId::new(Uuid::from_u128(1)),
        version: 2,
        source: Source::Api,
        content: Arc::new(content),
        totals,
        state,
        payment: PaymentState::default(),
        document: DocumentState::default(),
        delivery: DeliveryState::default(),
        page_secret: "5ec4e7".repeat(5),
        first_viewed_at: None,
        effects: vec![],
        next_effect: 1,
        requests: vec![],
        created_at: at("2026-11-21T08:59:00Z"),
        updated_at: at("2026-11-21T09:00:00Z"),
    }
}

/// The example of API.md, issued.
pub(crate) fn open() -> Invoice {
    invoice_of(content(), State::Open { issued: issued() })
}

pub(crate) fn draft() -> Invoice {
    invoice_of(content(), State::Draft)
}

pub(crate) fn payment(invoice: &Invoice, minor: i64) -> Payment {
    Payment {
        amount: Money::new(minor, invoice.currency()),
        method: "bank_transfer".to_owned(),
        received_on: Date::constant(2026, 12, 3),
        recorded_at: at("2026-12-03T10:00:00Z"),
        reference: None,
        provider: None,
        charge: None,
    }
}

pub(crate) fn paid() -> Invoice {
    let mut invoice = open();
    invoice
        .payment
        .received
        .push(payment(&invoice, invoice.totals.total.minor));
    invoice.state = State::Paid {
        issued: issued(),
        paid_at: at("2026-12-03T10:00:00Z"),
    };
    invoice
}

pub(crate) fn void() -> Invoice {
    let mut invoice = open();
    invoice.state = State::Void {
        issued: issued(),
        voided_at: at("2026-11-22T10:00:00Z"),
        reason: None,
    };
    invoice
}

/// Everything an invoice can have, on one page.
pub(crate) fn rich(locale: Locale) -> Invoice {
    let mut content = content();
    content.locale = locale;
    content.ship_to = Some(Box::new(Party {
        name: "Ada Werkstatt".to_owned(),
        address: Some(Address {
            line1: Some("Tor 3".to_owned()),
            line2: Some("Gewerbehof am Kanal".to_owned()),
            city: Some("Potsdam".to_owned()),
            postal_code: Some("14467".to_owned()),
            country: Some("DE".to_owned()),
            ..Address::default()
        }),
        ..Party::default()
    }));
    content.reference = Some("Project Aurora".to_owned());
    content.lines.push(line(
        "Annual support plan with guaranteed response time, including updates, monitoring and a \
         named contact person for all sites",
        "1",
        None,
        "2400.00",
        "19",
    ));
    let mut book = line("Handbook, printed", "12", Some("piece"), "18.50", "7");
    book.product = Some("SKU-4711".to_owned());
    content.lines.push(book);
    let mut exempt = line("Training in Vienna", "2", Some("day"), "850.00", "0");
    exempt.tax = Tax {
        category: TaxCategory::AE,
        rate: Decimal::ZERO,
        exemption_reason: None,
    };
    content.lines.push(exempt);
    content.charges.push(Allowance {
        value: AllowanceValue::Amount(decimal("9.90")),
        reason: Some("express".to_owned()),
    });
    content.payment_terms =
        Some("Payable within 14 days without deduction. 2% discount within 7 days.".to_owned());
    content.memo = Some(
        "Thank you for working with us on the northern sites.\nThe next report follows in January."
            .to_owned(),
    );
    let mut invoice = invoice_of(content, State::Open { issued: issued() });
    invoice.payment.received.push(payment(&invoice, 50_000));
    invoice
}

/// An ordinary invoice with `lines` lines.
pub(crate) fn with_lines(lines: usize) -> Invoice {
    let mut content = content();
    content.lines = (1..=lines)
        .map(|at| {
            let price = format!("{}.{:02}", 10 + at * 7 % 900, at * 37 % 100);
            let quantity = format!("{}", 1 + at % 9);
            let description = format!(
                "Article {at:03}: replacement part for unit {}",
                at * 13 % 97
            );
            line(
                &description,
                &quantity,
                Some("piece"),
                &price,
                if at % 4 == 0 { "7" } else { "19" },
            )
        })
        .collect();
    content.memo = Some("Thank you for your order.".to_owned());
    invoice_of(content, State::Open { issued: issued() })
}

/// Two by one pixels: a red one, and a blue one that is half transparent.
#[rustfmt::skip]
pub(crate) const LOGO: &[u8] = &[
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 2, 0, 0, 0, 1, 8,
    6, 0, 0, 0, 244, 34, 127, 138, 0, 0, 0, 14, 73, 68, 65, 84, 120, 156, 99, 248, 207, 192,
    0, 66, 13, 0, 15, 122, 3, 126, 119, 233, 127, 151, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96,
    130,
];
