//! Charges by the API: idempotent, durable, and with the faults one can play.

use std::collections::HashSet;
use std::time::Duration;

use faktor::outbound::payment::sandbox::{ChargeStatus, SandboxProvider};
use faktor::outbound::payment::{ChargeOutcome, Payments, ProviderError};

use crate::setting::{charge, euros, invoice, options, payment_id, sandbox};

#[tokio::test]
async fn a_good_method_pays_and_a_declined_one_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let payments = Payments::Sandbox(sandbox(directory.path()));
    let paid = payments.charge(&charge("pm_ok", 1)).await.unwrap();
    assert!(
        matches!(&paid, ChargeOutcome::Succeeded { payment_id, method }
            if payment_id.starts_with("pi_") && method == "card"),
        "{paid:?}"
    );
    for (method, expected) in [
        ("pm_declined", "card_declined"),
        ("pm_unheard_of", "invalid_payment_method"),
    ] {
        let sequence = if method == "pm_declined" { 2 } else { 3 };
        let declined = payments.charge(&charge(method, sequence)).await.unwrap();
        assert!(
            matches!(&declined, ChargeOutcome::Declined { code, detail }
                if code == expected && !detail.is_empty()),
            "{declined:?}"
        );
    }
}

#[tokio::test]
async fn a_hundred_charges_at_once_with_one_key_are_one_charge() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = sandbox(directory.path());
    for (sequence, method) in [(1, "pm_ok"), (2, "pm_slow"), (3, "pm_declined")] {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let (sandbox, request) = (sandbox.clone(), charge(method, sequence));
            calls.spawn(async move { sandbox.charge(&request).await.unwrap() });
        }
        let outcomes: Vec<_> = calls.join_all().await;
        assert_eq!(outcomes.len(), 100);
        let different: HashSet<_> = outcomes.iter().map(|one| format!("{one:?}")).collect();
        assert_eq!(different.len(), 1, "{different:?}");
        let booked = sandbox.charges(invoice()).await.unwrap();
        assert_eq!(
            booked
                .iter()
                .filter(|one| one.payment_method == method)
                .count(),
            1
        );
    }
}

#[tokio::test]
async fn the_same_key_gives_the_same_charge_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let request = charge("pm_ok", 1);
    let first = sandbox(directory.path()).charge(&request).await.unwrap();
    // Not closed: as after a kill, the new one finds the file as the old one left it.
    let again = sandbox(directory.path());
    assert_eq!(again.charge(&request).await.unwrap(), first);
    let charges = again.charges(invoice()).await.unwrap();
    assert_eq!(charges.len(), 1);
    assert_eq!(
        (charges[0].amount, &charges[0].status),
        (euros(11_888), &ChargeStatus::Succeeded)
    );
}

#[tokio::test]
async fn the_same_key_with_another_amount_invoice_or_method_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = sandbox(directory.path());
    sandbox.charge(&charge("pm_ok", 1)).await.unwrap();
    let mut more = charge("pm_ok", 1);
    more.amount = euros(11_889);
    let mut dollars = charge("pm_ok", 1);
    dollars.amount.currency = "USD".parse().unwrap();
    for other in [more, dollars, charge("pm_declined", 1)] {
        let answer = sandbox.charge(&other).await;
        assert!(
            matches!(answer, Err(ProviderError::Rejected { .. })),
            "{answer:?}"
        );
    }
    assert_eq!(sandbox.charges(invoice()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn nothing_can_be_charged_that_is_not_more_than_zero() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = sandbox(directory.path());
    for cents in [0, -1] {
        let request = faktor::outbound::payment::ChargeRequest {
            amount: euros(cents),
            ..charge("pm_ok", 1)
        };
        let answer = sandbox.charge(&request).await;
        assert!(
            matches!(answer, Err(ProviderError::Rejected { .. })),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn an_outage_charges_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = sandbox(directory.path());
    for _ in 0..2 {
        let answer = sandbox.charge(&charge("pm_unavailable", 1)).await;
        assert!(
            matches!(answer, Err(ProviderError::Unavailable { .. })),
            "{answer:?}"
        );
    }
    assert!(sandbox.charges(invoice()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lost_reply_has_charged_once_and_the_repeated_key_tells_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut setting = options(directory.path());
    setting.timeout = Duration::from_millis(200);
    let request = charge("pm_lost_reply", 1);
    let first = SandboxProvider::open(setting)
        .unwrap()
        .charge(&request)
        .await;
    assert!(
        matches!(first, Err(ProviderError::OutcomeUnknown { .. })),
        "{first:?}"
    );
    // The charge goes on when its caller has gone; a repeat, also after a restart, finds it.
    let again = sandbox(directory.path());
    let outcome = loop {
        match again.charge(&request).await {
            Ok(outcome) => break outcome,
            Err(error) => assert!(matches!(error, ProviderError::OutcomeUnknown { .. })),
        }
    };
    let charges = again.charges(invoice()).await.unwrap();
    assert_eq!(charges.len(), 1);
    assert_eq!(charges[0].id, payment_id(outcome));
}

#[tokio::test]
async fn a_slow_charge_is_made_though_nobody_waits_for_it_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let mut setting = options(directory.path());
    setting.timeout = Duration::ZERO;
    let sandbox = SandboxProvider::open(setting).unwrap();
    let answer = sandbox.charge(&charge("pm_slow", 1)).await;
    assert!(
        matches!(answer, Err(ProviderError::OutcomeUnknown { .. })),
        "{answer:?}"
    );
    let wait = async {
        while sandbox.charges(invoice()).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_idle_sandbox_writes_no_books() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = sandbox(directory.path());
    assert!(sandbox.charges(invoice()).await.unwrap().is_empty());
    assert!(sandbox.session("cs_1").await.unwrap().is_none());
    sandbox.expire_link("cs_1").await.unwrap();
    assert!(!directory.path().join("sandbox.db").exists());
}

#[tokio::test]
async fn books_that_cannot_be_opened_are_an_outage_in_words() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("sandbox.db"), b"this is no database").unwrap();
    let answer = sandbox(directory.path()).charge(&charge("pm_ok", 1)).await;
    assert!(
        matches!(&answer, Err(ProviderError::Unavailable { detail }) if detail.contains("books")),
        "{answer:?}"
    );
}
