//! Several nodes on one database: what one writer guarantees in SQLite, locks and conditions do here.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use faktor::clock;
use faktor::domain::ids::{InvoiceId, OrganizationId, SessionId, UserId};
use faktor::domain::invoice::{Invoice, State};
use faktor::store::{ADMINISTRATOR, Epoch, Refreshed, Session, StoreError, Stores, User};
use futures_util::future::join_all;
use jiff::civil::date;
use sqlx::{Connection, Executor};

use crate::open;
use crate::postgres_database::TestDatabase;
use crate::sample::{at, change, creation, draft, event, issued, new_organization, organization};

async fn founded(stores: &Stores) -> OrganizationId {
    let organization = organization(new_organization());
    stores
        .directory
        .insert_organization(&organization)
        .await
        .unwrap();
    organization.id
}

fn administrator(organization: OrganizationId, email: &str) -> User {
    User {
        id: UserId::new(clock::new_uuid()),
        organization,
        version: 1,
        first_name: "Grete".to_owned(),
        last_name: "Hermann".to_owned(),
        email: email.to_owned(),
        roles: vec![ADMINISTRATOR.to_owned()],
        password_hash: "$argon2id$v=19$…".to_owned(),
        created_at: at(0),
        updated_at: at(0),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_write_one_series_leave_no_gap_and_no_duplicate() {
    const EACH: usize = 60;
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (one, first) = open(&database.url).await;
    let (two, second) = open(&database.url).await;
    let organization = founded(&one).await;
    let invoices: Vec<_> = (0..EACH)
        .map(|_| InvoiceId::new(clock::new_uuid()))
        .collect();
    // Both nodes ask for each invoice's number at once: it gets one.
    let calls = invoices.iter().flat_map(|invoice| {
        [&one, &two].map(|node| async move {
            let allocated = node
                .series
                .allocate(organization, *invoice, date(2026, 3, 1))
                .await
                .unwrap();
            (*invoice, allocated.number)
        })
    });
    let mut by_invoice = HashMap::new();
    for (invoice, number) in join_all(calls).await {
        let first = by_invoice.entry(invoice).or_insert_with(|| number.clone());
        assert_eq!(*first, number);
    }
    let numbers: BTreeSet<String> = by_invoice.into_values().collect();
    let expected: BTreeSet<String> = (1..=EACH).map(|n| format!("2026-{n:04}")).collect();
    assert_eq!(numbers, expected);
    first.close().await.unwrap();
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_that_commit_one_version_exactly_one_wins() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (one, first) = open(&database.url).await;
    let (two, second) = open(&database.url).await;
    let organization = new_organization();
    // Many invoices at once: each node writes them in batches, in an order of its own.
    let invoices: Vec<Invoice> = (0..40).map(|_| draft(organization)).collect();
    for answer in join_all(invoices.iter().map(|it| one.invoices.commit(creation(it)))).await {
        answer.unwrap();
    }
    let mut present = invoices;
    for _ in 0..5 {
        let ours = join_all(present.iter().map(|invoice| {
            let commit = change(invoice, |after| "one".clone_into(&mut after.page_secret));
            one.invoices.commit(commit)
        }));
        let theirs = join_all(present.iter().rev().map(|invoice| {
            let commit = change(invoice, |after| "two".clone_into(&mut after.page_secret));
            two.invoices.commit(commit)
        }));
        let (ours, theirs) = tokio::join!(ours, theirs);
        for ((invoice, ours), theirs) in present.iter_mut().zip(ours).zip(theirs.into_iter().rev())
        {
            let winner = match (ours, theirs) {
                (Ok(()), Err(StoreError::Conflict)) => "one",
                (Err(StoreError::Conflict), Ok(())) => "two",
                other => panic!("{other:?}"),
            };
            let stored = one.invoices.load(invoice.id).await.unwrap().unwrap();
            assert_eq!(stored.version, invoice.version + 1);
            assert_eq!(stored.page_secret, winner);
            *invoice = stored;
        }
    }
    for invoice in present {
        let history = two.invoices.history(invoice.id, 0, 100).await.unwrap();
        assert!(history.iter().map(|it| it.version).eq(1..=invoice.version));
        let events = two.invoices.events_of(invoice.id, 0, 100).await.unwrap();
        assert_eq!(events.len() as u64, invoice.version);
    }
    first.close().await.unwrap();
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_an_invoice_is_told_so_by_the_epoch() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (one, first) = open(&database.url).await;
    let (two, second) = open(&database.url).await;
    let invoice = draft(new_organization());
    one.invoices.commit(creation(&invoice)).await.unwrap();
    let mut taken_over = change(&invoice, |_| {});
    taken_over.epoch = Epoch(2);
    let next = (*taken_over.invoice).clone();
    two.invoices.commit(taken_over).await.unwrap();
    for stale in [change(&invoice, |_| {}), change(&next, |_| {})] {
        assert_eq!(one.invoices.commit(stale).await, Err(StoreError::NotOwner));
    }
    first.close().await.unwrap();
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invoice_that_two_nodes_bring_with_its_number_is_made_once() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (one, first) = open(&database.url).await;
    let (two, second) = open(&database.url).await;
    let organization = founded(&one).await;
    for round in 0..30 {
        let mut same = draft(organization);
        let number = format!("B-{round}");
        same.state = State::Open {
            issued: issued(&number, date(2026, 3, 1), false),
        };
        let (ours, theirs) = tokio::join!(
            one.invoices.commit(creation(&same)),
            two.invoices.commit(creation(&same))
        );
        assert!(
            matches!(
                (&ours, &theirs),
                (Ok(()), Err(StoreError::Conflict)) | (Err(StoreError::Conflict), Ok(()))
            ),
            "{ours:?} {theirs:?}"
        );
        let other = Invoice {
            id: InvoiceId::new(clock::new_uuid()),
            ..same.clone()
        };
        assert_eq!(
            two.invoices.commit(creation(&other)).await,
            Err(StoreError::Taken { field: "number" })
        );
        assert_eq!(two.invoices.load(other.id).await.unwrap(), None);
    }
    first.close().await.unwrap();
    second.close().await.unwrap();
}

/// The number must not stay reserved when the invoice turns out to exist already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_is_not_reserved_for_an_invoice_that_another_node_just_made_as_a_draft() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (one, first) = open(&database.url).await;
    let (two, second) = open(&database.url).await;
    let organization = founded(&one).await;
    for round in 0..30 {
        let plain = draft(organization);
        let mut bringing = plain.clone();
        bringing.state = State::Open {
            issued: issued(&format!("B-{round}"), date(2026, 3, 1), false),
        };
        let (ours, theirs) = tokio::join!(
            one.invoices.commit(creation(&plain)),
            two.invoices.commit(creation(&bringing))
        );
        let stored = one.invoices.load(plain.id).await.unwrap().unwrap();
        assert_ne!(ours.is_ok(), theirs.is_ok(), "{ours:?} {theirs:?}");
        assert_eq!(stored.issued().is_some(), theirs.is_ok());
    }
    let mut raw = database.raw().await;
    let orphans: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM numbers JOIN invoices ON invoices.id = numbers.invoice \
         WHERE invoices.number IS NULL",
    )
    .fetch_one(&mut raw)
    .await
    .unwrap();
    assert_eq!(orphans, 0);
    first.close().await.unwrap();
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_administrators_who_remove_each_other_on_two_nodes_one_stays() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (one, first) = open(&database.url).await;
    let (two, second) = open(&database.url).await;
    for round in 0..15 {
        let organization = founded(&one).await;
        let users = ["a", "b"].map(|name| {
            let email = format!("{name}{round}@x.example");
            administrator(organization, &email)
        });
        for user in &users {
            one.identity.insert_user(user).await.unwrap();
        }
        let [left, right] = users;
        let demoted = User {
            version: 2,
            roles: Vec::new(),
            ..left
        };
        let (update, delete) = tokio::join!(
            one.identity.update_user(&demoted),
            two.identity.delete_user(organization, right.id)
        );
        let refusals = [update.err(), delete.err()];
        let refusals: Vec<_> = refusals.into_iter().flatten().collect();
        assert_eq!(refusals, [StoreError::LastAdministrator]);
        let left = one
            .identity
            .users_with_role(organization, ADMINISTRATOR)
            .await
            .unwrap();
        assert_eq!(left, 1);
    }
    first.close().await.unwrap();
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_that_two_nodes_are_shown_is_used_once() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (one, first) = open(&database.url).await;
    let (two, second) = open(&database.url).await;
    for round in 0..20 {
        let session = Session {
            id: SessionId::new(clock::new_uuid()),
            user: UserId::new(clock::new_uuid()),
            refresh_hash: format!("first {round}"),
            created_at: at(0),
            expires_at: at(1_000_000),
            revoked_at: None,
        };
        one.identity.insert_session(&session).await.unwrap();
        let (hash, ours, theirs) = (
            &session.refresh_hash,
            format!("ours {round}"),
            format!("theirs {round}"),
        );
        let (ours, theirs) = tokio::join!(
            one.identity.refresh_session(hash, &ours, at(1)),
            two.identity.refresh_session(hash, &theirs, at(1))
        );
        let outcome = (ours.unwrap(), theirs.unwrap());
        assert!(
            matches!(
                &outcome,
                (Refreshed::Rotated(_), Refreshed::Reused(_))
                    | (Refreshed::Reused(_), Refreshed::Rotated(_))
            ),
            "{outcome:?}"
        );
        let stored = two.identity.session(session.id).await.unwrap().unwrap();
        assert!(stored.revoked_at.is_some(), "the chain has ended");
    }
    first.close().await.unwrap();
    second.close().await.unwrap();
}

