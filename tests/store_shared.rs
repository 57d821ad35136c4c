//! Several processes on one data directory, as the nodes of a cluster on one host.

#[cfg(test)]
#[path = "store_sample/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with the contract suite, which uses more of it"
)]
mod sample;

#[cfg(test)]
mod shared {
    use std::collections::{BTreeMap, BTreeSet};
    use std::io::{BufRead, BufReader, Write};
    use std::path::Path;
    use std::process::{Child, ChildStdout, Command, Stdio};
    use std::time::Duration;

    use faktor::domain::ids::{InvoiceId, OrganizationId};
    use faktor::domain::invoice::event::PublicEvent;
    use faktor::store::sql::{SqliteOptions, SqliteStore, StoreHandle};
    use faktor::store::{StoreError, Stores};
    use futures_util::future::join_all;
    use jiff::civil::date;

    use crate::sample::{change, creation, draft, new_organization, organization};

    const PROCESSES: usize = 3;
    /// Commits of each process.
    const COMMITS: usize = 300;
    /// The callers of each process.
    const CALLERS: usize = 10;
    /// Commits of one invoice: its creation and changes.
    const VERSIONS: u64 = 3;

    const DIRECTORY: &str = "FAKTOR_TEST_STORE_DIRECTORY";
    const ORGANIZATION: &str = "FAKTOR_TEST_STORE_ORGANIZATION";

    async fn open(directory: &Path, shared: bool) -> Result<(Stores, StoreHandle), StoreError> {
        let options = SqliteOptions {
            shared,
            ..SqliteOptions::default()
        };
        SqliteStore::open(directory, options).await
    }

    /// A process that does not outlive its test.
    struct Node {
        process: Child,
        said: BufReader<ChildStdout>,
    }

