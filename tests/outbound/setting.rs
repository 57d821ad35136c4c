//! What the tests start from.

use std::path::Path;
use std::time::Duration;

use faktor::clock::Clock;
use faktor::domain::ids::{EffectId, InvoiceId, OrganizationId};
use faktor::domain::invoice::effect::EffectKindName;
use faktor::domain::money::Money;
use faktor::outbound::payment::sandbox::{SandboxOptions, SandboxProvider};
use faktor::outbound::payment::{ChargeOutcome, ChargeRequest, LinkRequest};
use uuid::Uuid;

pub(crate) const PUBLIC_URL: &str = "http://faktor.test";

/// A sandbox that answers fast and never waits long.
pub(crate) fn options(data_dir: &Path) -> SandboxOptions {
    SandboxOptions {
        timeout: Duration::from_secs(30),
        slow_for: Duration::from_millis(20),
        first_retry_delay: Duration::from_millis(1),
        ..SandboxOptions::new(data_dir, PUBLIC_URL, Clock::System)
    }
}

pub(crate) fn sandbox(data_dir: &Path) -> SandboxProvider {
    SandboxProvider::open(options(data_dir)).unwrap()
}

pub(crate) fn invoice() -> InvoiceId {
    InvoiceId::new(Uuid::from_u128(7))
}

pub(crate) fn euros(cents: i64) -> Money {
    Money::new(cents, "EUR".parse().unwrap())
}

pub(crate) fn effect(kind: EffectKindName, sequence: u32) -> EffectId {
    EffectId {
        invoice: invoice(),
        kind,
        sequence,
    }
}

/// A charge of 118.88 EUR; `sequence` makes the key.
pub(crate) fn charge(payment_method: &str, sequence: u32) -> ChargeRequest {
    ChargeRequest {
        effect: effect(EffectKindName::Charge, sequence),
        organization: OrganizationId::new(Uuid::from_u128(1)),
        invoice: invoice(),
        amount: euros(11_888),
        payment_method: payment_method.to_owned(),
        description: "Invoice 2026-0001".to_owned(),
        requested_at: "2026-11-21T09:00:00Z".parse().unwrap(),
    }
}

/// A checkout page for 118.88 EUR; `sequence` makes the key.
pub(crate) fn link(sequence: u32) -> LinkRequest {
    LinkRequest {
        effect: effect(EffectKindName::PaymentLink, sequence),
        organization: OrganizationId::new(Uuid::from_u128(1)),
        invoice: invoice(),
        amount: euros(11_888),
        description: "Invoice 2026-0001 <Ada & Söhne>".to_owned(),
        return_url: "http://shop.test/thanks?a=1&b=2".to_owned(),
    }
}

pub(crate) fn payment_id(outcome: ChargeOutcome) -> String {
    match outcome {
        ChargeOutcome::Succeeded { payment_id, .. } => payment_id,
        ChargeOutcome::Declined { code, .. } => panic!("declined: {code}"),
    }
}
