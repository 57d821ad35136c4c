//! Writes many commands' outcomes with few statements.
//!
//! Every statement crosses to the connection's thread and back, so rows are gathered: one statement
//! for up to [`MAX_ROWS`] of them, in sizes that are powers of two so that the prepared statements
//! are few. When a condition of one command does not hold, the batch is done again row by row: that
//! tells which one it was, and leaves its neighbours as they are.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteQueryResult};
use sqlx::{Arguments, Encode, Row, Sqlite, Type};
use uuid::Uuid;

use super::super::error::{corrupt, fault};
use super::super::prepared::{HistoryRow, PreparedCommit};
use super::turns::Turns;
use super::writer::run;
use crate::store::StoreError;

/// Rows of one statement.
const MAX_ROWS: usize = 64;
/// 1, 2, 4, … [`MAX_ROWS`].
const SIZES: usize = MAX_ROWS.trailing_zeros() as usize + 1;

/// What a commit does to its row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Create,
    /// Changes something that lists are narrowed or ordered by.
    Relist,
    /// Changes nothing of the kind, as most commands of an issued invoice: no index of the lists is
    /// touched, which is most of the work.
    Advance,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Create, Self::Relist, Self::Advance];

    const fn of(commit: &PreparedCommit) -> Self {
        match (commit.is_new(), commit.relisted) {
            (true, _) => Self::Create,
            (false, true) => Self::Relist,
            (false, false) => Self::Advance,
        }
    }

    const fn statement(self) -> &'static LazyLock<ManyRows> {
        match self {
            Self::Create => &INSERT_INVOICES,
            Self::Relist => &UPDATE_INVOICES,
            Self::Advance => &UPDATE_SNAPSHOTS,
        }
    }

    /// The values of the kind's statement, which all begin alike.
    fn bind(self, commit: &PreparedCommit, row: &mut Values) {
        row.add(commit.id);
        row.add(commit.version);
        row.add(commit.epoch);
        row.add(commit.updated_at);
        row.add(commit.wake_at);
        row.add(Arc::clone(&commit.snapshot));
        if self != Self::Advance {
            let listing = &commit.listing;
            row.add(listing.status);
            row.add(listing.number.clone());
            row.add(listing.customer);
            row.add(listing.currency.clone());
            row.add(listing.overdue);
            row.add(listing.issued_on.clone());
            row.add(Arc::clone(&listing.search));
        }
        if self == Self::Create {
            row.add(commit.organization);
            row.add(commit.shard);
            row.add(commit.created_at);
        } else {
            row.add(commit.expected_version);
        }
    }
}

/// One statement in all its sizes.
struct ManyRows {
    columns: usize,
    sizes: [String; SIZES],
}

impl ManyRows {
    fn new(before: &str, columns: usize, after: &str) -> Self {
        // Unnumbered placeholders: SQLite looks up each numbered one in a list of all of them,
        // which makes a wide statement slow.
        let row = format!("({})", vec!["?"; columns].join(", "));
        let sizes = std::array::from_fn(|power| {
            format!(
                "{before}{}{after}",
                vec![row.as_str(); 1 << power].join(", ")
            )
        });
        Self { columns, sizes }
    }

    /// The text for a number of rows that is a power of two.
    fn text(&'static self, rows: usize) -> &'static str {
        &self.sizes[rows.trailing_zeros() as usize]
    }
}

static INSERT_INVOICES: LazyLock<ManyRows> = LazyLock::new(|| {
    ManyRows::new(
        "INSERT INTO invoices (id, version, epoch, updated_at, wake_at, snapshot, status, number, \
         customer, currency, overdue, issued_on, search, organization, shard, created_at) VALUES ",
        16,
        " ON CONFLICT (id) DO NOTHING",
    )
});

static UPDATE_INVOICES: LazyLock<ManyRows> = LazyLock::new(|| {
    ManyRows::new(
        "WITH change (id, version, epoch, updated_at, wake_at, snapshot, status, number, \
         customer, currency, overdue, issued_on, search, expected_version) AS (VALUES ",
        14,
        ") UPDATE invoices SET version = change.version, epoch = change.epoch, \
         updated_at = change.updated_at, wake_at = change.wake_at, snapshot = change.snapshot, \
         status = change.status, number = change.number, customer = change.customer, \
         currency = change.currency, overdue = change.overdue, issued_on = change.issued_on, \
         search = change.search FROM change WHERE invoices.id = change.id \
         AND invoices.version = change.expected_version AND invoices.epoch <= change.epoch",
    )
});

static UPDATE_SNAPSHOTS: LazyLock<ManyRows> = LazyLock::new(|| {
    ManyRows::new(
        "WITH change (id, version, epoch, updated_at, wake_at, snapshot, expected_version) AS \
         (VALUES ",
        7,
        ") UPDATE invoices SET version = change.version, epoch = change.epoch, \
         updated_at = change.updated_at, wake_at = change.wake_at, snapshot = change.snapshot \
         FROM change WHERE invoices.id = change.id \
         AND invoices.version = change.expected_version AND invoices.epoch <= change.epoch",
    )
});

static INSERT_HISTORY: LazyLock<ManyRows> = LazyLock::new(|| {
    ManyRows::new(
        "INSERT INTO history (invoice, version, at, body, event) VALUES ",
        5,
        "",
    )
});

static INSERT_FEED: LazyLock<ManyRows> = LazyLock::new(|| {
    ManyRows::new(
        "INSERT INTO feed (organization, invoice, version, event_id) VALUES ",
        4,
        "",
    )
});

/// The values of one statement's rows.
struct Values {
    arguments: SqliteArguments,
    broken: Option<sqlx::error::BoxDynError>,
}

impl Values {
    fn add<'t, T: Encode<'t, Sqlite> + Type<Sqlite>>(&mut self, value: T) {
        if let Err(error) = self.arguments.add(value) {
            self.broken.get_or_insert(error);
        }
    }
}

/// What a batch has become, if its transaction is committed.
pub(super) struct Written {
    /// One for each commit.
    pub(super) verdicts: Vec<Result<(), StoreError>>,
    /// Of its events in the feed.
    pub(super) last_place: Option<i64>,
}

/// Writes the outcomes, within the caller's transaction. `Err` means that the transaction is spoiled.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    commits: &[PreparedCommit],
    turns: &Turns,
) -> Result<Written, StoreError> {
    let mut ids = HashSet::with_capacity(commits.len());
    let each_once = commits.iter().all(|commit| ids.insert(commit.id));
    let verdicts = if each_once && write_together(connection, commits, turns).await? {
        vec![Ok(()); commits.len()]
    } else {
        write_one_by_one(connection, commits).await?
    };
    let accepted: Vec<&PreparedCommit> = commits
        .iter()
        .zip(&verdicts)
        .filter_map(|(commit, verdict)| verdict.is_ok().then_some(commit))
        .collect();
    let last_place = write_history(connection, &accepted).await?;
    Ok(Written {
        verdicts,
        last_place,
    })
}

