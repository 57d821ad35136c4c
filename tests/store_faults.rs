//! What the store does when the disk, the file or the process fails underneath it.

#[cfg(test)]
#[path = "store_sample/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with the contract suite, which uses more of it"
)]
mod sample;

#[cfg(test)]
mod faults {
    use std::path::Path;
    use std::process::{Child, ChildStdout, Command, Stdio};

    use faktor::domain::ids::InvoiceId;
    use faktor::domain::invoice::{Invoice, State};
    use faktor::store::sql::{SqliteOptions, SqliteStore, StoreHandle};
    use faktor::store::{Epoch, StoreError, Stores};
    use futures_util::future::join_all;
    use jiff::civil::date;
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{Connection, SqliteConnection};

    use crate::sample::{change, creation, draft, issued, new_organization, organization};

    async fn open(directory: &Path) -> Result<(Stores, StoreHandle), StoreError> {
        SqliteStore::open(directory, SqliteOptions::default()).await
    }

    async fn open_with_pragma(directory: &Path, key: &str, value: &str) -> (Stores, StoreHandle) {
        let writer_pragmas = vec![(key.to_owned(), value.to_owned())];
        let options = SqliteOptions {
            writer_pragmas,
            ..SqliteOptions::default()
        };
        SqliteStore::open(directory, options).await.unwrap()
    }

