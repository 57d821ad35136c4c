//! A database that is slow, silent or gone: nothing acknowledged is lost, callers hear it in time,
//! and the node goes on by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use faktor::domain::ids::{InvoiceId, OrganizationId};
use faktor::store::sql::PostgresStore;
use faktor::store::{StoreError, Stores};
use futures_util::future::join_all;
use jiff::civil::date;
use sqlx::{Connection, Executor};
use tokio::time::{Instant, sleep, timeout};

use crate::link::{Link, Way};
use crate::postgres_database::TestDatabase;
use crate::sample::{change, creation, draft, new_organization, organization};
use crate::{impatient, open, reason};

/// Tries until it succeeds; what it said before.
async fn until_it_works<T, F>(mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut last = None;
    for _ in 0..200 {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => last = Some(error),
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("it never worked again: {last:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_takes_too_long_is_ended_and_the_next_one_works() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (stores, handle) = PostgresStore::open(&database.url, impatient())
        .await
        .unwrap();
    let invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();

    let mut operator = database.raw().await;
    operator
        .execute("BEGIN; LOCK TABLE invoices IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let write = stores.invoices.commit(change(&invoice, |_| {}));
    let read = stores.invoices.load(invoice.id);
    let both = timeout(Duration::from_secs(5), async { tokio::join!(write, read) });
    let (write, read) = both.await.unwrap();
    let lock = "another transaction held a lock for too long";
    assert_eq!(reason(&write.unwrap_err()), lock);
    assert_eq!(reason(&read.unwrap_err()), lock);
    assert!(!handle.takes_writes());
    operator.execute("ROLLBACK").await.unwrap();
    operator.close().await.unwrap();

    stores
        .invoices
        .commit(change(&invoice, |_| {}))
        .await
        .unwrap();
    assert!(handle.takes_writes());
    handle.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_statement_is_ended_by_the_statement_time_out() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (stores, handle) = PostgresStore::open(&database.url, impatient())
        .await
        .unwrap();
    database
        .execute(
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_sleep(30); RETURN NEW; END $$; \
             CREATE TRIGGER dawdle BEFORE INSERT ON inbox FOR EACH ROW EXECUTE FUNCTION dawdle()",
        )
        .await;
    let message = faktor::store::InboxMessage {
        provider: "stripe".to_owned(),
        event_id: "evt_1".to_owned(),
        body: b"{}".to_vec(),
        received_at: crate::sample::at(0),
        attempts: 0,
        next_attempt_at: crate::sample::at(0),
        last_error: None,
        parked: false,
    };
    let received = timeout(
        Duration::from_secs(5),
        stores.inbox.receive(message.clone()),
    )
    .await;
    assert_eq!(
        reason(&received.unwrap().unwrap_err()),
        "a statement took longer than storage.statement_timeout_ms"
    );
    database.execute("DROP TRIGGER dawdle ON inbox").await;
    assert_eq!(stores.inbox.receive(message).await, Ok(true));
    handle.close().await.unwrap();
}

/// What a caller knows of its invoice, as the actors keep it: after a fault it reads first.
async fn write_versions(
    stores: &Stores,
    organization: OrganizationId,
    stop: &AtomicBool,
) -> (InvoiceId, u64, u32) {
    let mut present = draft(organization);
    let id = present.id;
    let (mut acknowledged, mut faults) = (0, 0);
    until_it_works(|| async {
        match stores.invoices.commit(creation(&present)).await {
            Ok(()) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    })
    .await;
    while !stop.load(Ordering::Acquire) {
        let commit = change(&present, |_| {});
        let next = (*commit.invoice).clone();
        match stores.invoices.commit(commit).await {
            Ok(()) => {
                present = next;
                acknowledged = present.version;
            }
            Err(StoreError::Unavailable { .. }) => {
                faults += 1;
                let found = until_it_works(|| stores.invoices.load(id)).await;
                let found = found.unwrap();
                assert!(
                    found.version >= acknowledged,
                    "an acknowledged write is gone"
                );
                present = found;
            }
            Err(other) => panic!("nobody else writes this invoice: {other:?}"),
        }
    }
    (id, acknowledged, faults)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_ended_in_the_middle_of_commits_lose_nothing_acknowledged() {
    const END_OTHERS: &str = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (stores, handle) = open(&database.url).await;
    let founded = organization(new_organization());
    stores
        .directory
        .insert_organization(&founded)
        .await
        .unwrap();
    let organization = founded.id;
    let stop = AtomicBool::new(false);
    let writers = join_all((0..12).map(|_| write_versions(&stores, organization, &stop)));
    let numbers = async {
        let mut given = Vec::new();
        while !stop.load(Ordering::Acquire) {
            let invoice = draft(organization).id;
            let number = until_it_works(|| {
                stores
                    .series
                    .allocate(organization, invoice, date(2026, 3, 1))
            });
            given.push(number.await.number);
        }
        given
    };
    let killer = async {
        let mut operator = database.raw().await;
        let mut ended = 0;
        for _ in 0..12 {
            sleep(Duration::from_millis(150)).await;
            let count: i64 = sqlx::query_scalar(END_OTHERS)
                .fetch_one(&mut operator)
                .await
                .unwrap();
            ended += count;
        }
        stop.store(true, Ordering::Release);
        operator.close().await.unwrap();
        ended
    };
    let (written, given, ended) = tokio::join!(writers, numbers, killer);
    assert!(ended >= 12, "connections were ended");
    let faults: u32 = written.iter().map(|(.., faults)| faults).sum();
    assert!(faults > 0, "no commit noticed it");

    for (id, acknowledged, _) in &written {
        let found = stores.invoices.load(*id).await.unwrap().unwrap();
        assert!(found.version >= *acknowledged);
        let history = stores.invoices.history(*id, 0, 30_000).await.unwrap();
        assert!(history.iter().map(|it| it.version).eq(1..=found.version));
    }
    // Without a gap, in the order that this one caller asked in.
    let expected: Vec<String> = (1..=given.len()).map(|n| format!("2026-{n:04}")).collect();
    assert_eq!(given, expected);
    // The last to be ended may have been a commit's, and nothing was written since: this writes.
    until_it_works(|| stores.invoices.ping()).await;
    handle.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent_is_given_up_in_time_and_found_again() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let link = Link::before(&database.url).await;
    let (stores, handle) = PostgresStore::open(&link.url, impatient()).await.unwrap();
    let invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();

    for way in [Way::Silent, Way::Cut] {
        link.set(way);
        let started = Instant::now();
        let all = timeout(Duration::from_secs(15), async {
            tokio::join!(
                stores.invoices.commit(creation(&draft(new_organization()))),
                stores.invoices.load(invoice.id),
                stores
                    .series
                    .allocate(invoice.organization, invoice.id, date(2026, 3, 1)),
                stores.invoices.ping(),
            )
        });
        let (commit, load, allocate, ping) = all.await.unwrap();
        for error in [
            commit.unwrap_err(),
            load.unwrap_err(),
            allocate.unwrap_err(),
            ping.unwrap_err(),
        ] {
            assert!(
                matches!(error, StoreError::Unavailable { .. }),
                "{way:?}: {error:?}"
            );
        }
        eprintln!("{way:?}: given up after {:?}", started.elapsed());
        link.set(Way::Open);
        until_it_works(|| stores.invoices.commit(creation(&draft(new_organization())))).await;
        until_it_works(|| stores.invoices.ping()).await;
        assert!(handle.takes_writes());
    }
    handle.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_unavailable_and_then_found_by_reading() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let link = Link::before(&database.url).await;
    let (stores, handle) = PostgresStore::open(&link.url, impatient()).await.unwrap();
    let invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();

    link.set(Way::AnswersHeldBack);
    let error = stores
        .invoices
        .commit(change(&invoice, |_| {}))
        .await
        .unwrap_err();
    assert_eq!(reason(&error), "the database did not answer in time");
    link.set(Way::Open);
    let found = until_it_works(|| stores.invoices.load(invoice.id))
        .await
        .unwrap();
    assert_eq!(found.version, 2, "it was written all the same");
    stores
        .invoices
        .commit(change(&found, |_| {}))
        .await
        .unwrap();
    handle.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_leaves_no_transaction_open() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (stores, handle) = open(&database.url).await;
    let founded = organization(new_organization());
    stores
        .directory
        .insert_organization(&founded)
        .await
        .unwrap();
    let today = date(2026, 3, 1);
    let mut finished = 0_usize;
    for pause in 0..60 {
        let invoice = draft(founded.id).id;
        let allocate = stores.series.allocate(founded.id, invoice, today);
        // By steps and by time: a quick machine finishes before the shortest time is over.
        let patience = async {
            if pause % 2 == 0 {
                for _ in 0..pause {
                    tokio::task::yield_now().await;
                }
            } else {
                sleep(Duration::from_micros(pause * 100)).await;
            }
        };
        tokio::select! {
            biased;
            _ = allocate => finished += 1,
            () = patience => {}
        }
    }
    assert!(finished < 60, "none went away");
    // Whatever was left half done holds no lock on the series, and took no number.
    let last = stores
        .series
        .allocate(founded.id, draft(founded.id).id, today)
        .await
        .unwrap();
    let mut raw = database.raw().await;
    let numbers: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM numbers")
        .fetch_one(&mut raw)
        .await
        .unwrap();
    assert_eq!(last.number, format!("2026-{numbers:04}"));
    raw.close().await.unwrap();
    handle.close().await.unwrap();
}