/// Writes all, or gives false when a condition did not hold; then nothing is written.
async fn write_together(
    connection: &mut SqliteConnection,
    commits: &[PreparedCommit],
    turns: &Turns,
) -> Result<bool, StoreError> {
    for kind in Kind::ALL {
        let of_kind: Vec<_> = commits
            .iter()
            .filter(|commit| Kind::of(commit) == kind)
            .collect();
        if write_kind(connection, kind, &of_kind).await? != of_kind.len() as u64 {
            // Nothing else has been written in this transaction yet.
            run(connection, "ROLLBACK").await?;
            turns.begin(connection).await?;
            return Ok(false);
        }
    }
    Ok(true)
}

async fn write_one_by_one(
    connection: &mut SqliteConnection,
    commits: &[PreparedCommit],
) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let mut verdicts = Vec::with_capacity(commits.len());
    for commit in commits {
        verdicts.push(
            match write_kind(connection, Kind::of(commit), &[commit]).await? {
                1 => Ok(()),
                _ => Err(refusal(connection, commit).await?),
            },
        );
    }
    Ok(verdicts)
}

/// How many rows were touched.
async fn write_kind(
    connection: &mut SqliteConnection,
    kind: Kind,
    commits: &[&PreparedCommit],
) -> Result<u64, StoreError> {
    let done = write_rows(connection, kind.statement(), commits, |commit, row| {
        kind.bind(commit, row);
    });
    Ok(done.await?.rows_affected())
}

/// Why a command's row was not written.
async fn refusal(
    connection: &mut SqliteConnection,
    commit: &PreparedCommit,
) -> Result<StoreError, StoreError> {
    let stored = sqlx::query("SELECT epoch FROM invoices WHERE id = $1")
        .bind(commit.id)
        .fetch_optional(connection)
        .await
        .map_err(fault)?;
    let epoch: Option<i64> = stored
        .map(|row| row.try_get(0).map_err(fault))
        .transpose()?;
    Ok(match epoch {
        Some(epoch) if epoch > commit.epoch => StoreError::NotOwner,
        _ => StoreError::Conflict,
    })
}

/// The last of the events' places in the feed.
async fn write_history(
    connection: &mut SqliteConnection,
    commits: &[&PreparedCommit],
) -> Result<Option<i64>, StoreError> {
    let rows: Vec<(&PreparedCommit, &HistoryRow)> = commits
        .iter()
        .flat_map(|commit| commit.history.iter().map(move |row| (*commit, row)))
        .collect();
    write_rows(
        connection,
        &INSERT_HISTORY,
        &rows,
        |(commit, history), row| {
            row.add(commit.id);
            row.add(history.version);
            row.add(history.at);
            row.add(Arc::clone(&history.body));
            row.add(history.event.as_ref().map(|event| Arc::clone(&event.body)));
        },
    )
    .await?;
    let events: Vec<(&PreparedCommit, &HistoryRow, Uuid)> = rows
        .into_iter()
        .filter_map(|(commit, row)| row.event.as_ref().map(|event| (commit, row, event.id)))
        .collect();
    let done = write_rows(
        connection,
        &INSERT_FEED,
        &events,
        |(commit, history, event_id), row| {
            row.add(commit.organization);
            row.add(commit.id);
            row.add(history.version);
            row.add(*event_id);
        },
    )
    .await?;
    Ok((!events.is_empty()).then(|| done.last_insert_rowid()))
}

/// Writes rows with as few statements as their number allows.
async fn write_rows<T>(
    connection: &mut SqliteConnection,
    statement: &'static LazyLock<ManyRows>,
    rows: &[T],
    bind: impl Fn(&T, &mut Values),
) -> Result<SqliteQueryResult, StoreError> {
    let mut rest = rows;
    let mut all = SqliteQueryResult::default();
    while !rest.is_empty() {
        let size = (1 << rest.len().ilog2()).min(MAX_ROWS);
        let (chunk, behind) = rest.split_at(size);
        rest = behind;
        let mut values = Values {
            arguments: SqliteArguments::default(),
            broken: None,
        };
        values.arguments.reserve(size * statement.columns, 0);
        for row in chunk {
            bind(row, &mut values);
        }
        if let Some(error) = values.broken {
            return Err(corrupt(error));
        }
        let done = sqlx::query_with(statement.text(size), values.arguments)
            .execute(&mut *connection)
            .await
            .map_err(fault)?;
        all.extend([done]);
    }
    Ok(all)
}
