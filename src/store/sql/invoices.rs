//! Invoices: loading, committing, listing, history and alarms.

use std::cmp::Ordering;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::SqlStore;
use super::columns::{Row, contains_pattern, date_text, integer, micros};
use super::database::Database;
use super::error::corrupt;
use super::page;
use super::prepared::PreparedCommit;
use super::statement::Statement;
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::Invoice;
use crate::domain::invoice::entry::Recorded;
use crate::domain::invoice::event::PublicEvent;
use crate::store::{
    Commit, DueInvoice, Epoch, InvoiceFilter, InvoiceStore, Page, PageRequest, SHARDS, ShardId,
    StoreError,
};

#[async_trait]
impl InvoiceStore for SqlStore {
    async fn load(&self, id: InvoiceId) -> Result<Option<Invoice>, StoreError> {
        let statement =
            Statement::new("SELECT snapshot FROM invoices WHERE id = $1").bind(id.uuid());
        let row = self.database.fetch_optional(&statement).await?;
        row.map(|row| row.json("snapshot")).transpose()
    }

    async fn claim(&self, id: InvoiceId, epoch: Epoch) -> Result<Option<Invoice>, StoreError> {
        let stored = match self.stored(id, epoch).await? {
            Stored::OlderOwners => {
                let raise = Statement::new(
                    "UPDATE invoices SET epoch = $2 WHERE id = $1 AND epoch < $2 RETURNING snapshot",
                )
                .bind(id.uuid())
                .bind(integer(epoch.0));
                // It waits for a write that is on its way, and returns what that left behind.
                match self.database.execute_returning(raise).await?.first() {
                    Some(row) => return row.json("snapshot").map(Some),
                    None => self.stored(id, epoch).await?,
                }
            }
            stored => stored,
        };
        match stored {
            Stored::Nothing => Ok(None),
            Stored::Ours(invoice) => Ok(Some(*invoice)),
            Stored::NewerOwners => Err(StoreError::NotOwner),
            // Epochs only grow.
            Stored::OlderOwners => Err(StoreError::Conflict),
        }
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let prepared = PreparedCommit::new(&commit)?;
        match (&self.database, commit.brought_number()) {
            (Database::Sqlite(sqlite), None) => sqlite.commit(prepared).await,
            (Database::Sqlite(sqlite), Some(brought)) => {
                let invoice = &commit.invoice;
                sqlite
                    .commit_with_number(prepared, invoice.organization, invoice.id, brought)
                    .await
            }
            // Its one statement knows how to reserve a number.
            (Database::Postgres(postgres), _) => postgres.commit(prepared).await,
        }
    }

    async fn list(
        &self,
        organization: OrganizationId,
        filter: &InvoiceFilter,
        page: &PageRequest<InvoiceId>,
    ) -> Result<Page<Invoice>, StoreError> {
        let after = match page.starting_after {
            None => None,
            Some(id) => match self.created_at(organization, id).await? {
                Some(created_at) => Some((created_at, id)),
                None => return Ok(page::empty()),
            },
        };
        let statement = list_statement(organization, filter, after, page.limit)?;
        let rows = self.database.fetch_all(&statement).await?;
        page::cut(&rows, page.limit, |row| row.json("snapshot"))
    }

    async fn history(
        &self,
        id: InvoiceId,
        after_version: u64,
        limit: u16,
    ) -> Result<Vec<Recorded>, StoreError> {
        let statement = Statement::new(
            "SELECT body FROM history WHERE invoice = $1 AND version > $2 \
             ORDER BY version LIMIT $3",
        )
        .bind(id.uuid())
        .bind(integer(after_version))
        .bind(limit);
        let rows = self.database.fetch_all(&statement).await?;
        rows.iter().map(|row| row.json("body")).collect()
    }

    async fn events_of(
        &self,
        id: InvoiceId,
        after_version: u64,
        limit: u16,
    ) -> Result<Vec<PublicEvent>, StoreError> {
        let statement = Statement::new(
            "SELECT event FROM history WHERE invoice = $1 AND version > $2 AND event IS NOT NULL \
             ORDER BY version LIMIT $3",
        )
        .bind(id.uuid())
        .bind(integer(after_version))
        .bind(limit);
        let rows = self.database.fetch_all(&statement).await?;
        rows.iter().map(|row| row.json("event")).collect()
    }

    async fn due(
        &self,
        shards: Option<&[ShardId]>,
        now: Timestamp,
        limit: u16,
    ) -> Result<Vec<DueInvoice>, StoreError> {
        if shards.is_some_and(<[_]>::is_empty) {
            return Ok(Vec::new());
        }
        let statement = due_statement(shards, now, limit);
        let rows = self.database.fetch_all(&statement).await?;
        rows.iter().map(due_invoice).collect()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        match &self.database {
            Database::Sqlite(sqlite) if sqlite.is_failing() => self.probe().await,
            Database::Sqlite(_) => {
                let statement = Statement::new("SELECT COUNT(*) FROM probe");
                self.database.fetch_all(&statement).await.map(|_| ())
            }
            Database::Postgres(postgres) => {
                if postgres.is_failing() {
                    self.probe().await?;
                }
                postgres.ping().await
            }
        }
    }
}

