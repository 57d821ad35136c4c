use std::time::Duration;

use faktor::domain::invoice::command::{AllocatedNumber, Initiator};
use faktor::domain::invoice::{Invoice, State};
use faktor::store::{Commit, StoreError, Stores};
use futures_util::future::join_all;
use jiff::civil::date;

use crate::database::{PATIENCE, TestDatabase, stores};
use crate::proxy::Proxy;
use crate::sample::{change, creation, draft, issued, new_organization, organization};

/// A database, the wire to it, and a node at its end.
async fn wired(patience: Duration) -> Option<(TestDatabase, Proxy, Stores)> {
    let database = TestDatabase::new().await?;
    let proxy = Proxy::before(&database.url).await;
    let stores = stores(&proxy.url, database.relational().await, patience).await;
    proxy.commands();
    Some((database, proxy, stores))
}

/// The versions in the history, and those of the feed.
async fn versions(stores: &Stores, invoice: &Invoice) -> (Vec<u64>, Vec<u64>) {
    while stores.feed.publish(500).await.unwrap() > 0 {}
    let history = stores.invoices.history(invoice.id, 0, 1_000).await.unwrap();
    let feed = stores.feed.feed(invoice.organization, None, 1_000).await;
    (
        history.iter().map(|recorded| recorded.version).collect(),
        feed.unwrap().unwrap().iter().map(|it| it.version).collect(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_a_change_and_a_load_take_one_round_trip_each() {
    let Some((_database, proxy, stores)) = wired(PATIENCE).await else {
        return;
    };
    let invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    assert_eq!(proxy.names(), ["insert"]);
    stores
        .invoices
        .commit(change(&invoice, |_| {}))
        .await
        .unwrap();
    assert_eq!(proxy.names(), ["update"]);
    stores.invoices.load(invoice.id).await.unwrap().unwrap();
    assert_eq!(proxy.names(), ["find"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_waits_for_the_majority_and_the_journal() {
    let Some((_database, proxy, stores)) = wired(PATIENCE).await else {
        return;
    };
    let invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    stores
        .invoices
        .commit(change(&invoice, |_| {}))
        .await
        .unwrap();
    stores.feed.publish(10).await.unwrap();
    stores.feed.note_cursor("reader", 1).await.unwrap();
    let mut writes = 0;
    for command in proxy.commands() {
        if command.contains_key("find") {
            continue;
        }
        let concern = command.get_document("writeConcern").unwrap();
        assert_eq!(concern.get_str("w").unwrap(), "majority", "{command}");
        assert!(concern.get_bool("j").unwrap(), "{command}");
        writes += 1;
    }
    assert_eq!(writes, 5, "create, change, feed, outbox, cursor");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_parallel_changes_of_one_version_exactly_one_wins() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let relational = database.relational().await;
    let nodes = [
        stores(&database.url, relational.clone(), PATIENCE).await,
        stores(&database.url, relational, PATIENCE).await,
    ];
    let invoice = draft(new_organization());
    nodes[0].invoices.commit(creation(&invoice)).await.unwrap();
    let commits = (0..1_000_u32).map(|number| {
        let commit = change(&invoice, |after| after.next_effect = number);
        nodes[number as usize % 2].invoices.commit(commit)
    });
    let mut winners = Vec::new();
    for (number, answer) in (0..).zip(join_all(commits).await) {
        match answer {
            Ok(()) => winners.push(number),
            refusal => assert_eq!(refusal, Err(StoreError::Conflict)),
        }
    }
    assert_eq!(winners.len(), 1);
    let kept = nodes[1].invoices.load(invoice.id).await.unwrap().unwrap();
    assert_eq!((kept.version, kept.next_effect), (2, winners[0]));
    let seen = versions(&nodes[0], &invoice).await;
    assert_eq!(seen, (vec![1, 2], vec![1, 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_reply_was_lost_is_recognized() {
    let Some((_database, proxy, stores)) = wired(PATIENCE).await else {
        return;
    };
    let invoice = draft(new_organization());
    proxy.lose_reply_to("insert");
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    let second = change(&invoice, |after| after.next_effect = 9);
    proxy.lose_reply_to("update");
    stores.invoices.commit(second.clone()).await.unwrap();
    let kept = stores.invoices.load(invoice.id).await.unwrap();
    assert_eq!(kept.as_ref(), Some(second.invoice.as_ref()));
    assert_eq!(versions(&stores, &invoice).await, (vec![1, 2], vec![1, 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_never_reached_the_server_is_not_taken_for_done() {
    let Some((_database, proxy, stores)) = wired(PATIENCE).await else {
        return;
    };
    let invoice = draft(new_organization());
    let second = change(&invoice, |after| after.next_effect = 9);
    for (commit, command) in [(creation(&invoice), "insert"), (second, "update")] {
        // A driver that may repeat writes by itself has its repeat swallowed, too.
        proxy.lose_request(command);
        proxy.lose_request(command);
        let answer = stores.invoices.commit(commit.clone()).await;
        assert!(
            matches!(answer, Err(StoreError::Unavailable { .. })),
            "{answer:?}"
        );
        let kept = stores.invoices.load(invoice.id).await.unwrap();
        assert_eq!(kept.as_ref(), commit.before.as_deref());
        while stores.invoices.commit(commit.clone()).await.is_err() {}
    }
    assert_eq!(versions(&stores, &invoice).await, (vec![1, 2], vec![1, 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_nobody_can_tell_of_is_not_known_and_whoever_reads_first_doubles_nothing() {
    let Some((_database, proxy, stores)) = wired(PATIENCE).await else {
        return;
    };
    let mut invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    let (mut unknown, mut lost) = (0, 0);
    while invoice.version < 40 {
        // The look at what became of it is lost, too.
        proxy.lose_all_replies(invoice.version.is_multiple_of(3));
        let commit = change(&invoice, |after| after.next_effect += 1);
        let answer = stores.invoices.commit(commit.clone()).await;
        proxy.lose_all_replies(false);
        match answer {
            Ok(()) => invoice = (*commit.invoice).clone(),
            Err(StoreError::Unavailable { .. }) => {
                unknown += 1;
                let kept = stores.invoices.load(invoice.id).await.unwrap().unwrap();
                lost += u64::from(kept.version == invoice.version);
                // A repeat of it does nothing, and says that something came first.
                if kept.version > invoice.version {
                    assert_eq!(
                        stores.invoices.commit(commit).await,
                        Err(StoreError::Conflict)
                    );
                }
                invoice = kept;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(unknown > 5, "{unknown} outcomes were unknown");
    assert_eq!(lost, 0, "each request had reached the server");
    assert_eq!(invoice.next_effect, 40, "each change was made once");
    let expected: Vec<u64> = (1..=40).collect();
    assert_eq!(
        versions(&stores, &invoice).await,
        (expected.clone(), expected)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_not_available_and_found_again() {
    let Some((_database, proxy, stores)) = wired(Duration::from_secs(2)).await else {
        return;
    };
    let invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    proxy.cut();
    let is_gone = |error: &StoreError| matches!(error, StoreError::Unavailable { .. });
    let second = change(&invoice, |_| {});
    let refusal = stores.invoices.commit(second.clone()).await.unwrap_err();
    assert!(is_gone(&refusal), "{refusal:?}");
    assert!(is_gone(
        &stores.invoices.load(invoice.id).await.unwrap_err()
    ));
    assert!(is_gone(&stores.invoices.ping().await.unwrap_err()));
    assert!(is_gone(&stores.feed.publish(10).await.unwrap_err()));

    proxy.mend();
    while stores.invoices.ping().await.is_err() {}
    let names = proxy.names();
    assert!(
        names.contains(&"update".to_owned()),
        "after a failed write the ping tries one: {names:?}"
    );
    stores.invoices.commit(second).await.unwrap();
    assert_eq!(versions(&stores, &invoice).await, (vec![1, 2], vec![1, 2]));
}

/// A change that makes the history larger by so many bytes.
fn growing(before: &Invoice, bytes: usize, by: &Initiator) -> Commit {
    let mut commit = change(before, |_| {});
    for recorded in &mut commit.recorded {
        recorded.request_id = "x".repeat(bytes);
        recorded.by = by.clone();
    }
    commit
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_that_would_grow_too_large_takes_no_edits_but_can_still_be_paid() {
    const MIB: usize = 1024 * 1024;
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let stores = database.stores().await;
    let mut invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    let by_user = creation(&invoice).recorded[0].by.clone();
    for _ in 0..7 {
        let commit = growing(&invoice, MIB, &by_user);
        stores.invoices.commit(commit.clone()).await.unwrap();
        invoice = (*commit.invoice).clone();
    }
    let refusal = stores
        .invoices
        .commit(growing(&invoice, MIB, &by_user))
        .await;
    let Err(StoreError::TooLarge { bytes, allowed }) = refusal else {
        panic!("{refusal:?}");
    };
    assert_eq!(allowed, 8 * MIB as u64);
    assert!(
        (allowed..allowed + MIB as u64 / 4).contains(&bytes),
        "{bytes}"
    );
    assert_eq!(
        stores.invoices.load(invoice.id).await.unwrap(),
        Some(invoice.clone())
    );

    let payment = growing(&invoice, MIB, &Initiator::Provider("stripe".to_owned()));
    stores.invoices.commit(payment.clone()).await.unwrap();
    let (history, feed) = versions(&stores, &invoice).await;
    assert_eq!((history.len(), feed.len()), (9, 9));
    // One that is too large by itself is refused as well, before anything is asked.
    let huge = growing(&payment.invoice, 13 * MIB, &Initiator::System);
    let refusal = stores.invoices.commit(huge).await;
    assert!(
        matches!(refusal, Err(StoreError::TooLarge { allowed, .. }) if allowed == 12 * MIB as u64),
        "{refusal:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_was_reserved_before_a_crash_waits_for_its_invoice() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let stores = database.stores().await;
    let organization = organization(new_organization());
    let directory = &stores.directory;
    directory.insert_organization(&organization).await.unwrap();
    let bringing = || {
        let mut invoice = draft(organization.id);
        invoice.state = State::Open {
            issued: issued("A-17", date(2026, 3, 1), false),
        };
        invoice
    };
    let (invoice, another) = (bringing(), bringing());
    let number = AllocatedNumber {
        number: "A-17".to_owned(),
        issued_on: date(2026, 3, 1),
    };
    let series = &stores.series;
    series
        .reserve(organization.id, invoice.id, &number)
        .await
        .unwrap();
    // There the node stopped.
    assert_eq!(
        stores.invoices.commit(creation(&another)).await,
        Err(StoreError::Taken { field: "number" })
    );
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    assert_eq!(
        stores.invoices.load(invoice.id).await.unwrap(),
        Some(invoice)
    );
}
