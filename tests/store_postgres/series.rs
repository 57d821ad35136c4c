//! Numbers that a node takes with what it remembers of the organization, while other nodes change it.

use std::collections::BTreeSet;
use std::time::Duration;

use faktor::clock;
use faktor::domain::ids::{InvoiceId, OrganizationId};
use faktor::domain::invoice::command::AllocatedNumber;
use faktor::store::Stores;
use faktor::store::sql::{PostgresOptions, PostgresStore};
use futures_util::future::join_all;
use jiff::civil::{Date, date};
use tokio::time::Instant;

use crate::open;
use crate::postgres_database::TestDatabase;
use crate::sample::{new_organization, organization};

const TODAY: Date = date(2026, 3, 1);

fn new_invoice() -> InvoiceId {
    InvoiceId::new(clock::new_uuid())
}

async fn founded(stores: &Stores) -> OrganizationId {
    let organization = organization(new_organization());
    let inserted = stores.directory.insert_organization(&organization).await;
    inserted.unwrap();
    organization.id
}

async fn change_pattern(stores: &Stores, id: OrganizationId, pattern: &str) {
    let mut organization = stores.directory.organization(id).await.unwrap().unwrap();
    organization.version += 1;
    organization.number_pattern = pattern.to_owned();
    let updated = stores.directory.update_organization(&organization).await;
    updated.unwrap();
}

async fn number(stores: &Stores, organization: OrganizationId, today: Date) -> String {
    let allocated = stores
        .series
        .allocate(organization, new_invoice(), today)
        .await;
    allocated.unwrap().number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pattern_that_another_node_changed_is_used_at_once() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (one, first) = open(&database.url).await;
    let (two, second) = open(&database.url).await;
    let organization = founded(&one).await;
    for expected in ["2026-0001", "2026-0002"] {
        assert_eq!(number(&one, organization, TODAY).await, expected);
    }
    change_pattern(&two, organization, "R{MM}/{00}.X").await;
    for expected in ["R03/01.X", "R03/02.X"] {
        assert_eq!(number(&one, organization, TODAY).await, expected);
    }
    let april = date(2026, 4, 1);
    assert_eq!(number(&one, organization, april).await, "R04/01.X");
    // Back to the first: its counter goes on.
    change_pattern(&two, organization, "{YYYY}-{00}").await;
    assert_eq!(number(&one, organization, TODAY).await, "2026-03");
    first.close().await.unwrap();
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_stands_already_makes_no_gap_while_many_allocate() {
    const EACH: usize = 30;
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (one, first) = open(&database.url).await;
    let (two, second) = open(&database.url).await;
    let organization = founded(&one).await;
    for node in [&one, &two] {
        number(node, organization, TODAY).await;
    }
    // Uploads take numbers of the series from under those that allocate.
    let uploads = (1..=EACH).map(|upload| {
        let number = AllocatedNumber {
            number: format!("2026-{:04}", upload * 3),
            issued_on: TODAY,
        };
        let stores = &two;
        async move {
            let reserve = stores.series.reserve(organization, new_invoice(), &number);
            reserve.await.is_ok()
        }
    });
    let allocations = (0..EACH).flat_map(|call| {
        let today = date(2026, 3, 1 + i8::try_from(call % 3).unwrap());
        [&one, &two].map(|node| number(node, organization, today))
    });
    let (uploaded, allocated) = tokio::join!(join_all(uploads), join_all(allocations));
    let allocated: BTreeSet<String> = allocated.into_iter().collect();
    assert_eq!(allocated.len(), 2 * EACH, "each has its own");

    let mut raw = database.raw().await;
    let (count, last): (i64, i64) = sqlx::query_as(
        "SELECT COUNT(*), MAX(last_position) FROM numbers \
         JOIN number_series USING (organization) \
         WHERE number <= '2026-' || lpad(last_position::text, 4, '0')",
    )
    .fetch_one(&mut raw)
    .await
    .unwrap();
    assert_eq!(count, last, "every number up to the last is some invoice's");
    assert!(uploaded.contains(&true));
    let backwards: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM numbers AS one JOIN numbers AS other USING (organization) \
         WHERE one.position > 0 AND one.position < other.position \
         AND one.issued_on > other.issued_on",
    )
    .fetch_one(&mut raw)
    .await
    .unwrap();
    assert_eq!(backwards, 0, "the issue date never goes back");
    first.close().await.unwrap();
    second.close().await.unwrap();
}

/// The connection that is kept at hand is neither missed by others nor waited for at the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_connections_serve_many_callers_and_close_at_once() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    for max_connections in [2, 3] {
        let options = PostgresOptions {
            max_connections,
            ..PostgresOptions::default()
        };
        let (stores, handle) = PostgresStore::open(&database.url, options).await.unwrap();
        let organization = founded(&stores).await;
        let started = Instant::now();
        for _ in 0..5 {
            let calls = (0..20).map(|_| async {
                number(&stores, organization, TODAY).await;
                let found = stores.directory.organization(organization).await;
                assert!(found.unwrap().is_some());
            });
            join_all(calls).await;
        }
        handle.close().await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
