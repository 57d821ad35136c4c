//! Invoices: loading, committing, listing, history and alarms.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sqlx::sqlite::{Sqlite, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, QueryBuilder};

use super::SqliteStore;
use super::batch;
use super::columns::{Columns, contains_pattern, date_text, id_bytes, integer, micros};
use super::error::{corrupt, fault};
use super::page;
use super::prepared::PreparedCommit;
use super::series;
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::Invoice;
use crate::domain::invoice::command::AllocatedNumber;
use crate::domain::invoice::entry::Recorded;
use crate::domain::invoice::event::PublicEvent;
use crate::store::{
    Commit, DueInvoice, InvoiceFilter, InvoiceStore, Page, PageRequest, SHARDS, ShardId, StoreError,
};

/// The number of an invoice that comes issued, from an uploaded file: no series gave it.
fn brought_number(commit: &Commit) -> Option<AllocatedNumber> {
    let issued = match commit.before {
        None => commit.invoice.issued()?,
        Some(_) => return None,
    };
    Some(AllocatedNumber {
        number: issued.number.clone(),
        issued_on: issued.issued_on,
    })
}

async fn exists(connection: &mut SqliteConnection, id: InvoiceId) -> Result<bool, StoreError> {
    let found = sqlx::query("SELECT 1 FROM invoices WHERE id = $1")
        .bind(id_bytes(id.uuid()))
        .fetch_optional(connection)
        .await
        .map_err(fault)?;
    Ok(found.is_some())
}

#[async_trait]
impl InvoiceStore for SqliteStore {
    async fn load(&self, id: InvoiceId) -> Result<Option<Invoice>, StoreError> {
        let row = sqlx::query("SELECT snapshot FROM invoices WHERE id = $1")
            .bind(id_bytes(id.uuid()))
            .fetch_optional(&self.reader)
            .await
            .map_err(fault)?;
        row.map(|row| row.json("snapshot")).transpose()
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let prepared = PreparedCommit::new(&commit)?;
        let Some(brought) = brought_number(&commit) else {
            return self.writer.commit(prepared).await;
        };
        let (organization, id) = (commit.invoice.organization, commit.invoice.id);
        let events = prepared.event_count() as u64;
        self.writer
            .transaction(move |connection| {
                Box::pin(async move {
                    // Before the number: a repeat of this very commit holds it already.
                    if exists(connection, id).await? {
                        return Err(StoreError::Conflict);
                    }
                    series::reserve(connection, organization, id, &brought).await?;
                    // Which is therefore not refused, nor is the transaction begun anew by it.
                    batch::write(connection, &[prepared])
                        .await?
                        .into_iter()
                        .collect::<Result<(), StoreError>>()
                })
            })
            .await?;
        self.writer.events().fetch_add(events, Ordering::AcqRel);
        Ok(())
    }

    async fn list(
        &self,
        organization: OrganizationId,
        filter: &InvoiceFilter,
        page: &PageRequest<InvoiceId>,
    ) -> Result<Page<Invoice>, StoreError> {
        // The condition on the status is that of a partial index.
        let mut query = QueryBuilder::new(
            "SELECT snapshot FROM invoices WHERE status <> 'deleted' AND organization = ",
        );
        query.push_bind(id_bytes(organization.uuid()));
        push_filter(&mut query, filter)?;
        if let Some(after) = page.starting_after {
            let Some(created_at) = self.created_at(organization, after).await? else {
                return Ok(page::empty());
            };
            page::push_after(&mut query, created_at, after.uuid());
        }
        page::push_newest_first(&mut query, page.limit);
        let rows = query.build().fetch_all(&self.reader).await.map_err(fault)?;
        page::cut(&rows, page.limit, |row| row.json("snapshot"))
    }

    async fn history(
        &self,
        id: InvoiceId,
        after_version: u64,
        limit: u16,
    ) -> Result<Vec<Recorded>, StoreError> {
        let rows = sqlx::query(
            "SELECT body FROM history WHERE invoice = $1 AND version > $2 \
             ORDER BY version LIMIT $3",
        )
        .bind(id_bytes(id.uuid()))
        .bind(integer(after_version))
        .bind(i64::from(limit))
        .fetch_all(&self.reader)
        .await
        .map_err(fault)?;
        rows.iter().map(|row| row.json("body")).collect()
    }

    async fn events_of(
        &self,
        id: InvoiceId,
        after_version: u64,
        limit: u16,
    ) -> Result<Vec<PublicEvent>, StoreError> {
        let rows = sqlx::query(
            "SELECT event FROM history WHERE invoice = $1 AND version > $2 AND event IS NOT NULL \
             ORDER BY version LIMIT $3",
        )
        .bind(id_bytes(id.uuid()))
        .bind(integer(after_version))
        .bind(i64::from(limit))
        .fetch_all(&self.reader)
        .await
        .map_err(fault)?;
        rows.iter().map(|row| row.json("event")).collect()
    }

