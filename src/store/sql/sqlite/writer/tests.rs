//! What the writer promises when its work fails, panics or ends.

use futures_util::future::join_all;
use sqlx::sqlite::SqliteJournalMode;

use super::*;
use crate::store::sql::error::corrupt;

/// A writer on a table of names, and the names that are there.
struct Names {
    writer: Writer,
    options: SqliteConnectOptions,
    _directory: tempfile::TempDir,
}

impl Names {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(directory.path().join("names.db"))
            .journal_mode(SqliteJournalMode::Wal)
            .create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        run(
            &mut connection,
            "CREATE TABLE names (name TEXT PRIMARY KEY)",
        )
        .await
        .unwrap();
        let lock = Arc::new(DirectoryLock::take(directory.path()).unwrap());
        let writer = Writer::start(
            connection,
            options.clone(),
            Turns::Alone,
            Places::after(0),
            256,
            lock,
        );
        Self {
            writer,
            options,
            _directory: directory,
        }
    }

    async fn insert(&self, name: &'static str) -> Result<u64, StoreError> {
        self.writer
            .execute(sqlx::query("INSERT INTO names VALUES ($1)").bind(name))
            .await
    }

    /// Inserts a name and then fails or panics.
    async fn insert_and(&self, name: &'static str, then: fn() -> StoreError) -> StoreError {
        let work = self.writer.transaction(move |connection| {
            Box::pin(async move {
                let insert = sqlx::query("INSERT INTO names VALUES ($1)").bind(name);
                insert.execute(connection).await.map_err(fault)?;
                Err::<(), _>(then())
            })
        });
        work.await.unwrap_err()
    }

    async fn stored(&self) -> Vec<String> {
        let mut connection = self.options.connect().await.unwrap();
        let names = sqlx::query_scalar("SELECT name FROM names ORDER BY name");
        names.fetch_all(&mut connection).await.unwrap()
    }
}

#[tokio::test]
async fn work_that_fails_is_undone_alone() {
    let names = Names::new().await;
    let (one, refused, broken, two) = tokio::join!(
        names.insert("one"),
        names.insert_and("refused", || StoreError::Conflict),
        names.insert_and("broken", || corrupt("nonsense")),
        names.insert("two"),
    );
    assert_eq!((one, two), (Ok(1), Ok(1)));
    assert_eq!(refused, StoreError::Conflict);
    assert_eq!(broken, corrupt("nonsense"));
    assert_eq!(names.stored().await, ["one", "two"]);
    assert!(!names.writer.is_failing());
}

#[tokio::test]
async fn a_broken_constraint_is_a_conflict_of_its_own() {
    let names = Names::new().await;
    let answers = join_all(["one", "one", "two"].map(|name| names.insert(name))).await;
    assert_eq!(answers, [Ok(1), Err(StoreError::Conflict), Ok(1)]);
    assert_eq!(names.stored().await, ["one", "two"]);
}

#[tokio::test]
async fn a_panic_answers_everybody_and_the_writer_goes_on() {
    let names = Names::new().await;
    let (neighbour, panicked) = tokio::join!(
        names.insert("neighbour"),
        names.insert_and("panicked", || panic!("as the test wants it")),
    );
    assert_eq!((neighbour, panicked), (Err(gone()), gone()));
    assert!(names.writer.is_failing());
    assert_eq!(names.insert("after").await, Ok(1));
    assert_eq!(names.stored().await, ["after"]);
    assert!(!names.writer.is_failing());
}

#[tokio::test]
async fn a_transaction_that_fails_as_a_whole_is_acknowledged_to_nobody() {
    let names = Names::new().await;
    // Ends the transaction underneath the writer: its COMMIT has nothing to commit.
    let end = names
        .writer
        .statement(|connection| Box::pin(async move { run(connection, "ROLLBACK").await }));
    let (one, end, two) = tokio::join!(names.insert("one"), end, names.insert("two"));
    for answer in [one.map(|_| ()), end, two.map(|_| ())] {
        assert!(
            matches!(answer, Err(StoreError::Unavailable { .. })),
            "{answer:?}"
        );
    }
    assert_eq!(names.insert("three").await, Ok(1));
}

#[tokio::test]
async fn closing_answers_what_came_before_and_refuses_what_comes_after() {
    let names = Names::new().await;
    let inserts = join_all(["one", "two", "three"].map(|name| names.insert(name)));
    let (answers, connection) = tokio::join!(inserts, names.writer.close());
    assert_eq!(answers, [Ok(1), Ok(1), Ok(1)]);
    assert!(connection.is_some());
    assert_eq!(
        names.insert("late").await,
        Err(unavailable("the store is closed"))
    );
    assert_eq!(names.writer.queue_len(), 0);
}
