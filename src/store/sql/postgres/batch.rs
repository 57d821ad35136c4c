//! Writes many commands' outcomes with one statement, which is a transaction of its own.
//!
//! The rows travel as arrays, one for each column, so that the statement's text is the same for any
//! number of them. A condition that does not hold leaves its row out, and all that hangs on it: the
//! statement tells which rows it wrote.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use uuid::Uuid;

use super::super::error::{corrupt, fault};
use super::super::prepared::PreparedCommit;
use super::super::statement::without_nul;
use super::session::Session;
use crate::store::StoreError;

/// An update waits for others on the same row, and then looks at its condition again; so of two
/// nodes that change one version, one finds it changed. Updates of many rows go by id, that two
/// nodes rarely wait for each other (the server finds out when they do).
///
/// A new invoice that has a number brought it along, and is written only if the number is free. When
/// another node makes the same invoice at the same moment, the number could be reserved and the
/// invoice be refused: the division by zero at the end then undoes all, and the second attempt sees
/// the other one's.
///
/// `= ANY(…)` says once more which rows it is about, so that they are found by the key however the
/// server joins; see [`by_keys`](super::open::by_keys).
///
/// Setting the listing to what it was before costs no index: the server compares the values.
pub(super) const WRITE: &str = "\
WITH change AS (
    SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], \
        $6::bigint[], $7::text[], $8::text[], $9::uuid[], $10::text[], $11::boolean[], \
        $12::text[], $13::bigint[], $14::bigint[], $15::bigint[], $16::text[], $17::text[])
    AS change (id, organization, shard, expected_version, version, epoch, status, number, \
        customer, currency, overdue, issued_on, created_at, updated_at, wake_at, search, snapshot)
), numbered AS (
    INSERT INTO numbers (organization, invoice, series, position, number, issued_on)
    SELECT organization, id, '', 0, number, issued_on
    FROM change WHERE expected_version = 0 AND number IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM invoices WHERE invoices.id = change.id)
    ORDER BY id
    ON CONFLICT DO NOTHING
    RETURNING invoice
), created AS (
    INSERT INTO invoices (id, organization, shard, version, epoch, status, number, customer, \
        currency, overdue, issued_on, created_at, updated_at, wake_at, search, snapshot)
    SELECT id, organization, shard, version, epoch, status, number, customer, currency, overdue, \
        issued_on, created_at, updated_at, wake_at, search, snapshot
    FROM change WHERE expected_version = 0
        AND (number IS NULL OR id IN (SELECT invoice FROM numbered))
    ORDER BY id
    ON CONFLICT (id) DO NOTHING
    RETURNING id
), updated AS (
    UPDATE invoices SET version = change.version, epoch = change.epoch, status = change.status, \
        number = change.number, customer = change.customer, currency = change.currency, \
        overdue = change.overdue, issued_on = change.issued_on, \
        updated_at = change.updated_at, wake_at = change.wake_at, search = change.search, \
        snapshot = change.snapshot
    FROM change
    WHERE change.expected_version > 0 AND invoices.id = change.id AND invoices.id = ANY($1::uuid[]) \
        AND invoices.version = change.expected_version AND invoices.epoch <= change.epoch
    RETURNING invoices.id
), written AS (
    SELECT id FROM created UNION ALL SELECT id FROM updated
), told AS (
    INSERT INTO history (invoice, version, at, body, event)
    SELECT entry.invoice, entry.version, entry.at, entry.body, entry.event
    FROM UNNEST($18::uuid[], $19::bigint[], $20::bigint[], $21::text[], $22::text[])
        AS entry (invoice, version, at, body, event)
    JOIN written ON written.id = entry.invoice
), queued AS (
    INSERT INTO outbox (organization, invoice, version, event_id)
    SELECT event.organization, event.invoice, event.version, event.id
    FROM UNNEST($23::uuid[], $24::uuid[], $25::bigint[], $26::uuid[]) WITH ORDINALITY
        AS event (organization, invoice, version, id, place)
    JOIN written ON written.id = event.invoice
    ORDER BY event.place
)
SELECT id FROM written
UNION ALL
SELECT NULL FROM (SELECT 1 / CASE WHEN EXISTS (SELECT 1 FROM numbered
    WHERE invoice NOT IN (SELECT id FROM created)) THEN 0 ELSE 1 END AS whole) AS sound
WHERE whole <> 1";