    async fn due(
        &self,
        shards: Option<&[ShardId]>,
        now: Timestamp,
        limit: u16,
    ) -> Result<Vec<DueInvoice>, StoreError> {
        const EARLIEST_FIRST: &str = " ORDER BY wake_at LIMIT $2";
        let mut text = String::from("SELECT id, wake_at FROM invoices WHERE wake_at <= $1");
        if let Some(shards) = shards.filter(|shards| shards.len() < usize::from(SHARDS)) {
            let numbers: Vec<String> = shards.iter().map(|shard| shard.0.to_string()).collect();
            // Writing to a String can't fail.
            let _ = write!(text, " AND shard IN ({})", numbers.join(", "));
        }
        text.push_str(EARLIEST_FIRST);
        let rows = sqlx::query(AssertSqlSafe(text))
            .bind(micros(now))
            .bind(i64::from(limit))
            .fetch_all(&self.reader)
            .await
            .map_err(fault)?;
        rows.iter().map(due_invoice).collect()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        if self.writer.is_failing() {
            return self.probe().await;
        }
        sqlx::query("SELECT COUNT(*) FROM probe")
            .fetch_one(&self.reader)
            .await
            .map(|_| ())
            .map_err(fault)
    }
}

impl SqliteStore {
    /// When an invoice of the organization was created: where a page begins.
    async fn created_at(
        &self,
        organization: OrganizationId,
        id: InvoiceId,
    ) -> Result<Option<i64>, StoreError> {
        sqlx::query_scalar("SELECT created_at FROM invoices WHERE id = $1 AND organization = $2")
            .bind(id_bytes(id.uuid()))
            .bind(id_bytes(organization.uuid()))
            .fetch_optional(&self.reader)
            .await
            .map_err(fault)
    }

    /// Tries whether a write succeeds that needs as much space as a batch of commands, and leaves
    /// nothing behind. A smaller one might fit into the last free pages and promise too much.
    async fn probe(&self) -> Result<(), StoreError> {
        const PAYLOAD_BYTES: usize = 256 * 1024;
        self.writer
            .transaction(|connection| {
                Box::pin(async move {
                    sqlx::query("INSERT INTO probe (payload) VALUES ($1)")
                        .bind(vec![0_u8; PAYLOAD_BYTES])
                        .execute(&mut *connection)
                        .await
                        .map_err(fault)?;
                    sqlx::query("DELETE FROM probe")
                        .execute(connection)
                        .await
                        .map(|_| ())
                        .map_err(fault)
                })
            })
            .await
    }
}

fn due_invoice(row: &SqliteRow) -> Result<DueInvoice, StoreError> {
    Ok(DueInvoice {
        id: InvoiceId::new(row.id("id")?),
        wake_at: row.timestamp("wake_at")?,
    })
}

fn push_filter(query: &mut QueryBuilder<Sqlite>, filter: &InvoiceFilter) -> Result<(), StoreError> {
    if let Some(status) = filter.status {
        query.push(" AND status = ").push_bind(status.name());
    }
    if let Some(customer) = filter.customer {
        query
            .push(" AND customer = ")
            .push_bind(id_bytes(customer.uuid()));
    }
    if let Some(number) = &filter.number {
        query.push(" AND number = ").push_bind(number.clone());
    }
    if let Some(currency) = filter.currency {
        query
            .push(" AND currency = ")
            .push_bind(currency.code().to_owned());
    }
    match filter.overdue {
        Some(true) => query.push(" AND overdue"),
        Some(false) => query.push(" AND NOT overdue"),
        None => query,
    };
    if let Some(from) = filter.issued_from {
        query.push(" AND issued_on >= ").push_bind(date_text(from));
    }
    if let Some(to) = filter.issued_to {
        query.push(" AND issued_on <= ").push_bind(date_text(to));
    }
    if let Some(from) = filter.created_from {
        query.push(" AND created_at >= ").push_bind(start_of(from)?);
    }
    // The day after the last one that there is has no start: then nothing is later.
    if let Some(next) = filter.created_to.and_then(|to| to.tomorrow().ok()) {
        query.push(" AND created_at < ").push_bind(start_of(next)?);
    }
    if let Some(part) = filter.q.as_deref().filter(|part| !part.is_empty()) {
        query
            .push(" AND search LIKE ")
            .push_bind(contains_pattern(part))
            .push(" ESCAPE '\\'");
    }
    Ok(())
}

/// The first microsecond of a day, UTC.
fn start_of(day: Date) -> Result<i64, StoreError> {
    day.to_zoned(TimeZone::UTC)
        .map(|start| micros(start.timestamp()))
        .map_err(corrupt)
}
