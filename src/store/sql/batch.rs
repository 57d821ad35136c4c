//! Writes many commands' outcomes with few statements.
//!
//! Every statement crosses to the connection's thread and back, so rows are gathered: one statement
//! for up to [`MAX_ROWS`] of them, in sizes that are powers of two so that the prepared statements
//! are few. When a condition of one command does not hold, the batch is done again row by row: that
//! tells which one it was, and leaves its neighbours as they are.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, Encode, Row, Sqlite, Type};

use super::columns::{date_text, id_bytes, integer, json_text, micros, search_text};
use super::error::{corrupt, fault};
use super::writer::run;
use crate::store::{Commit, ShardId, StoreError};

/// Rows of one statement.
const MAX_ROWS: usize = 64;
/// 1, 2, 4, … [`MAX_ROWS`].
const SIZES: usize = MAX_ROWS.trailing_zeros() as usize + 1;

/// A [`Commit`] in the form of columns: made in the caller's task, so that the writer only binds.
pub(super) struct PreparedCommit {
    id: Vec<u8>,
    organization: Vec<u8>,
    shard: i64,
    expected_version: i64,
    version: i64,
    epoch: i64,
    status: &'static str,
    number: Option<String>,
    customer: Option<Vec<u8>>,
    currency: String,
    overdue: bool,
    issued_on: Option<String>,
    created_at: i64,
    updated_at: i64,
    wake_at: Option<i64>,
    search: Arc<str>,
    snapshot: Arc<str>,
    history: Vec<HistoryRow>,
}

struct HistoryRow {
    version: i64,
    at: i64,
    body: Arc<str>,
    event: Option<(Vec<u8>, Arc<str>)>,
}

impl PreparedCommit {
    /// Serializes a commit, and refuses one whose parts do not fit together: it would be a hole in
    /// the history.
    pub(super) fn new(commit: &Commit) -> Result<Self, StoreError> {
        let invoice = &commit.invoice;
        let mut history = Vec::with_capacity(commit.recorded.len());
        for (recorded, version) in commit.recorded.iter().zip(commit.expected_version + 1..) {
            if recorded.version != version {
                return Err(corrupt("the versions of a commit's entries have a gap"));
            }
            history.push(HistoryRow {
                version: integer(version),
                at: micros(recorded.at),
                body: json_text(recorded)?.into(),
                event: None,
            });
        }
        if history.is_empty()
            || history.last().map(|row| row.version) != Some(integer(invoice.version))
        {
            return Err(corrupt(
                "a commit's entries do not lead to its invoice's version",
            ));
        }
        for event in &commit.events {
            let version = integer(event.version);
            let row = history
                .iter_mut()
                .find(|row| row.version == version && row.event.is_none())
                .ok_or_else(|| corrupt("an event of a commit tells of none of its entries"))?;
            row.event = Some((id_bytes(event.id.uuid()), json_text(event)?.into()));
        }
        let issued = invoice.issued();
        let content = &invoice.content;
        Ok(Self {
            id: id_bytes(invoice.id.uuid()),
            organization: id_bytes(invoice.organization.uuid()),
            shard: i64::from(ShardId::of(invoice.id).0),
            expected_version: integer(commit.expected_version),
            version: integer(invoice.version),
            epoch: integer(commit.epoch.0),
            status: invoice.status().name(),
            number: issued.map(|issued| issued.number.clone()),
            customer: content.customer.map(|id| id_bytes(id.uuid())),
            currency: invoice.currency().code().to_owned(),
            overdue: invoice.is_overdue(),
            issued_on: issued.map(|issued| date_text(issued.issued_on)),
            created_at: micros(invoice.created_at),
            updated_at: micros(invoice.updated_at),
            wake_at: invoice.wake_at().map(micros),
            search: search_text([
                issued.map(|issued| issued.number.as_str()),
                Some(content.bill_to.name.as_str()),
                content.purchase_order.as_deref(),
                content.reference.as_deref(),
            ])
            .into(),
            snapshot: json_text(invoice.as_ref())?.into(),
            history,
        })
    }

    const fn is_new(&self) -> bool {
        self.expected_version == 0
    }

    fn bind_new(&self, row: &mut Values) {
        row.add(self.id.clone());
        row.add(self.organization.clone());
        row.add(self.shard);
        row.add(self.version);
        row.add(self.epoch);
        row.add(self.status);
        row.add(self.number.clone());
        row.add(self.customer.clone());
        row.add(self.currency.clone());
        row.add(self.overdue);
        row.add(self.issued_on.clone());
        row.add(self.created_at);
        row.add(self.updated_at);
        row.add(self.wake_at);
        row.add(Arc::clone(&self.search));
        row.add(Arc::clone(&self.snapshot));
    }

    fn bind_change(&self, row: &mut Values) {
        row.add(self.id.clone());
        row.add(self.expected_version);
        row.add(self.version);
        row.add(self.epoch);
        row.add(self.status);
        row.add(self.number.clone());
        row.add(self.customer.clone());
        row.add(self.currency.clone());
        row.add(self.overdue);
        row.add(self.issued_on.clone());
        row.add(self.updated_at);
        row.add(self.wake_at);
        row.add(Arc::clone(&self.search));
        row.add(Arc::clone(&self.snapshot));
    }
}

/// One statement in all its sizes.
struct Statement {
    columns: usize,
    sizes: [String; SIZES],
}

