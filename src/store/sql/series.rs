//! Number series: gapless, because the counter, the number and the claim on it are written
//! together or not at all.

use std::collections::HashSet;

use async_trait::async_trait;
use jiff::civil::Date;

use super::SqlStore;
use super::columns::{date_text, integer};
use super::database::Connection;
use super::error::corrupt;
use super::statement::Statement;
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
impl SeriesStore for SqlStore {
    async fn allocate(
        &self,
        organization: OrganizationId,
        invoice: InvoiceId,
        today: Date,
    ) -> Result<AllocatedNumber, StoreError> {
        let usual = self.database.allocate_at_once(organization, invoice, today);
        if let Some(allocated) = usual.await? {
            return Ok(allocated);
        }
        // Ends: each round leaves at least one number behind that stands already, or the invoice has
        // its number.
        loop {
            let allocated = self
                .database
                .transaction((), move |connection, ()| {
                    Box::pin(allocate(connection, organization, invoice, today))
                })
                .await;
            match allocated {
                Ok(Outcome::Present(number)) => return Ok(number),
                Ok(Outcome::Allocated(allocated)) => {
                    let (organization, pattern) = (&allocated.organization, allocated.pattern);
                    self.database.remember_pattern(organization, pattern);
                    return Ok(allocated.number);
                }
                // Moved on, or somebody allocated for the same invoice meanwhile: its number is
                // found with the next round.
                Ok(Outcome::MovedOn) | Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn reserve(
        &self,
        organization: OrganizationId,
        invoice: InvoiceId,
        number: &AllocatedNumber,
    ) -> Result<(), StoreError> {
        let reserved = self
            .database
            .transaction(number.clone(), move |connection, number| {
                Box::pin(async move {
                    match number_of(connection, organization, invoice).await? {
                        Some(held) if held == number.number => Ok(()),
                        Some(_) => Err(StoreError::Taken { field: "number" }),
                        None => reserve(connection, organization, invoice, number).await,
                    }
                })
            })
            .await;
        match reserved {
            // The same was asked elsewhere at the same moment.
            Err(StoreError::Conflict) => self.holds(organization, invoice, number).await,
            other => other,
        }
    }
}

impl SqlStore {
    async fn holds(
        &self,
        organization: OrganizationId,
        invoice: InvoiceId,
        number: &AllocatedNumber,
    ) -> Result<(), StoreError> {
        let rows = self
            .database
            .fetch_optional(&number_statement(organization, invoice))
            .await?;
        match rows.map(|row| row.text("number")).transpose()? {
            Some(held) if held == number.number => Ok(()),
            _ => Err(StoreError::Taken { field: "number" }),
        }
    }
}

fn number_statement(organization: OrganizationId, invoice: InvoiceId) -> Statement {
    Statement::new("SELECT number FROM numbers WHERE organization = $1 AND invoice = $2")
        .bind(organization.uuid())
        .bind(invoice.uuid())
}

async fn number_of(
    connection: &mut Connection<'_>,
    organization: OrganizationId,
    invoice: InvoiceId,
) -> Result<Option<String>, StoreError> {
    let statement = number_statement(organization, invoice);
    let row = connection.fetch_optional(&statement).await?;
    row.map(|row| row.text("number")).transpose()
}

/// What one transaction came to.
enum Outcome {
    /// The number that the invoice has already.
    Present(AllocatedNumber),
    Allocated(Box<Allocated>),
    /// Past numbers that stand already, and no further.
    MovedOn,
}

struct Allocated {
    number: AllocatedNumber,
    organization: Organization,
    pattern: SeriesPattern,
}

async fn allocate(
    connection: &mut Connection<'_>,
    organization: OrganizationId,
    invoice: InvoiceId,
    today: Date,
) -> Result<Outcome, StoreError> {
    let statement = Statement::new(
        "SELECT organizations.body, numbers.number, numbers.issued_on FROM organizations \
         LEFT JOIN numbers ON numbers.organization = organizations.id AND numbers.invoice = $2 \
         WHERE organizations.id = $1",
    )
    .bind(organization.uuid())
    .bind(invoice.uuid());
    let found = connection
        .fetch_optional(&statement)
        .await?
        .ok_or_else(|| corrupt("an invoice's organization is not there"))?;
    if let Some(number) = found.get_as::<Option<String>>("number")? {
        let issued_on = found.date("issued_on")?;
        return Ok(Outcome::Present(AllocatedNumber { number, issued_on }));
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
            return Ok(Outcome::Allocated(Box::new(Allocated {
                number: allocated,
                organization: organization_row,
                pattern,
            })));
        }
        let ahead = (position + 1..=position + LOOK_AHEAD)
            .map(|position| pattern.format(issued_on, position))
            .collect::<Vec<_>>();
        let taken = taken(connection, organization, &ahead).await?;
        let free = ahead.iter().position(|number| !taken.contains(number));
        let by = free.map_or(LOOK_AHEAD, |at| at as u64 + 1);
        (position, issued_on) = advance(connection, organization, &series, by, today).await?;
    }
    Ok(Outcome::MovedOn)
}

/// Where a number stands in a series.
struct Place {
    series: String,
    position: u64,
}

/// Reserves the number that an invoice brings along. `Taken` when another one has it.
pub(super) async fn reserve(
    connection: &mut Connection<'_>,
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

/// Gives the invoice the number, unless another one has it. `Conflict` when the invoice itself got
/// one meanwhile: then the whole transaction is to be undone.
async fn claim(
    connection: &mut Connection<'_>,
    organization: OrganizationId,
    invoice: InvoiceId,
    place: Place,
    number: &AllocatedNumber,
) -> Result<bool, StoreError> {
    let claim = Statement::new(
        "INSERT INTO numbers (organization, invoice, series, position, number, issued_on) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
    )
    .bind(organization.uuid())
    .bind(invoice.uuid())
    .bind(place.series)
    .bind(integer(place.position))
    .bind(number.number.clone())
    .bind(date_text(number.issued_on));
    if connection.execute(&claim).await? == 1 {
        return Ok(true);
    }
    match number_of(connection, organization, invoice).await? {
        Some(_) => Err(StoreError::Conflict),
        None => Ok(false),
    }
}

/// Which of these numbers the organization has used.
async fn taken(
    connection: &mut Connection<'_>,
    organization: OrganizationId,
    numbers: &[String],
) -> Result<HashSet<String>, StoreError> {
    let mut statement = Statement::new("SELECT number FROM numbers WHERE organization = ");
    statement.push_bind(organization.uuid());
    statement.push(" AND number IN (");
    for (index, number) in numbers.iter().enumerate() {
        if index > 0 {
            statement.push(", ");
        }
        statement.push_bind(number.as_str());
    }
    statement.push(")");
    let rows = connection.fetch_all(&statement).await?;
    rows.iter().map(|row| row.text("number")).collect()
}

/// Moves the series on: its counter, and its date, which never goes back.
async fn advance(
    connection: &mut Connection<'_>,
    organization: OrganizationId,
    series: &str,
    by: u64,
    today: Date,
) -> Result<(u64, Date), StoreError> {
    let statement = Statement::new(
        "INSERT INTO number_series (organization, series, last_position, last_issued_on) \
         VALUES ($1, $2, $4, $3) ON CONFLICT (organization, series) DO UPDATE SET \
         last_position = number_series.last_position + excluded.last_position, \
         last_issued_on = CASE WHEN number_series.last_issued_on > excluded.last_issued_on \
         THEN number_series.last_issued_on ELSE excluded.last_issued_on END \
         RETURNING last_position, last_issued_on",
    )
    .bind(organization.uuid())
    .bind(series)
    .bind(date_text(today))
    .bind(integer(by));
    let row = connection
        .fetch_optional(&statement)
        .await?
        .ok_or_else(|| corrupt("a number series did not move on"))?;
    Ok((row.unsigned("last_position")?, row.date("last_issued_on")?))
}