    impl Node {
        /// This test binary again, as [`node`] on the directory.
        fn start(directory: &Path, organization: OrganizationId) -> Self {
            let mut process = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "shared::node", "--ignored", "--nocapture"])
                .env(DIRECTORY, directory)
                .env(ORGANIZATION, organization.to_string())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let said = BufReader::new(process.stdout.take().unwrap());
            Self { process, said }
        }

        /// What it acknowledged until `enough` of it, then it is killed, or until it ends by itself.
        fn said(mut self, enough: usize) -> Vec<Said> {
            let mut all = Vec::new();
            for line in (&mut self.said).split(b'\n') {
                let line = line.unwrap();
                all.extend(std::str::from_utf8(&line).ok().and_then(Said::parse));
                if all.len() == enough {
                    self.process.kill().unwrap();
                }
            }
            if enough == usize::MAX {
                assert!(self.process.wait().unwrap().success());
            }
            all
        }
    }

    impl Drop for Node {
        fn drop(&mut self) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }

    /// An acknowledged write.
    #[derive(Debug)]
    enum Said {
        Version(InvoiceId, u64),
        Number(InvoiceId, String),
    }

    impl Said {
        fn parse(line: &str) -> Option<Self> {
            let mut words = line.split(' ');
            let (what, id, value) = (words.next()?, words.next()?.parse().ok(), words.next()?);
            match what {
                "version" => Some(Self::Version(id?, value.parse().ok()?)),
                "number" => Some(Self::Number(id?, value.to_owned())),
                _ => None,
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "the other side of the tests with several processes"]
    async fn node() {
        let directory = std::env::var_os(DIRECTORY).unwrap();
        let organization = std::env::var(ORGANIZATION).unwrap().parse().unwrap();
        let (stores, handle) = open(Path::new(&directory), true).await.unwrap();
        // A line is one write to the pipe: none is lost in a buffer of ours.
        let say = |line: String| std::io::stdout().write_all(line.as_bytes()).unwrap();
        let invoices = COMMITS / CALLERS / usize::try_from(VERSIONS).unwrap();
        join_all((0..CALLERS).map(|_| async {
            for _ in 0..invoices {
                let mut invoice = draft(organization);
                stores.invoices.commit(creation(&invoice)).await.unwrap();
                say(format!("\nversion {} 1\n", invoice.id));
                let today = date(2026, 3, 1);
                let number = stores.series.allocate(organization, invoice.id, today);
                let number = number.await.unwrap().number;
                say(format!("\nnumber {} {number}\n", invoice.id));
                for version in 2..=VERSIONS {
                    let commit = change(&invoice, |_| {});
                    invoice = (*commit.invoice).clone();
                    stores.invoices.commit(commit).await.unwrap();
                    say(format!("\nversion {} {version}\n", invoice.id));
                }
            }
        }))
        .await;
        handle.close().await.unwrap();
    }

    /// An organization that all processes write for, in a directory that one process opened before.
    async fn founded(directory: &Path) -> OrganizationId {
        let (stores, handle) = open(directory, true).await.unwrap();
        let organization = organization(new_organization());
        let inserted = stores.directory.insert_organization(&organization).await;
        inserted.unwrap();
        handle.close().await.unwrap();
        organization.id
    }

    /// Follows the feed until it holds so much, while others write.
    async fn follow(
        stores: &Stores,
        organization: OrganizationId,
        total: usize,
    ) -> Vec<PublicEvent> {
        let mut seen: Vec<PublicEvent> = Vec::new();
        while seen.len() < total {
            let after = seen.last().map(|event| event.id);
            let part = stores.feed.feed(organization, after, 7).await.unwrap();
            seen.extend(part.unwrap());
            tokio::task::yield_now().await;
        }
        seen
    }

    /// Each invoice's versions, in order and without a gap.
    fn versions(events: &[PublicEvent]) -> BTreeMap<InvoiceId, u64> {
        let mut versions = BTreeMap::new();
        for event in events {
            let last = versions.entry(event.invoice).or_insert(0);
            assert_eq!(event.version, *last + 1, "{}", event.invoice);
            *last = event.version;
        }
        versions
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn processes_that_write_at_once_make_one_feed_and_one_series_without_a_gap() {
        let directory = tempfile::tempdir().unwrap();
        let organization = founded(directory.path()).await;
        let (stores, handle) = open(directory.path(), true).await.unwrap();
        let nodes: Vec<_> = (0..PROCESSES)
            .map(|_| Node::start(directory.path(), organization))
            .collect();
        let saying = nodes
            .into_iter()
            .map(|node| tokio::task::spawn_blocking(|| node.said(usize::MAX)));
        let total = PROCESSES * COMMITS;
        let writing =
            async { tokio::join!(join_all(saying), follow(&stores, organization, total)) };
        let within = Duration::from_mins(2);
        let (said, events) = tokio::time::timeout(within, writing).await.unwrap();

        let again = follow(&stores, organization, total).await;
        assert_eq!(events, again, "who follows a cursor misses nothing");
        let versions = versions(&events);
        assert!(versions.values().all(|version| *version == VERSIONS));
        let mut numbers = BTreeSet::new();
        for said in said.into_iter().flat_map(Result::unwrap) {
            match said {
                Said::Version(id, _) => assert!(versions.contains_key(&id)),
                Said::Number(_, number) => assert!(numbers.insert(number), "given twice"),
            }
        }
        let expected: BTreeSet<_> = (1..=versions.len())
            .map(|position| format!("2026-{position:04}"))
            .collect();
        assert_eq!(numbers, expected);

        let mut told = 0;
        while told < total as u64 {
            let part = stores.feed.publish(100).await.unwrap();
            assert_ne!(
                part, 0,
                "each node tells its readers of every node's events"
            );
            told += part;
        }
        assert_eq!(stores.feed.publish(100).await, Ok(0));
        // Its own at once, with the others' before it; and theirs when it has none.
        let (other, other_handle) = open(directory.path(), true).await.unwrap();
        for (node, untold) in [(&stores, 1), (&other, 2), (&stores, 2)] {
            let own = creation(&draft(organization));
            node.invoices.commit(own).await.unwrap();
            assert_eq!(node.feed.publish(100).await, Ok(untold));
        }
        assert_eq!(other.feed.publish(100).await, Ok(1));
        for node in [&stores, &other] {
            assert_eq!(node.feed.publish(100).await, Ok(0));
        }
        other_handle.close().await.unwrap();
        handle.close().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_killed_process_harms_neither_the_others_nor_what_was_acknowledged() {
        let directory = tempfile::tempdir().unwrap();
        let organization = founded(directory.path()).await;
        let saying = [70, 210, usize::MAX].map(|enough| {
            let node = Node::start(directory.path(), organization);
            tokio::task::spawn_blocking(move || node.said(enough))
        });
        let said = join_all(saying).await;
        let (stores, handle) = open(directory.path(), false).await.unwrap();
        let mut numbers = BTreeMap::new();
        for said in said.into_iter().flat_map(Result::unwrap) {
            match said {
                Said::Version(id, version) => {
                    let kept = stores.invoices.load(id).await.unwrap().unwrap();
                    assert!(kept.version >= version);
                    let history = stores.invoices.history(id, 0, 100).await.unwrap();
                    assert_eq!(history.len() as u64, kept.version);
                }
                Said::Number(id, number) => {
                    let allocated = stores.series.allocate(organization, id, date(2026, 3, 1));
                    assert_eq!(allocated.await.unwrap().number, number);
                    assert_eq!(numbers.insert(number, id), None, "given twice");
                }
            }
        }
        let events = stores.feed.feed(organization, None, 5_000).await.unwrap();
        let versions = versions(&events.unwrap());
        assert!(versions.len() > COMMITS / 3);
        handle.close().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nodes_that_start_at_once_in_an_empty_directory_all_open_it() {
        for _ in 0..5 {
            let directory = tempfile::tempdir().unwrap();
            let organization = new_organization();
            let nodes = join_all((0..4).map(|_| open(directory.path(), true))).await;
            for node in nodes {
                let (stores, handle) = node.unwrap();
                let invoice = draft(organization);
                stores.invoices.commit(creation(&invoice)).await.unwrap();
                handle.close().await.unwrap();
            }
            let (stores, handle) = open(directory.path(), false).await.unwrap();
            let events = stores.feed.feed(organization, None, 10).await.unwrap();
            assert_eq!(events.unwrap().len(), 4);
            assert!(stores.cluster.view().await.unwrap().shards.len() == 256);
            handle.close().await.unwrap();
            assert!(!directory.path().join("faktor.db-wal").exists());
        }
    }

    #[tokio::test]
    async fn a_lone_node_and_nodes_that_share_keep_each_other_out() {
        let directory = tempfile::tempdir().unwrap();
        let (_, alone) = open(directory.path(), false).await.unwrap();
        let error = open(directory.path(), true).await.err().unwrap();
        let sentence = error.to_string();
        let holder = format!("process {}", std::process::id());
        assert!(matches!(&error, StoreError::InUse { holder: it, .. } if *it == holder));
        assert!(sentence.contains("[cluster] listen"), "{sentence}");
        alone.close().await.unwrap();

        let (_, one) = open(directory.path(), true).await.unwrap();
        let (_, two) = open(directory.path(), true).await.unwrap();
        one.close().await.unwrap();
        let error = open(directory.path(), false).await.err().unwrap();
        let holder = "nodes of a cluster";
        assert!(matches!(&error, StoreError::InUse { holder: it, .. } if it == holder));
        two.close().await.unwrap();
        let (_, alone) = open(directory.path(), false).await.unwrap();
        alone.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_others_have_locked_is_waited_for_at_the_start() {
        use sqlx::{Connection as _, Executor as _};

        // Longer than a statement waits.
        const LOCKED: Duration = Duration::from_secs(6);
        let directory = tempfile::tempdir().unwrap();
        let (_, handle) = open(directory.path(), true).await.unwrap();
        handle.close().await.unwrap();
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(directory.path().join("faktor.db"))
            .pragma("locking_mode", "EXCLUSIVE");
        let mut other = sqlx::SqliteConnection::connect_with(&options)
            .await
            .unwrap();
        other.execute("BEGIN EXCLUSIVE").await.unwrap();
        let unlocking = async {
            tokio::time::sleep(LOCKED).await;
            other.close().await.unwrap();
        };
        let (opened, ()) = tokio::join!(open(directory.path(), true), unlocking);
        let (_, handle) = opened.unwrap();
        handle.close().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_write_waits_for_another_nodes_transaction() {
        use sqlx::{Connection, Executor};

        let directory = tempfile::tempdir().unwrap();
        let (stores, handle) = open(directory.path(), true).await.unwrap();
        let options =
            sqlx::sqlite::SqliteConnectOptions::new().filename(directory.path().join("faktor.db"));
        let mut other = sqlx::SqliteConnection::connect_with(&options)
            .await
            .unwrap();
        other.execute("BEGIN IMMEDIATE").await.unwrap();
        let invoice = draft(new_organization());
        let mut writing = stores.invoices.commit(creation(&invoice));
        let meanwhile = tokio::time::timeout(Duration::from_millis(200), &mut writing).await;
        assert!(meanwhile.is_err(), "{meanwhile:?}");
        other.execute("ROLLBACK").await.unwrap();
        assert_eq!(writing.await, Ok(()));
        assert!(handle.takes_writes());
        other.close().await.unwrap();
        handle.close().await.unwrap();
    }
}
