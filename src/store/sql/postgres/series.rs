//! A number by one statement, with one way to the server and back, when all is as usual.
//!
//! Whatever is not (a pattern that this node does not know or that was changed, the first number of a
//! series, a clock behind the series' last date, a number that stands already) is left to the
//! transaction that knows what to do: this statement then writes nothing at all.

use std::sync::Arc;

use jiff::civil::Date;
use moka::sync::Cache;

use super::super::columns::{date_text, integer};
use super::super::statement::Statement;
use super::Postgres;
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::command::AllocatedNumber;
use crate::domain::party::Organization;
use crate::domain::series::SeriesPattern;
use crate::store::StoreError;

/// Organizations whose pattern is known; the others' numbers cost a transaction.
const MAX_PATTERNS: u64 = 10_000;

/// Finds the number that the invoice has, or takes the next one of the series.
///
/// The pattern is the present one as long as the organization has the version that it was read with.
/// Two that allocate in one series wait for each other at its row, and the second then judges the row
/// as the first left it. A number that stands already, and an invoice that got one meanwhile, break a
/// unique key: that undoes the statement with the counter's step.
pub(super) const ALLOCATE: &str = "\
WITH moved AS (
    UPDATE number_series SET last_position = last_position + 1, last_issued_on = $4
    WHERE organization = $1 AND series = $3 AND last_issued_on <= $4
        AND EXISTS (SELECT 1 FROM organizations WHERE id = $1 AND version = $5)
        AND NOT EXISTS (SELECT 1 FROM numbers WHERE organization = $1 AND invoice = $2)
    RETURNING last_position, last_position::text AS digits
), claimed AS (
    INSERT INTO numbers (organization, invoice, series, position, number, issued_on)
    SELECT $1, $2, $3, last_position, \
        $6::text || lpad(digits, GREATEST(length(digits), $7::bigint::integer), '0') || $8::text, $4
    FROM moved
    RETURNING number, issued_on
)
SELECT number, issued_on FROM numbers WHERE organization = $1 AND invoice = $2
UNION ALL
SELECT number, issued_on FROM claimed";

/// The patterns that this node has read. Cheap to clone.
#[derive(Clone)]
pub(super) struct Patterns {
    known: Cache<OrganizationId, Arc<KnownPattern>>,
}

struct KnownPattern {
    /// The organization's, when it had this pattern.
    version: u64,
    pattern: SeriesPattern,
}

impl Patterns {
    pub(super) fn new() -> Self {
        Self {
            known: Cache::new(MAX_PATTERNS),
        }
    }
}

impl Postgres {
    /// The pattern of an organization as it was just read.
    pub(in super::super) fn remember_pattern(
        &self,
        organization: &Organization,
        pattern: SeriesPattern,
    ) {
        let known = KnownPattern {
            version: organization.version,
            pattern,
        };
        self.patterns.known.insert(organization.id, Arc::new(known));
    }

    /// The invoice's number, or `None` when it takes a transaction to find one.
    pub(in super::super) async fn allocate_at_once(
        &self,
        organization: OrganizationId,
        invoice: InvoiceId,
        today: Date,
    ) -> Result<Option<AllocatedNumber>, StoreError> {
        let Some(known) = self.patterns.known.get(&organization) else {
            return Ok(None);
        };
        let around = known.pattern.around_counter(today);
        let statement = Statement::new(ALLOCATE)
            .bind(organization.uuid())
            .bind(invoice.uuid())
            .bind(known.pattern.key(today))
            .bind(date_text(today))
            .bind(integer(known.version))
            .bind(around.before)
            .bind(integer(around.digits as u64))
            .bind(around.after);
        // Like a read it may be repeated when its connection breaks: an invoice has one number.
        let rows = match self.fetch_all(&statement).await {
            Err(StoreError::Conflict) => return Ok(None),
            rows => rows?,
        };
        let number = rows.first().map(|row| {
            Ok(AllocatedNumber {
                number: row.text("number")?,
                issued_on: row.date("issued_on")?,
            })
        });
        number.transpose()
    }
}
