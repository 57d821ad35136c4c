//! Opening: the schema, the address, and what the database says when it can't be used.

use faktor::store::sql::PostgresStore;
use faktor::store::{Epoch, StoreError};
use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::postgres_database::TestDatabase;
use crate::sample::{creation, draft, new_organization};
use crate::{impatient, open, options, reason};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_nodes_open_an_empty_database_at_once() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let nodes = join_all((0..10).map(|_| PostgresStore::open(&database.url, options()))).await;
    let organization = new_organization();
    for node in nodes {
        let (stores, handle) = node.unwrap();
        let invoice = draft(organization);
        stores.invoices.commit(creation(&invoice)).await.unwrap();
        handle.close().await.unwrap();
    }
    let mut raw = database.raw().await;
    let invoices: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM invoices")
        .fetch_one(&mut raw)
        .await
        .unwrap();
    assert_eq!(invoices, 10);
    raw.close().await.unwrap();
}

#[tokio::test]
async fn a_schema_newer_than_the_binary_is_refused_and_left_alone() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (_, handle) = open(&database.url).await;
    handle.close().await.unwrap();
    database
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'from the future', TRUE, '', 0)",
        )
        .await;
    for _ in 0..2 {
        let error = PostgresStore::open(&database.url, options())
            .await
            .err()
            .unwrap();
        assert!(
            matches!(error, StoreError::SchemaTooNew { found: 9999, known } if known < 9999),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_is_written_is_there_after_closing_and_opening() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (stores, handle) = open(&database.url).await;
    let drafts: Vec<_> = (0..50).map(|_| draft(new_organization())).collect();
    let commits = join_all(
        drafts
            .iter()
            .map(|draft| stores.invoices.commit(creation(draft))),
    );
    let (answers, closed) = tokio::join!(commits, handle.close());
    closed.unwrap();
    let late = stores
        .invoices
        .commit(creation(&draft(new_organization())))
        .await
        .unwrap_err();
    assert_eq!(reason(&late), "the store is closed");
    assert!(stores.invoices.ping().await.is_err());
    assert_eq!(handle.queue_len(), 0);

    let (stores, handle) = open(&database.url).await;
    for (draft, answer) in drafts.iter().zip(answers) {
        let kept = stores.invoices.load(draft.id).await.unwrap();
        assert_eq!(kept.is_some(), answer.is_ok());
    }
    handle.close().await.unwrap();
}

#[tokio::test]
async fn an_address_that_leads_nowhere_is_a_sentence_without_its_password() {
    for url in [
        "postgres://faktor:hush-hush@127.0.0.1:1/faktor",
        "postgres://faktor:hush-hush@127.0.0.1:port/faktor",
        "postgres://faktor:hush-hush@127.0.0.1:1/faktor?sslmode=perhaps",
        "postgres://faktor:hush-hush@127.0.0.1:1/faktor?sslmode=verify-full&sslrootcert=/no/such.pem",
    ] {
        let error = PostgresStore::open(url, impatient()).await.err().unwrap();
        assert!(
            matches!(error, StoreError::Unavailable { .. }),
            "{url}: {error:?}"
        );
        assert!(!error.to_string().contains("hush"), "{url}: {error}");
    }
}

#[tokio::test]
async fn an_address_with_an_unknown_option_is_refused_by_its_name_alone() {
    let address = "postgres://faktor:hush-hush@127.0.0.1:1/faktor";
    for (options, words) in [
        (
            "sslmode=disable&ssl_mode=hush",
            "the address is not understood: it has an unknown option, `ssl_mode`",
        ),
        (
            "ssl-mode=disable&options[work_mem]=8MB",
            "the connection to the database broke: Connection refused (os error 111)",
        ),
    ] {
        let url = format!("{address}?{options}");
        let error = PostgresStore::open(&url, impatient()).await.err().unwrap();
        assert_eq!(reason(&error), words);
    }
}

#[tokio::test]
async fn a_database_without_tls_is_refused_when_tls_is_asked_for() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let mut raw = database.raw().await;
    let offers_tls: String = sqlx::query_scalar("SHOW ssl")
        .fetch_one(&mut raw)
        .await
        .unwrap();
    if offers_tls == "on" {
        return;
    }
    let url = format!("{}?sslmode=require", database.url);
    let error = PostgresStore::open(&url, options()).await.err().unwrap();
    assert!(reason(&error).contains("TLS"), "{error}");
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_not_ready_says_why_and_may_change_back() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (stores, handle) = open(&database.url).await;
    let invoice = draft(new_organization());
    stores.invoices.commit(creation(&invoice)).await.unwrap();

    // As after a change of roles: the connections end, and new ones meet a standby.
    let mut operator = database.raw().await;
    let mut every_node = async |setting: &str| {
        let set = format!(
            "ALTER DATABASE {} SET default_transaction_read_only = {setting}; \
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
            database.name
        );
        operator.execute(AssertSqlSafe(set)).await.unwrap();
    };
    every_node("on").await;
    let sentence = "the database takes no writes: it is a standby, or set to read-only";
    assert_eq!(reason(&stores.invoices.ping().await.unwrap_err()), sentence);
    let new = draft(new_organization());
    let write = async || stores.invoices.commit(creation(&new)).await;
    // The first one may find its connection ended.
    let _ = write().await;
    assert_eq!(reason(&write().await.unwrap_err()), sentence);
    assert!(!handle.takes_writes());
    let kept = stores.invoices.load(invoice.id).await.unwrap();
    assert_eq!(kept.as_ref(), Some(&invoice), "reads go on");
    let claimed = stores.invoices.claim(invoice.id, Epoch(1)).await;
    assert_eq!(
        claimed,
        Ok(Some(invoice.clone())),
        "its owner writes nothing"
    );
    assert!(stores.invoices.claim(invoice.id, Epoch(2)).await.is_err());

    every_node("off").await;
    let _ = write().await;
    assert!(stores.invoices.load(new.id).await.unwrap().is_some() || write().await.is_ok());
    assert_eq!(stores.invoices.ping().await, Ok(()));
    assert!(handle.takes_writes());
    handle.close().await.unwrap();
}

#[tokio::test]
async fn texts_with_a_nul_are_kept_and_searched() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let (stores, handle) = open(&database.url).await;
    let mut invoice = draft(new_organization());
    invoice.content_mut().reference = Some("before\0after".to_owned());
    stores.invoices.commit(creation(&invoice)).await.unwrap();
    let kept = stores.invoices.load(invoice.id).await.unwrap();
    assert_eq!(kept.as_ref(), Some(&invoice));
    let filter = faktor::store::InvoiceFilter {
        q: Some("before\0a".to_owned()),
        ..Default::default()
    };
    let page = faktor::store::PageRequest {
        limit: 10,
        starting_after: None,
    };
    let found = stores
        .invoices
        .list(invoice.organization, &filter, &page)
        .await
        .unwrap();
    assert_eq!(found.data, [invoice]);
    handle.close().await.unwrap();
}