impl Statement {
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

static INSERT_INVOICES: LazyLock<Statement> = LazyLock::new(|| {
    Statement::new(
        "INSERT INTO invoices (id, organization, shard, version, epoch, status, number, customer, \
         currency, overdue, issued_on, created_at, updated_at, wake_at, search, snapshot) VALUES ",
        16,
        " ON CONFLICT (id) DO NOTHING",
    )
});

static UPDATE_INVOICES: LazyLock<Statement> = LazyLock::new(|| {
    Statement::new(
        "WITH change (id, expected_version, version, epoch, status, number, customer, currency, \
         overdue, issued_on, updated_at, wake_at, search, snapshot) AS (VALUES ",
        14,
        ") UPDATE invoices SET version = change.version, epoch = change.epoch, \
         status = change.status, number = change.number, customer = change.customer, \
         currency = change.currency, overdue = change.overdue, issued_on = change.issued_on, \
         updated_at = change.updated_at, wake_at = change.wake_at, search = change.search, \
         snapshot = change.snapshot FROM change WHERE invoices.id = change.id \
         AND invoices.version = change.expected_version AND invoices.epoch <= change.epoch",
    )
});

static INSERT_HISTORY: LazyLock<Statement> = LazyLock::new(|| {
    Statement::new(
        "INSERT INTO history (invoice, version, at, body, event) VALUES ",
        5,
        "",
    )
});

static INSERT_OUTBOX: LazyLock<Statement> = LazyLock::new(|| {
    Statement::new(
        "INSERT INTO outbox (organization, invoice, version, event_id) VALUES ",
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

/// Writes the outcomes, within the caller's transaction; one verdict for each. `Err` means that the
/// transaction is spoiled.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    commits: &[PreparedCommit],
) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let mut ids = HashSet::with_capacity(commits.len());
    let each_once = commits
        .iter()
        .all(|commit| ids.insert(commit.id.as_slice()));
    let verdicts = if each_once && write_together(connection, commits).await? {
        vec![Ok(()); commits.len()]
    } else {
        write_one_by_one(connection, commits).await?
    };
    let accepted: Vec<&PreparedCommit> = commits
        .iter()
        .zip(&verdicts)
        .filter_map(|(commit, verdict)| verdict.is_ok().then_some(commit))
        .collect();
    write_history(connection, &accepted).await?;
    Ok(verdicts)
}

/// Writes all, or gives false when a condition did not hold; then nothing is written.
async fn write_together(
    connection: &mut SqliteConnection,
    commits: &[PreparedCommit],
) -> Result<bool, StoreError> {
    let (new, changed): (Vec<_>, Vec<_>) = commits.iter().partition(|commit| commit.is_new());
    let inserted = write_rows(connection, &INSERT_INVOICES, &new, |commit, row| {
        commit.bind_new(row);
    })
    .await?;
    if inserted == new.len() as u64 {
        let updated = write_rows(connection, &UPDATE_INVOICES, &changed, |commit, row| {
            commit.bind_change(row);
        })
        .await?;
        if updated == changed.len() as u64 {
            return Ok(true);
        }
    }
    // Nothing else has been written in this transaction yet.
    run(connection, "ROLLBACK").await?;
    run(connection, "BEGIN IMMEDIATE").await?;
    Ok(false)
}

async fn write_one_by_one(
    connection: &mut SqliteConnection,
    commits: &[PreparedCommit],
) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let mut verdicts = Vec::with_capacity(commits.len());
    for commit in commits {
        let written = if commit.is_new() {
            write_rows(connection, &INSERT_INVOICES, &[commit], |commit, row| {
                commit.bind_new(row);
            })
            .await?
        } else {
            write_rows(connection, &UPDATE_INVOICES, &[commit], |commit, row| {
                commit.bind_change(row);
            })
            .await?
        };
        verdicts.push(if written == 1 {
            Ok(())
        } else {
            Err(refusal(connection, commit).await?)
        });
    }
    Ok(verdicts)
}

/// Why a command's row was not written.
async fn refusal(
    connection: &mut SqliteConnection,
    commit: &PreparedCommit,
) -> Result<StoreError, StoreError> {
    let stored = sqlx::query("SELECT epoch FROM invoices WHERE id = $1")
        .bind(commit.id.clone())
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

async fn write_history(
    connection: &mut SqliteConnection,
    commits: &[&PreparedCommit],
) -> Result<(), StoreError> {
    let rows: Vec<(&PreparedCommit, &HistoryRow)> = commits
        .iter()
        .flat_map(|commit| commit.history.iter().map(move |row| (*commit, row)))
        .collect();
    write_rows(
        connection,
        &INSERT_HISTORY,
        &rows,
        |(commit, history), row| {
            row.add(commit.id.clone());
            row.add(history.version);
            row.add(history.at);
            row.add(Arc::clone(&history.body));
            row.add(history.event.as_ref().map(|(_, body)| Arc::clone(body)));
        },
    )
    .await?;
    let events: Vec<(&PreparedCommit, &HistoryRow, &Vec<u8>)> = rows
        .into_iter()
        .filter_map(|(commit, row)| row.event.as_ref().map(|(id, _)| (commit, row, id)))
        .collect();
    write_rows(
        connection,
        &INSERT_OUTBOX,
        &events,
        |(commit, history, event_id), row| {
            row.add(commit.organization.clone());
            row.add(commit.id.clone());
            row.add(history.version);
            row.add((*event_id).clone());
        },
    )
    .await?;
    Ok(())
}

/// Writes rows with as few statements as their number allows; how many were touched.
async fn write_rows<T>(
    connection: &mut SqliteConnection,
    statement: &'static LazyLock<Statement>,
    rows: &[T],
    bind: impl Fn(&T, &mut Values),
) -> Result<u64, StoreError> {
    let mut rest = rows;
    let mut touched = 0;
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
        touched += done.rows_affected();
    }
    Ok(touched)
}