/// Writes the outcomes; one verdict for each. No invoice may be there twice. `Err` means that the
/// statement failed, or that nobody knows.
pub(super) async fn write(
    session: &mut Session,
    commits: &[PreparedCommit],
) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let mut sorted: Vec<&PreparedCommit> = commits.iter().collect();
    sorted.sort_unstable_by_key(|commit| commit.id);
    let rows = session
        .fetch(bound(&sorted))
        .await
        .map_err(|error| match error {
            // Conditions are not errors here: only rows that a damaged history holds are in the way.
            StoreError::Conflict => corrupt("an entry of a new version is in the history already"),
            other => other,
        })?;
    let written: HashSet<Uuid> = rows
        .iter()
        .map(|row| row.try_get("id").map_err(fault))
        .collect::<Result<_, _>>()?;
    let refused: Vec<Uuid> = commits
        .iter()
        .map(|commit| commit.id)
        .filter(|id| !written.contains(id))
        .collect();
    let epochs = stored_epochs(session, &refused).await?;
    let verdict = |commit: &PreparedCommit| {
        if written.contains(&commit.id) {
            return Ok(());
        }
        Err(match epochs.get(&commit.id) {
            Some(epoch) if *epoch > commit.epoch => StoreError::NotOwner,
            None if commit.brings_number() => StoreError::Taken { field: "number" },
            _ => StoreError::Conflict,
        })
    };
    Ok(commits.iter().map(verdict).collect())
}

/// The owners' epochs of the invoices that were not written. The rows that were written stay so if
/// this fails: then their callers hear that nobody knows, and read.
async fn stored_epochs(
    session: &mut Session,
    refused: &[Uuid],
) -> Result<HashMap<Uuid, i64>, StoreError> {
    if refused.is_empty() {
        return Ok(HashMap::new());
    }
    let query = sqlx::query("SELECT id, epoch FROM invoices WHERE id = ANY($1)").bind(refused);
    let rows = session.fetch(query).await?;
    rows.iter()
        .map(|row| Ok((row.try_get("id")?, row.try_get("epoch")?)))
        .collect::<Result<_, sqlx::Error>>()
        .map_err(fault)
}

fn bound(commits: &[&PreparedCommit]) -> Query<'static, Postgres, PgArguments> {
    let query = bind_invoices(sqlx::query(WRITE), commits);
    let entries: Vec<_> = commits
        .iter()
        .flat_map(|commit| commit.history.iter().map(move |entry| (*commit, entry)))
        .collect();
    let query = query
        .bind(column(&entries, |(commit, _)| commit.id))
        .bind(column(&entries, |(_, entry)| entry.version))
        .bind(column(&entries, |(_, entry)| entry.at))
        .bind(column(&entries, |(_, entry)| text(&entry.body)))
        .bind(column(&entries, |(_, entry)| {
            entry.event.as_ref().map(|event| text(&event.body))
        }));
    let events: Vec<_> = entries
        .iter()
        .filter_map(|(commit, entry)| entry.event.as_ref().map(|event| (*commit, *entry, event)))
        .collect();
    query
        .bind(column(&events, |(commit, ..)| commit.organization))
        .bind(column(&events, |(commit, ..)| commit.id))
        .bind(column(&events, |(_, entry, _)| entry.version))
        .bind(column(&events, |(.., event)| event.id))
}

fn bind_invoices(
    query: Query<'static, Postgres, PgArguments>,
    commits: &[&PreparedCommit],
) -> Query<'static, Postgres, PgArguments> {
    query
        .bind(column(commits, |commit| commit.id))
        .bind(column(commits, |commit| commit.organization))
        .bind(column(commits, |commit| commit.shard))
        .bind(column(commits, |commit| commit.expected_version))
        .bind(column(commits, |commit| commit.version))
        .bind(column(commits, |commit| commit.epoch))
        .bind(column(commits, |commit| commit.listing.status))
        .bind(column(commits, |commit| {
            commit.listing.number.as_deref().map(without_nul)
        }))
        .bind(column(commits, |commit| commit.listing.customer))
        .bind(column(commits, |commit| commit.listing.currency.as_str()))
        .bind(column(commits, |commit| commit.listing.overdue))
        .bind(column(commits, |commit| {
            commit.listing.issued_on.as_deref()
        }))
        .bind(column(commits, |commit| commit.created_at))
        .bind(column(commits, |commit| commit.updated_at))
        .bind(column(commits, |commit| commit.wake_at))
        .bind(column(commits, |commit| {
            without_nul(&commit.listing.search)
        }))
        .bind(column(commits, |commit| text(&commit.snapshot)))
}

/// One column of many rows.
fn column<'r, R, T>(rows: &'r [R], value: impl Fn(&'r R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

/// JSON, which writes every control character as an escape.
fn text(json: &Arc<str>) -> &str {
    json
}
