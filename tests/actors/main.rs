//! The supervision tree and the invoices in it, on a real store that can be made to fail.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test relies on ends the test"
)]

mod node;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use faktor::actors::invoices::ExecuteError;
use faktor::actors::root::TreeNode;
use faktor::clock::{Clock, new_uuid};
use faktor::domain::ids::{InvoiceId, OrganizationId};
use faktor::domain::invoice::command::Command;
use faktor::domain::invoice::decide::Refusal;
use faktor::domain::invoice::{Invoice, Status};
use faktor::outbound::mail::MailError;
use faktor::store::StoreError;
use futures_util::future::join_all;

use crate::node::{Node, eventually, finalize, pay, request, send};

#[tokio::test]
async fn a_thousand_parallel_payments_make_one_charge() {
    let node = Node::start().await;
    let id = node.open().await;
    let payments = (0..1_000).map(|_| node.run(id, pay("pm_ok")));
    let results = join_all(payments).await;
    let begun = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(begun, 1);
    assert!(
        results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .all(|error| matches!(
                error,
                ExecuteError::Refused(Refusal::PaymentInProgress | Refusal::AlreadyPaid)
            ))
    );
    node.until(id, |invoice| invoice.status() == Status::Paid)
        .await;
    assert_eq!(node.sandbox.charges(id).await.unwrap().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn numbers_of_parallel_finalizes_have_no_gap_and_no_double() {
    let node = Node::start().await;
    let opened = join_all((0..64).map(|_| node.open())).await;
    let mut numbers = BTreeSet::new();
    for id in opened {
        numbers.insert(node.invoice(id).await.issued().unwrap().number.clone());
    }
    let year = Clock::System.now().to_zoned(jiff::tz::TimeZone::UTC).year();
    let expected: BTreeSet<_> = (1..=64).map(|n| format!("{year}-{n:04}")).collect();
    assert_eq!(numbers, expected);
    node.stop().await;
}

#[tokio::test]
async fn a_number_is_never_given_up_because_its_series_is_away() {
    let node = Node::start().await;
    let id = node.draft().await;
    // More often than an effect outside is tried.
    node.series.away.store(10, Ordering::SeqCst);
    let executed = node.run(id, finalize()).await.unwrap();
    assert_eq!(executed.invoice.status(), Status::Finalizing);
    node.until(id, |invoice| invoice.status() == Status::Open)
        .await;
    node.stop().await;
}

#[tokio::test]
async fn a_panic_in_an_invoice_costs_that_one_request_and_nothing_else() {
    let node = Node::start().await;
    let (sick, healthy) = (node.draft().await, node.draft().await);
    *node.moody.panic_on.lock().unwrap() = Some(sick);
    // Without a key it can't be asked again safely, so its caller hears of the crash.
    let mut unkeyed = request(finalize());
    unkeyed.key = None;
    let crashed = node.invoices().execute(node.organization, sick, unkeyed);
    let others = join_all((0..20).map(|_| node.run(healthy, finalize())));
    let (crashed, others) = tokio::join!(crashed, others);
    assert!(matches!(crashed, Err(ExecuteError::Crashed)), "{crashed:?}");
    assert!(others.iter().any(Result::is_ok));
    let executed = node.run(sick, finalize()).await.unwrap();
    assert_eq!(executed.invoice.status(), Status::Open);
    node.stop().await;
}

#[tokio::test]
async fn a_keyed_request_survives_the_crash_of_its_actor() {
    let node = Node::start().await;
    let id = node.draft().await;
    *node.moody.panic_on.lock().unwrap() = Some(id);
    let executed = node.run(id, finalize()).await.unwrap();
    assert_eq!(executed.invoice.status(), Status::Open);
    node.stop().await;
}

#[tokio::test]
async fn commands_that_wait_behind_a_crash_are_carried_out() {
    let node = Node::start().await;
    let id = node.open().await;
    *node.moody.panic_on.lock().unwrap() = Some(id);
    let record = |n: i64| Command::RecordPayment {
        amount: faktor::domain::money::Money::new(n, "EUR".parse().unwrap()),
        method: "cash".to_owned(),
        received_on: None,
        reference: None,
    };
    let payments = join_all((1..=50).map(|n| node.run(id, record(n)))).await;
    assert!(payments.iter().all(Result::is_ok), "{payments:?}");
    let invoice = node.invoice(id).await;
    assert_eq!(invoice.payment.received.len(), 50, "each once");
    assert_eq!(invoice.paid().minor, (1..=50).sum::<i64>());
    node.stop().await;
}

/// With or without a key: whoever was begun can't be told that nothing was done, nor that it crashed.
#[tokio::test]
async fn a_stop_that_does_not_wait_says_whose_outcome_is_not_known() {
    let node = Node::start().await;
    let ids = [node.draft().await, node.draft().await];
    let before = node.moody.commits.load(Ordering::SeqCst);
    node.moody.hangs.store(true, Ordering::SeqCst);
    let ask = |id: InvoiceId, is_keyed: bool| {
        let (invoices, organization) = (node.invoices().clone(), node.organization);
        let mut request = request(finalize());
        request.key = request.key.filter(|_| is_keyed);
        tokio::spawn(async move { invoices.execute(organization, id, request).await })
    };
    let begun = [ask(ids[0], true), ask(ids[1], false)];
    eventually(|| node.moody.commits.load(Ordering::SeqCst) == before + 2).await;
    let behind = [ask(ids[0], true), ask(ids[1], false)];
    eventually(|| node.invoices().waiting() == 4).await;
    let invoices = node.invoices().clone();
    node.actors.stop(std::time::Duration::ZERO).await;

    for outcome in join_all(begun).await {
        let outcome = outcome.unwrap();
        assert!(
            matches!(outcome, Err(ExecuteError::Unreachable)),
            "{outcome:?}"
        );
    }
    let late = invoices.execute(node.organization, ids[0], request(finalize()));
    let mut untouched: Vec<_> = join_all(behind)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    untouched.push(late.await);
    for outcome in untouched {
        assert!(
            matches!(outcome, Err(ExecuteError::NotOwner)),
            "{outcome:?}"
        );
    }
    let read = invoices.get(node.organization, ids[0]).await;
    assert!(matches!(read, Err(ExecuteError::NotOwner)), "{read:?}");
    node.store.close().await.unwrap();
}

#[tokio::test]
async fn a_lost_write_race_is_judged_again_from_the_store() {
    let node = Node::start().await;
    let id = node.open().await;
    node.moody.lies.store(true, Ordering::SeqCst);
    // The first attempt was written though the store said otherwise: asked again, it is a repeat.
    let executed = node.run(id, pay("pm_ok")).await.unwrap();
    assert!(executed.replayed);
    node.until(id, |invoice| invoice.status() == Status::Paid)
        .await;
    assert_eq!(node.sandbox.charges(id).await.unwrap().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn what_was_committed_is_not_said_to_be_another_nodes() {
    let node = Node::start().await;
    let id = node.draft().await;
    node.moody.moved.store(true, Ordering::SeqCst);
    // Whoever hears that the owner is another node asks it for the same again.
    let begun = node.run(id, finalize()).await.unwrap();
    assert_eq!(begun.invoice.status(), Status::Finalizing);
    node.until(id, |invoice| invoice.status() == Status::Open)
        .await;
    node.stop().await;
}

#[tokio::test]
async fn a_full_disk_refuses_the_command_and_the_invoice_goes_on_afterwards() {
    let node = Node::start().await;
    let id = node.draft().await;
    node.moody.full.store(1, Ordering::SeqCst);
    let refused = node.run(id, finalize()).await;
    assert!(matches!(
        refused,
        Err(ExecuteError::Store(StoreError::Unavailable { .. }))
    ));
    assert_eq!(node.invoice(id).await.status(), Status::Draft);
    assert_eq!(
        node.run(id, finalize()).await.unwrap().invoice.status(),
        Status::Open
    );
    node.stop().await;
}

#[tokio::test]
async fn a_failing_mail_is_tried_again_then_parked_then_sent_by_an_operators_retry() {
    let node = Node::start().await;
    let error = MailError::Temporary {
        detail: "the server is busy".to_owned(),
    };
    node.mail.fail_next(3, &error);
    let id = node.open().await;
    node.run(id, send()).await.unwrap();
    let parked = node
        .until(id, |invoice| invoice.effects.iter().any(|e| e.parked))
        .await;
    assert_eq!(parked.effects.len(), 1);
    assert_eq!(parked.effects[0].attempts, 3);
    assert_eq!(node.mail.sent().len(), 0);
    node.run(id, Command::Retry).await.unwrap();
    node.until(id, |invoice| invoice.delivery.sent_at.is_some())
        .await;
    assert_eq!(node.mail.sent().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn a_mail_refused_for_good_is_parked_at_once_with_the_reason() {
    let node = Node::start().await;
    let error = MailError::Permanent {
        detail: "no such mailbox".to_owned(),
    };
    node.mail.fail_next(1, &error);
    let id = node.open().await;
    node.run(id, send()).await.unwrap();
    let parked = node
        .until(id, |invoice| invoice.effects.iter().any(|e| e.parked))
        .await;
    let last_error = parked.effects[0].last_error.as_ref().unwrap();
    assert_eq!(parked.effects[0].attempts, 1);
    assert!(
        last_error.detail.contains("no such mailbox"),
        "{last_error:?}"
    );
    node.stop().await;
}

#[tokio::test]
async fn two_sends_at_once_make_one_mail() {
    let node = Node::start().await;
    let id = node.open().await;
    let (first, second) = tokio::join!(node.run(id, send()), node.run(id, send()));
    assert!(first.is_ok() && second.is_ok());
    node.until(id, |invoice| invoice.effects.is_empty()).await;
    assert_eq!(node.mail.sent().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn a_lost_reply_ends_in_one_charge_and_a_paid_invoice() {
    let node = Node::start().await;
    let id = node.open().await;
    node.run(id, pay("pm_lost_reply")).await.unwrap();
    let paid = node
        .until(id, |invoice| invoice.status() == Status::Paid)
        .await;
    assert_eq!(paid.paid(), paid.totals.total);
    assert_eq!(node.sandbox.charges(id).await.unwrap().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn an_idle_invoice_leaves_memory_and_comes_back() {
    let clock = Clock::manual("2026-03-01T10:00:00Z".parse().unwrap());
    let node = Node::start_with(clock.clone(), |config| config.actors.idle_after_s = 60).await;
    let id = node.draft().await;
    assert_eq!(node.invoices().live_count(), 1);
    clock.advance_ms(61_000);
    eventually(|| node.invoices().live_count() == 0).await;
    assert_eq!(node.invoice(id).await.status(), Status::Draft);
    node.stop().await;
}

#[tokio::test]
async fn no_more_invoices_live_than_the_bound_and_each_still_answers() {
    let node = Node::start_with(Clock::System, |config| config.actors.max_live_invoices = 10).await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(node.draft().await);
    }
    eventually(|| node.invoices().live_count() <= 10).await;
    for id in ids {
        assert_eq!(node.invoice(id).await.status(), Status::Draft);
    }
    node.stop().await;
}

#[tokio::test]
async fn a_full_queue_says_busy_and_loses_nothing() {
    let node = Node::start_with(Clock::System, |config| {
        config.actors.max_waiting_per_invoice = 5;
    })
    .await;
    let id = node.open().await;
    let results = join_all((0..50).map(|_| node.run(id, Command::View))).await;
    let busy = results
        .iter()
        .filter(|r| matches!(r, Err(ExecuteError::Busy)))
        .count();
    assert_eq!(busy, 45, "five wait, the rest is told at once");
    assert!(node.run(id, pay("pm_ok")).await.is_ok());
    node.stop().await;
}

#[tokio::test]
async fn a_due_date_that_passes_makes_the_invoice_overdue() {
    let clock = Clock::manual("2026-03-01T10:00:00Z".parse().unwrap());
    let node = Node::start_with(clock.clone(), |_| {}).await;
    let id = node.open().await;
    let due_on = node.invoice(id).await.issued().unwrap().due_on;
    assert_eq!(due_on.to_string(), "2026-03-15");
    clock.advance_ms(15 * 24 * 3_600 * 1_000);
    let overdue = node.until(id, Invoice::is_overdue).await;
    assert_eq!(overdue.status(), Status::Open);
    node.stop().await;
}

#[tokio::test]
async fn another_organizations_invoice_is_not_found() {
    let node = Node::start().await;
    let id = node.draft().await;
    let stranger = OrganizationId::new(new_uuid());
    let result = node
        .invoices()
        .execute(stranger, id, request(Command::Delete))
        .await;
    assert!(matches!(
        result,
        Err(ExecuteError::Refused(Refusal::NotFound))
    ));
    let result = node.invoices().get(stranger, id).await;
    assert!(matches!(
        result,
        Err(ExecuteError::Refused(Refusal::NotFound))
    ));
    let nothing = InvoiceId::new(new_uuid());
    let result = node.invoices().get(node.organization, nothing).await;
    assert!(matches!(
        result,
        Err(ExecuteError::Refused(Refusal::NotFound))
    ));
    node.stop().await;
}

#[tokio::test]
async fn the_tree_has_every_part_and_all_shards() {
    let node = Node::start().await;
    let tree = node.actors.handle().tree();
    let names: Vec<_> = tree
        .children
        .iter()
        .map(|part| part.name.as_str())
        .collect();
    let parts = [
        "auth_cache",
        "pdf",
        "media",
        "mail",
        "payment",
        "outbox",
        "invoices",
        "inbox",
        "sweeper",
    ];
    assert_eq!(names, parts);
    let find = |name: &str| -> TreeNode {
        tree.children
            .iter()
            .find(|part| part.name == name)
            .unwrap()
            .clone()
    };
    assert_eq!(find("invoices").children[0].count, 256);
    assert!(find("pdf").children[0].count >= 1);
    node.stop().await;
}
