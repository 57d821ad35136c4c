//! Number series: gapless, because the counter, the number and the claim on it are written
//! together or not at all.

use async_trait::async_trait;
use jiff::civil::Date;
use sqlx::sqlite::SqliteConnection;

use super::SqliteStore;
use super::columns::{Columns, date_text, id_bytes, integer, parse_date};
use super::error::{corrupt, fault};
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::command::AllocatedNumber;
use crate::domain::party::Organization;
use crate::domain::series::SeriesPattern;
use crate::store::{SeriesStore, StoreError};

/// Two patterns of one organization can write the same number, such as `A{0}` and `A1{0}`. So many
/// numbers that stand already are passed over.
const MAX_PASSED_OVER: usize = 1_000;

#[async_trait]
impl SeriesStore for SqliteStore {
    async fn allocate(
        &self,
        organization: OrganizationId,
        invoice: InvoiceId,
        today: Date,
    ) -> Result<AllocatedNumber, StoreError> {
        self.writer
            .transaction(move |connection| {
                Box::pin(allocate(connection, organization, invoice, today))
            })
            .await
    }
}

async fn allocate(
    connection: &mut SqliteConnection,
    organization: OrganizationId,
    invoice: InvoiceId,
    today: Date,
) -> Result<AllocatedNumber, StoreError> {
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
        return Ok(AllocatedNumber { number, issued_on });
    }
    let organization_row: Organization = found.json("body")?;
    let pattern = SeriesPattern::parse(&organization_row.number_pattern).map_err(corrupt)?;
    for _ in 0..MAX_PASSED_OVER {
        let series = pattern.key(today);
        let (position, issued_on) = advance(connection, organization, &series, today).await?;
        let number = pattern.format(issued_on, position);
        let claim = sqlx::query(
            "INSERT INTO numbers (organization, invoice, series, position, number, issued_on) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (organization, number) DO NOTHING",
        )
        .bind(id_bytes(organization.uuid()))
        .bind(id_bytes(invoice.uuid()))
        .bind(series)
        .bind(integer(position))
        .bind(number.clone())
        .bind(date_text(issued_on));
        if claim
            .execute(&mut *connection)
            .await
            .map_err(fault)?
            .rows_affected()
            == 1
        {
            return Ok(AllocatedNumber { number, issued_on });
        }
    }
    Err(StoreError::Taken { field: "number" })
}

/// Moves the series on by one: its counter, and its date, which never goes back.
async fn advance(
    connection: &mut SqliteConnection,
    organization: OrganizationId,
    series: &str,
    today: Date,
) -> Result<(u64, Date), StoreError> {
    let row = sqlx::query(
        "INSERT INTO number_series (organization, series, last_position, last_issued_on) \
         VALUES ($1, $2, 1, $3) ON CONFLICT (organization, series) DO UPDATE SET \
         last_position = number_series.last_position + 1, \
         last_issued_on = CASE WHEN number_series.last_issued_on > excluded.last_issued_on \
         THEN number_series.last_issued_on ELSE excluded.last_issued_on END \
         RETURNING last_position, last_issued_on",
    )
    .bind(id_bytes(organization.uuid()))
    .bind(series.to_owned())
    .bind(date_text(today))
    .fetch_one(connection)
    .await
    .map_err(fault)?;
    Ok((
        row.unsigned("last_position")?,
        parse_date(row.get_as("last_issued_on")?)?,
    ))
}