/// Both nodes commit and publish; a reader goes by its cursor on one of them, another by position.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_miss_no_event_while_two_nodes_commit_and_publish() {
    const INVOICES: usize = 10;
    const VERSIONS: usize = 8;
    const TOTAL: usize = 2 * INVOICES * VERSIONS;
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (one, first) = open(&database.url).await;
    let (two, second) = open(&database.url).await;
    let organization = new_organization();
    // The first look says from where on a node tells its readers.
    for node in [&one, &two] {
        assert_eq!(node.feed.publish(10).await.unwrap(), 0);
    }
    let writers = [&one, &two].into_iter().flat_map(|node| {
        (0..INVOICES).map(move |_| async move {
            let mut invoice = draft(organization);
            node.invoices.commit(creation(&invoice)).await.unwrap();
            for _ in 1..VERSIONS {
                let commit = change(&invoice, |_| {});
                invoice = (*commit.invoice).clone();
                node.invoices.commit(commit).await.unwrap();
            }
        })
    });
    let publishers = [&one, &two].map(|node| async move {
        let mut told = 0;
        while told < TOTAL as u64 {
            told += node.feed.publish(7).await.unwrap();
            tokio::task::yield_now().await;
        }
        told
    });
    let by_cursor = async {
        let mut seen = Vec::new();
        let mut after = None;
        while seen.len() < TOTAL {
            let part = one
                .feed
                .feed(organization, after, 5)
                .await
                .unwrap()
                .unwrap();
            after = part.last().map(|event| event.id).or(after);
            seen.extend(part);
            tokio::task::yield_now().await;
        }
        seen
    };
    let by_position = async {
        let mut seen = Vec::new();
        let mut position = 0;
        while seen.len() < TOTAL {
            let part = two.feed.placed_after(position, 5).await.unwrap();
            position = part.last().map_or(position, |placed| placed.position);
            seen.extend(part.into_iter().map(|placed| placed.event));
            tokio::task::yield_now().await;
        }
        seen
    };
    let (_, told, followed, placed) = tokio::join!(
        join_all(writers),
        join_all(publishers),
        by_cursor,
        by_position
    );
    assert_eq!(
        told, [TOTAL as u64; 2],
        "each node tells of every event once"
    );
    assert_eq!(followed, placed);
    let mut versions = HashMap::new();
    for event in followed {
        let version = versions.entry(event.invoice).or_insert(0);
        *version += 1;
        assert_eq!(
            event.version, *version,
            "the events of an invoice are in order"
        );
    }
    first.close().await.unwrap();
    second.close().await.unwrap();
}

