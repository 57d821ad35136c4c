//! Number series: gapless, because the counter, the number and the claim on it are written
//! together or not at all.

use std::collections::HashSet;

use async_trait::async_trait;
use jiff::civil::Date;
use sqlx::QueryBuilder;
use sqlx::sqlite::{Sqlite, SqliteConnection};

use super::SqliteStore;
use super::columns::{Columns, date_text, id_bytes, integer, parse_date};
use super::error::{corrupt, fault};
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::command::AllocatedNumber;
use crate::domain::party::Organization;
use crate::domain::series::SeriesPattern;
use crate::store::{SeriesStore, StoreError};

/// Positions that are looked at with one statement when a series meets numbers that stand already.
const LOOK_AHEAD: u64 = 100;
/// Such looks in one transaction, so that other writes need not wait for a long run of them.
const MAX_LOOKS: usize = 10;

#[async_trait]
impl SeriesStore for SqliteStore {
    async fn allocate(
        &self,
        organization: OrganizationId,
        invoice: InvoiceId,
        today: Date,
    ) -> Result<AllocatedNumber, StoreError> {
        // Ends: each round leaves at least one number behind that stands already.
        loop {
            let allocated = self
                .writer
                .transaction(move |connection| {
                    Box::pin(allocate(connection, organization, invoice, today))
                })
                .await?;
            if let Some(allocated) = allocated {
                return Ok(allocated);
            }
        }
    }

    async fn reserve(
        &self,
        organization: OrganizationId,
        invoice: InvoiceId,
        number: &AllocatedNumber,
    ) -> Result<(), StoreError> {
        let number = number.clone();
        self.writer
            .transaction(move |connection| {
                Box::pin(async move {
                    match number_of(connection, organization, invoice).await? {
                        Some(held) if held == number.number => Ok(()),
                        Some(_) => Err(StoreError::Taken { field: "number" }),
                        None => reserve(connection, organization, invoice, &number).await,
                    }
                })
            })
            .await
    }
}

async fn number_of(
    connection: &mut SqliteConnection,
    organization: OrganizationId,
    invoice: InvoiceId,
) -> Result<Option<String>, StoreError> {
    sqlx::query_scalar("SELECT number FROM numbers WHERE organization = $1 AND invoice = $2")
        .bind(id_bytes(organization.uuid()))
        .bind(id_bytes(invoice.uuid()))
        .fetch_optional(connection)
        .await
        .map_err(fault)
}

/// `None` when the series has only moved on, past numbers that stand already.
async fn allocate(
    connection: &mut SqliteConnection,
    organization: OrganizationId,
    invoice: InvoiceId,
    today: Date,
) -> Result<Option<AllocatedNumber>, StoreError> {
    let found = sqlx::query(
        "SELECT organizations.body, numbers.number, numbers.issued_on FROM organizations \
         LEFT JOIN numbers ON numbers.organization = organizations.id AND numbers.invoice = $2 \
         WHERE organizations.id = $1",
    )
    .bind(id_bytes(organization.uuid()))
    .bind(id_bytes(invoice.uuid()))
    .fetch_optional(&mut *connection)
    .await
    .map_err(fault)?
    .ok_or_else(|| corrupt("an invoice's organization is not there"))?;
    if let Some(number) = found.get_as::<Option<String>>("number")? {
        let issued_on = parse_date(found.get_as("issued_on")?)?;
        return Ok(Some(AllocatedNumber { number, issued_on }));
    }
    let organization_row: Organization = found.json("body")?;
    let pattern = SeriesPattern::parse(&organization_row.number_pattern).map_err(corrupt)?;
    let series = pattern.key(today);
    let (mut position, mut issued_on) =
        advance(connection, organization, &series, 1, today).await?;
    for _ in 0..MAX_LOOKS {
        let allocated = AllocatedNumber {
            number: pattern.format(issued_on, position),
            issued_on,
        };
        let place = Place {
            series: series.clone(),
            position,
        };
        if claim(connection, organization, invoice, place, &allocated).await? {
            return Ok(Some(allocated));
        }
        let ahead = (position + 1..=position + LOOK_AHEAD)
            .map(|position| pattern.format(issued_on, position))
            .collect::<Vec<_>>();
        let taken = taken(connection, organization, &ahead).await?;
        let free = ahead.iter().position(|number| !taken.contains(number));
        let by = free.map_or(LOOK_AHEAD, |at| at as u64 + 1);
        (position, issued_on) = advance(connection, organization, &series, by, today).await?;
    }
    Ok(None)
}

/// Where a number stands in a series.
struct Place {
    series: String,
    position: u64,
}

/// Reserves the number that an invoice brings along. `Taken` when another one has it.
pub(super) async fn reserve(
    connection: &mut SqliteConnection,
    organization: OrganizationId,
    invoice: InvoiceId,
    brought: &AllocatedNumber,
) -> Result<(), StoreError> {
    // It belongs to no series.
    let place = Place {
        series: String::new(),
        position: 0,
    };
    if claim(connection, organization, invoice, place, brought).await? {
        Ok(())
    } else {
        Err(StoreError::Taken { field: "number" })
    }
}

/// Gives the invoice the number, unless another one has it.
async fn claim(
    connection: &mut SqliteConnection,
    organization: OrganizationId,
    invoice: InvoiceId,
    place: Place,
    number: &AllocatedNumber,
) -> Result<bool, StoreError> {
    let claim = sqlx::query(
        "INSERT INTO numbers (organization, invoice, series, position, number, issued_on) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (organization, number) DO NOTHING",
    )
    .bind(id_bytes(organization.uuid()))
    .bind(id_bytes(invoice.uuid()))
    .bind(place.series)
    .bind(integer(place.position))
    .bind(number.number.clone())
    .bind(date_text(number.issued_on));
    let claimed = claim.execute(connection).await.map_err(fault)?;
    Ok(claimed.rows_affected() == 1)
}

/// Which of these numbers the organization has used.
async fn taken(
    connection: &mut SqliteConnection,
    organization: OrganizationId,
    numbers: &[String],
) -> Result<HashSet<String>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new("SELECT number FROM numbers WHERE organization = ");
    query.push_bind(id_bytes(organization.uuid()));
    query.push(" AND number IN (");
    let mut list = query.separated(", ");
    for number in numbers {
        list.push_bind(number);
    }
    query.push(")");
    let rows = query.build().fetch_all(connection).await.map_err(fault)?;
    rows.iter().map(|row| row.text("number")).collect()
}

/// Moves the series on: its counter, and its date, which never goes back.
async fn advance(
    connection: &mut SqliteConnection,
    organization: OrganizationId,
    series: &str,
    by: u64,
    today: Date,
) -> Result<(u64, Date), StoreError> {
    let row = sqlx::query(
        "INSERT INTO number_series (organization, series, last_position, last_issued_on) \
         VALUES ($1, $2, $4, $3) ON CONFLICT (organization, series) DO UPDATE SET \
         last_position = number_series.last_position + excluded.last_position, \
         last_issued_on = CASE WHEN number_series.last_issued_on > excluded.last_issued_on \
         THEN number_series.last_issued_on ELSE excluded.last_issued_on END \
         RETURNING last_position, last_issued_on",
    )
    .bind(id_bytes(organization.uuid()))
    .bind(series.to_owned())
    .bind(date_text(today))
    .bind(integer(by))
    .fetch_one(connection)
    .await
    .map_err(fault)?;
    Ok((
        row.unsigned("last_position")?,
        parse_date(row.get_as("last_issued_on")?)?,
    ))
}