    /// The file as an operator sees it, beside the running store.
    async fn raw(directory: &Path) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(directory.join("faktor.db"));
        SqliteConnection::connect_with(&options).await.unwrap()
    }

    async fn execute(directory: &Path, statement: &'static str) {
        let mut connection = raw(directory).await;
        sqlx::query(statement)
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }

    fn reason(error: &StoreError) -> &str {
        match error {
            StoreError::Unavailable { reason } | StoreError::Corrupt { reason } => reason,
            other => panic!("not a fault: {other:?}"),
        }
    }

    /// Commits new invoices, many at once, until one is refused; the acknowledged ones.
    async fn fill(stores: &Stores) -> (Vec<Invoice>, StoreError) {
        let organization = new_organization();
        let mut acknowledged = Vec::new();
        for _ in 0..1_000 {
            let drafts: Vec<_> = (0..8).map(|_| draft(organization)).collect();
            let commits = drafts
                .iter()
                .map(|draft| stores.invoices.commit(creation(draft)));
            let mut refusal = None;
            for (draft, answer) in drafts.iter().zip(join_all(commits).await) {
                match answer {
                    Ok(()) => acknowledged.push(draft.clone()),
                    Err(error) => refusal = Some(error),
                }
            }
            if let Some(error) = refusal {
                return (acknowledged, error);
            }
        }
        panic!("the disk never was full");
    }

    #[tokio::test]
    async fn a_full_disk_is_a_clear_error_and_loses_nothing_that_was_acknowledged() {
        let directory = tempfile::tempdir().unwrap();
        let (stores, handle) = open_with_pragma(directory.path(), "max_page_count", "300").await;
        assert!(handle.takes_writes());
        let (acknowledged, error) = fill(&stores).await;
        assert_eq!(reason(&error), "the disk is full");
        assert!(!acknowledged.is_empty());
        assert!(!handle.takes_writes());
        assert_eq!(
            reason(&stores.invoices.ping().await.unwrap_err()),
            "the disk is full"
        );
        for invoice in &acknowledged {
            let kept = stores.invoices.load(invoice.id).await.unwrap();
            assert_eq!(kept.as_ref(), Some(invoice), "reads go on");
        }

        // The operator makes room: the node is ready again by itself.
        execute(directory.path(), "DELETE FROM history").await;
        stores.invoices.ping().await.unwrap();
        assert!(handle.takes_writes());
        stores
            .invoices
            .commit(creation(&draft(new_organization())))
            .await
            .unwrap();
        handle.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_read_only_file_is_a_clear_error_and_reads_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let (stores, handle) = open(directory.path()).await.unwrap();
        let invoice = draft(new_organization());
        stores.invoices.commit(creation(&invoice)).await.unwrap();
        handle.close().await.unwrap();

        let (stores, handle) = open_with_pragma(directory.path(), "query_only", "TRUE").await;
        let error = stores
            .invoices
            .commit(change(&invoice, |_| {}))
            .await
            .unwrap_err();
        assert_eq!(reason(&error), "the data directory is read-only");
        assert_eq!(
            stores.invoices.load(invoice.id).await.unwrap(),
            Some(invoice.clone())
        );
        let claimed = stores.invoices.claim(invoice.id, Epoch(1)).await;
        assert_eq!(
            claimed,
            Ok(Some(invoice.clone())),
            "its owner writes nothing"
        );
        assert!(stores.invoices.claim(invoice.id, Epoch(2)).await.is_err());
        assert!(stores.invoices.ping().await.is_err());
        handle.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_data_directory_that_can_not_be_made_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = open(&file.join("data")).await.err().unwrap();
        assert!(reason(&error).contains(file.to_str().unwrap()), "{error}");
    }

    #[tokio::test]
    async fn the_data_directory_is_made_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("a/b");
        let (_, handle) = open(&data).await.unwrap();
        let mode = std::fs::metadata(&data).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        handle.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_refused_as_damaged() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(
            directory.path().join("faktor.db"),
            "no database ".repeat(1_000),
        )
        .unwrap();
        let error = open(directory.path()).await.err().unwrap();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_snapshot_that_can_not_be_read_is_damage_and_harms_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let (stores, handle) = open(directory.path()).await.unwrap();
        let (one, two) = (draft(new_organization()), draft(new_organization()));
        stores.invoices.commit(creation(&one)).await.unwrap();
        execute(directory.path(), "UPDATE invoices SET snapshot = '{}'").await;
        stores.invoices.commit(creation(&two)).await.unwrap();
        let error = stores.invoices.load(one.id).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        assert_eq!(stores.invoices.load(two.id).await.unwrap(), Some(two));
        handle.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_schema_newer_than_the_binary_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (_, handle) = open(directory.path()).await.unwrap();
        handle.close().await.unwrap();
        execute(
            directory.path(),
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'from the future', TRUE, x'00', 0)",
        )
        .await;
        for _ in 0..2 {
            let error = open(directory.path()).await.err().unwrap();
            assert!(
                matches!(error, StoreError::SchemaTooNew { found: 9999, known } if known < 9999),
                "{error}"
            );
            assert!(error.to_string().contains("use the newer binary"));
        }
    }

    #[tokio::test]
    async fn numbers_that_were_brought_along_before_they_were_reserved_are_so_by_the_migration() {
        let directory = tempfile::tempdir().unwrap();
        let (stores, handle) = open(directory.path()).await.unwrap();
        let organization = organization(new_organization());
        let directory_store = &stores.directory;
        directory_store
            .insert_organization(&organization)
            .await
            .unwrap();
        let bringing = |number: &str| {
            let mut invoice = draft(organization.id);
            invoice.state = State::Open {
                issued: issued(number, date(2026, 3, 1), false),
            };
            invoice
        };
        for number in ["2026-0001", "2026-0002"] {
            let invoice = bringing(number);
            stores.invoices.commit(creation(&invoice)).await.unwrap();
        }
        handle.close().await.unwrap();
        execute(directory.path(), "DELETE FROM numbers").await;
        execute(
            directory.path(),
            "UPDATE invoices SET number = '2026-0001' WHERE number = '2026-0002'",
        )
        .await;
        execute(
            directory.path(),
            "DELETE FROM _sqlx_migrations WHERE version = 3",
        )
        .await;

        let (stores, handle) = open(directory.path()).await.unwrap();
        let refusal = stores
            .invoices
            .commit(creation(&bringing("2026-0001")))
            .await;
        assert_eq!(refusal, Err(StoreError::Taken { field: "number" }));
        let next = draft(organization.id).id;
        let allocated = stores
            .series
            .allocate(organization.id, next, date(2026, 3, 1));
        assert_eq!(allocated.await.unwrap().number, "2026-0002");
        handle.close().await.unwrap();
    }

    #[tokio::test]
    async fn closing_finishes_what_waits_and_leaves_one_file() {
        let directory = tempfile::tempdir().unwrap();
        let (stores, handle) = open(directory.path()).await.unwrap();
        let drafts: Vec<_> = (0..300).map(|_| draft(new_organization())).collect();
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
        assert!(!directory.path().join("faktor.db-wal").exists());

        let (stores, handle) = open(directory.path()).await.unwrap();
        for (draft, answer) in drafts.iter().zip(answers) {
            let kept = stores.invoices.load(draft.id).await.unwrap();
            assert_eq!(kept.is_some(), answer.is_ok());
        }
        handle.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_second_opening_names_the_process_that_holds_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let (_, handle) = open(directory.path()).await.unwrap();
        let error = open(directory.path()).await.err().unwrap();
        let pid = std::process::id();
        assert!(
            error
                .to_string()
                .contains(&format!("is in use by process {pid};")),
            "{error}"
        );
        handle.close().await.unwrap();
        let (_, handle) = open(directory.path()).await.unwrap();
        handle.close().await.unwrap();
    }

    const CHILD_DIRECTORY: &str = "FAKTOR_TEST_STORE_DIRECTORY";
    /// The child's callers: enough for large batches.
    const CALLERS: usize = 24;

    /// A process that does not outlive its test.
    struct Killed(Child);

    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// Starts this test binary again, as [`child`] on the directory.
    fn start_child(directory: &Path) -> (Killed, ChildStdout) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "faults::child",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(CHILD_DIRECTORY, directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = child.stdout.take().unwrap();
        (Killed(child), said)
    }

    /// Writes without end, and says what was acknowledged: `version <invoice> <version>` and
    /// `number <invoice> <number>`.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "the other side of the tests that kill a process"]
    async fn child() {
        use std::io::Write;

        let directory = std::env::var_os(CHILD_DIRECTORY).unwrap();
        let (stores, _handle) = open(Path::new(&directory)).await.unwrap();
        let organization = organization(new_organization());
        stores
            .directory
            .insert_organization(&organization)
            .await
            .unwrap();
        // A line is one write to the pipe: none is lost in a buffer of ours.
        let say = |line: String| std::io::stdout().write_all(line.as_bytes()).unwrap();
        join_all((0..CALLERS).map(|_| async {
            loop {
                let mut invoice = draft(organization.id);
                stores.invoices.commit(creation(&invoice)).await.unwrap();
                say(format!("\nversion {} 1\n", invoice.id));
                let today = date(2026, 3, 1);
                let number = stores
                    .series
                    .allocate(organization.id, invoice.id, today)
                    .await;
                say(format!(
                    "\nnumber {} {}\n",
                    invoice.id,
                    number.unwrap().number
                ));
                for version in 2..=5 {
                    let commit = change(&invoice, |_| {});
                    invoice = (*commit.invoice).clone();
                    stores.invoices.commit(commit).await.unwrap();
                    say(format!("\nversion {} {version}\n", invoice.id));
                }
            }
        }))
        .await;
    }

    /// What a child said, and nothing it was about to say.
    #[derive(Debug)]
    enum Said {
        Version(InvoiceId, u64),
        Number(InvoiceId, String),
    }

    fn parse(line: &str) -> Option<Said> {
        let mut words = line.split(' ');
        match (words.next()?, words.next()?, words.next()?) {
            ("version", id, version) => {
                Some(Said::Version(id.parse().ok()?, version.parse().ok()?))
            }
            ("number", id, number) => Some(Said::Number(id.parse().ok()?, number.to_owned())),
            _ => None,
        }
    }

    /// Lets a child write until it has said so much, kills it, and gives all that it said.
    fn write_and_kill(directory: &Path, lines: usize) -> Vec<Said> {
        use std::io::{BufRead, BufReader};

        let (mut child, stdout) = start_child(directory);
        let mut said = Vec::new();
        let mut killed = false;
        for line in BufReader::new(stdout).split(b'\n') {
            // What the pipe still holds after the kill counts as well.
            let line = line.unwrap();
            said.extend(std::str::from_utf8(&line).ok().and_then(parse));
            if said.len() >= lines && !killed {
                child.0.kill().unwrap();
                killed = true;
            }
        }
        assert!(killed, "the child ended by itself");
        said
    }

    #[tokio::test]
    async fn a_killed_process_loses_no_acknowledged_write_and_skips_no_number() {
        let directory = tempfile::tempdir().unwrap();
        for lines in [100, 333, 777] {
            let said = write_and_kill(directory.path(), lines);
            assert!(said.len() >= lines);
            let (stores, handle) = open(directory.path()).await.unwrap();
            let mut raw = raw(directory.path()).await;
            for said in said {
                match said {
                    Said::Version(id, version) => {
                        let invoice = stores.invoices.load(id).await.unwrap().unwrap();
                        assert!(invoice.version >= version, "{id} lost version {version}");
                        let history = stores.invoices.history(id, 0, 100).await.unwrap();
                        assert!(history.iter().map(|it| it.version).eq(1..=invoice.version));
                    }
                    Said::Number(id, number) => {
                        let invoice = stores.invoices.load(id).await.unwrap().unwrap();
                        let later = date(2027, 1, 1);
                        let again = stores
                            .series
                            .allocate(invoice.organization, id, later)
                            .await;
                        assert_eq!(again.unwrap().number, number);
                    }
                }
            }
            let gaps: i64 = sqlx::query_scalar(
                "SELECT COUNT(*) FROM number_series WHERE last_position <> (SELECT COUNT(*) \
                 FROM numbers WHERE numbers.organization = number_series.organization)",
            )
            .fetch_one(&mut raw)
            .await
            .unwrap();
            assert_eq!(
                gaps, 0,
                "a number was taken from the series and given to nobody"
            );
            let check: String = sqlx::query_scalar("PRAGMA integrity_check")
                .fetch_one(&mut raw)
                .await
                .unwrap();
            assert_eq!(check, "ok");
            raw.close().await.unwrap();
            handle.close().await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_second_process_is_refused_while_the_first_one_lives_and_not_after() {
        use std::io::{BufRead, BufReader};

        let directory = tempfile::tempdir().unwrap();
        let (child, stdout) = start_child(directory.path());
        let mut lines = BufReader::new(stdout).lines();
        let wrote = lines.any(|line| parse(&line.unwrap()).is_some());
        assert!(wrote, "the child never wrote");
        let error = open(directory.path()).await.err().unwrap();
        let holder = format!("process {}", child.0.id());
        assert!(
            matches!(&error, StoreError::InUse { holder: it, .. } if *it == holder),
            "{error}"
        );
        drop(child);
        let (_, handle) = open(directory.path()).await.unwrap();
        handle.close().await.unwrap();
    }
}