/// A publisher that has taken places and not committed yet keeps the others waiting: otherwise a
/// reader could see their later places first, and pass over the earlier ones.
#[tokio::test]
async fn publishers_of_different_nodes_take_turns() {
    const PUBLISHING: i64 = 0x6661_6b74_6f72;
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (stores, handle) = open(&database.url).await;
    let invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    let mut other = database.raw().await;
    other.execute("BEGIN").await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(PUBLISHING)
        .execute(&mut other)
        .await
        .unwrap();
    let publish = stores.feed.publish(10);
    let early = tokio::time::timeout(Duration::from_millis(300), publish).await;
    assert!(early.is_err(), "it did not wait: {early:?}");
    other.execute("COMMIT").await.unwrap();
    assert_eq!(stores.feed.publish(10).await.unwrap(), 1);
    handle.close().await.unwrap();
}

#[tokio::test]
async fn an_event_without_a_place_is_a_cursor_that_skips_nothing() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (stores, handle) = open(&database.url).await;
    let organization = new_organization();
    let (placed, waiting, later) = (
        draft(organization),
        draft(organization),
        draft(organization),
    );
    stores.invoices.commit(creation(&placed)).await.unwrap();
    while stores.feed.publish(10).await.unwrap() > 0 {}
    stores.invoices.commit(creation(&waiting)).await.unwrap();
    let cursor = Some(event(&waiting).id);
    let read = async || stores.feed.feed(organization, cursor, 10).await.unwrap();
    assert_eq!(read().await, Some(vec![]), "nothing is behind it yet");
    stores.invoices.commit(creation(&later)).await.unwrap();
    while stores.feed.publish(10).await.unwrap() > 0 {}
    assert_eq!(read().await, Some(vec![event(&later)]));
    handle.close().await.unwrap();
}