/// Whose an invoice is, compared with an epoch.
enum Stored {
    Nothing,
    OlderOwners,
    Ours(Box<Invoice>),
    NewerOwners,
}

impl SqlStore {
    async fn stored(&self, id: InvoiceId, epoch: Epoch) -> Result<Stored, StoreError> {
        let statement =
            Statement::new("SELECT epoch, snapshot FROM invoices WHERE id = $1").bind(id.uuid());
        let Some(row) = self.database.fetch_optional(&statement).await? else {
            return Ok(Stored::Nothing);
        };
        Ok(match row.unsigned("epoch")?.cmp(&epoch.0) {
            Ordering::Less => Stored::OlderOwners,
            Ordering::Equal => Stored::Ours(row.json("snapshot")?),
            Ordering::Greater => Stored::NewerOwners,
        })
    }

    /// When an invoice of the organization was created: where a page begins.
    async fn created_at(
        &self,
        organization: OrganizationId,
        id: InvoiceId,
    ) -> Result<Option<i64>, StoreError> {
        let statement =
            Statement::new("SELECT created_at FROM invoices WHERE id = $1 AND organization = $2")
                .bind(id.uuid())
                .bind(organization.uuid());
        let row = self.database.fetch_optional(&statement).await?;
        row.map(|row| row.integer("created_at")).transpose()
    }

    /// Tries whether a write succeeds that needs as much space as a batch of commands, and leaves
    /// nothing behind. A smaller one might fit into the last free pages and promise too much.
    async fn probe(&self) -> Result<(), StoreError> {
        const PAYLOAD_BYTES: usize = 256 * 1024;
        let insert =
            Statement::new("INSERT INTO probe (payload) VALUES ($1)").bind(vec![0; PAYLOAD_BYTES]);
        let delete = Statement::new("DELETE FROM probe");
        self.database.execute_all(vec![insert, delete]).await
    }
}

/// A list's part, newest first, behind the invoice with the given creation and id.
pub(super) fn list_statement(
    organization: OrganizationId,
    filter: &InvoiceFilter,
    after: Option<(i64, InvoiceId)>,
    limit: u16,
) -> Result<Statement, StoreError> {
    // The condition on the status is that of a partial index.
    let mut statement = Statement::new(
        "SELECT snapshot FROM invoices WHERE status <> 'deleted' AND organization = ",
    );
    statement.push_bind(organization.uuid());
    push_filter(&mut statement, filter)?;
    if let Some((created_at, id)) = after {
        page::push_after(&mut statement, created_at, id.uuid());
    }
    page::push_newest_first(&mut statement, limit);
    Ok(statement)
}

/// The alarms that have gone off.
pub(super) fn due_statement(shards: Option<&[ShardId]>, now: Timestamp, limit: u16) -> Statement {
    let mut statement =
        Statement::new("SELECT id, wake_at FROM invoices WHERE wake_at <= $1").bind(micros(now));
    if let Some(shards) = shards.filter(|shards| shards.len() < usize::from(SHARDS)) {
        let numbers: Vec<String> = shards.iter().map(|shard| shard.0.to_string()).collect();
        statement
            .push(" AND shard IN (")
            .push(&numbers.join(", "))
            .push(")");
    }
    statement.push(" ORDER BY wake_at LIMIT ").push_bind(limit);
    statement
}

fn due_invoice(row: &Row) -> Result<DueInvoice, StoreError> {
    Ok(DueInvoice {
        id: InvoiceId::new(row.id("id")?),
        wake_at: row.timestamp("wake_at")?,
    })
}

fn push_filter(statement: &mut Statement, filter: &InvoiceFilter) -> Result<(), StoreError> {
    if let Some(status) = filter.status {
        statement.push(" AND status = ").push_bind(status.name());
    }
    if let Some(customer) = filter.customer {
        statement
            .push(" AND customer = ")
            .push_bind(customer.uuid());
    }
    if let Some(number) = &filter.number {
        statement.push(" AND number = ").push_bind(number.clone());
    }
    if let Some(currency) = filter.currency {
        statement
            .push(" AND currency = ")
            .push_bind(currency.code().to_owned());
    }
    match filter.overdue {
        Some(true) => statement.push(" AND overdue"),
        Some(false) => statement.push(" AND NOT overdue"),
        None => statement,
    };
    if let Some(from) = filter.issued_from {
        statement
            .push(" AND issued_on >= ")
            .push_bind(date_text(from));
    }
    if let Some(to) = filter.issued_to {
        statement
            .push(" AND issued_on <= ")
            .push_bind(date_text(to));
    }
    if let Some(from) = filter.created_from {
        statement
            .push(" AND created_at >= ")
            .push_bind(start_of(from)?);
    }
    // The day after the last one that there is has no start: then nothing is later.
    if let Some(next) = filter.created_to.and_then(|to| to.tomorrow().ok()) {
        statement
            .push(" AND created_at < ")
            .push_bind(start_of(next)?);
    }
    if let Some(part) = filter.q.as_deref().filter(|part| !part.is_empty()) {
        statement
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