/// The old owner's write has begun when the new one claims, and is committed afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_waits_for_a_write_on_its_way_and_returns_it() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (stores, handle) = open(&database.url).await;
    let invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    let mut written = invoice.clone();
    written.version += 1;
    written.next_effect = 77;

    let mut old_owner = database.raw().await;
    old_owner.execute("BEGIN").await.unwrap();
    sqlx::query("UPDATE invoices SET version = version + 1, snapshot = $2 WHERE id = $1")
        .bind(invoice.id.uuid())
        .bind(serde_json::to_string(&written).unwrap())
        .execute(&mut old_owner)
        .await
        .unwrap();
    let claim = stores.invoices.claim(invoice.id, Epoch(2));
    let release = async {
        let mut observer = database.raw().await;
        let waiting = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND pid IN \
             (SELECT pid FROM pg_stat_activity WHERE datname = current_database()))";
        while !sqlx::query_scalar::<_, bool>(waiting)
            .fetch_one(&mut observer)
            .await
            .unwrap()
        {}
        old_owner.execute("COMMIT").await.unwrap();
        observer.close().await.unwrap();
    };
    let (claimed, ()) = tokio::join!(claim, release);
    assert_eq!(claimed, Ok(Some(written)));
    old_owner.close().await.unwrap();
    handle.close().await.unwrap();
}
