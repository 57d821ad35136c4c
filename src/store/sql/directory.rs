//! Organizations, customers, assets and kept answers.

use async_trait::async_trait;
use jiff::Timestamp;

use super::columns::{Row, contains_pattern, integer, json_text, micros};
use super::error::corrupt;
use super::statement::Statement;
use super::{SqlStore, identity, page};
use crate::domain::ids::{CustomerId, FileId, OrganizationId};
use crate::domain::party::{Customer, Organization};
use crate::store::search::customer_search;
use crate::store::{Asset, DirectoryStore, KeptAnswer, Page, PageRequest, StoreError, User};

#[async_trait]
impl DirectoryStore for SqlStore {
    async fn insert_organization(&self, organization: &Organization) -> Result<(), StoreError> {
        self.database
            .execute(insert_organization(organization)?)
            .await
            .map(|_| ())
    }

    async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>, StoreError> {
        let statement =
            Statement::new("SELECT body FROM organizations WHERE id = $1").bind(id.uuid());
        let row = self.database.fetch_optional(&statement).await?;
        row.map(|row| row.json("body")).transpose()
    }

    async fn update_organization(&self, organization: &Organization) -> Result<(), StoreError> {
        let update = Statement::new(
            "UPDATE organizations SET version = $2, body = $3 WHERE id = $1 AND version = $2 - 1",
        )
        .bind(organization.id.uuid())
        .bind(integer(organization.version))
        .bind(json_text(organization)?);
        one_row(self.database.execute(update).await?)
    }

    async fn found_organization(
        &self,
        organization: &Organization,
        user: &User,
    ) -> Result<(), StoreError> {
        let founding = (
            insert_organization(organization)?,
            identity::insert_user(user)?,
        );
        self.database
            .transaction(founding, |connection, (organization, user)| {
                Box::pin(async move {
                    connection.execute(organization).await?;
                    identity::email_was_free(connection.execute(user).await?)
                })
            })
            .await
    }

    async fn insert_customer(&self, customer: &Customer) -> Result<(), StoreError> {
        let insert = Statement::new(
            "INSERT INTO customers (id, organization, version, created_at, search, body) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(customer.id.uuid())
        .bind(customer.organization.uuid())
        .bind(integer(customer.version))
        .bind(micros(customer.created_at))
        .bind(customer_search(customer))
        .bind(json_text(customer)?);
        self.database.execute(insert).await.map(|_| ())
    }

    async fn customer(
        &self,
        organization: OrganizationId,
        id: CustomerId,
    ) -> Result<Option<Customer>, StoreError> {
        let statement =
            Statement::new("SELECT body FROM customers WHERE id = $1 AND organization = $2")
                .bind(id.uuid())
                .bind(organization.uuid());
        let row = self.database.fetch_optional(&statement).await?;
        row.map(|row| row.json("body")).transpose()
    }

    async fn update_customer(&self, customer: &Customer) -> Result<(), StoreError> {
        let update = Statement::new(
            "UPDATE customers SET version = $3, search = $4, body = $5 \
             WHERE id = $1 AND organization = $2 AND version = $3 - 1",
        )
        .bind(customer.id.uuid())
        .bind(customer.organization.uuid())
        .bind(integer(customer.version))
        .bind(customer_search(customer))
        .bind(json_text(customer)?);
        one_row(self.database.execute(update).await?)
    }

    async fn delete_customer(
        &self,
        organization: OrganizationId,
        id: CustomerId,
    ) -> Result<bool, StoreError> {
        let delete = Statement::new("DELETE FROM customers WHERE id = $1 AND organization = $2")
            .bind(id.uuid())
            .bind(organization.uuid());
        Ok(self.database.execute(delete).await? == 1)
    }

    async fn customers(
        &self,
        organization: OrganizationId,
        q: Option<&str>,
        page: &PageRequest<CustomerId>,
    ) -> Result<Page<Customer>, StoreError> {
        let mut statement = Statement::new("SELECT body FROM customers WHERE organization = ");
        statement.push_bind(organization.uuid());
        if let Some(part) = q.filter(|part| !part.is_empty()) {
            statement
                .push(" AND search LIKE ")
                .push_bind(contains_pattern(part))
                .push(" ESCAPE '\\'");
        }
        if let Some(after) = page.starting_after {
            let start = Statement::new(
                "SELECT created_at FROM customers WHERE id = $1 AND organization = $2",
            )
            .bind(after.uuid())
            .bind(organization.uuid());
            let Some(start) = self.database.fetch_optional(&start).await? else {
                return Ok(page::empty());
            };
            let created_at = start.integer("created_at")?;
            page::push_after(&mut statement, created_at, after.uuid());
        }
        page::push_newest_first(&mut statement, page.limit);
        let rows = self.database.fetch_all(&statement).await?;
        page::cut(&rows, page.limit, |row| row.json("body"))
    }

    async fn insert_asset(&self, asset: &Asset) -> Result<(), StoreError> {
        let insert = Statement::new(
            "INSERT INTO assets (id, organization, media_type, created_at, bytes) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(asset.id.uuid())
        .bind(asset.organization.uuid())
        .bind(asset.media_type.clone())
        .bind(micros(asset.created_at))
        .bind(asset.bytes.clone());
        self.database.execute(insert).await.map(|_| ())
    }

    async fn asset(
        &self,
        organization: OrganizationId,
        id: FileId,
    ) -> Result<Option<Asset>, StoreError> {
        let statement = Statement::new(
            "SELECT media_type, created_at, bytes FROM assets WHERE id = $1 AND organization = $2",
        )
        .bind(id.uuid())
        .bind(organization.uuid());
        let row = self.database.fetch_optional(&statement).await?;
        row.map(|row| {
            Ok(Asset {
                id,
                organization,
                media_type: row.text("media_type")?,
                bytes: row.bytes("bytes")?,
                created_at: row.timestamp("created_at")?,
            })
        })
        .transpose()
    }

    async fn kept_answer(
        &self,
        organization: OrganizationId,
        key: &str,
    ) -> Result<Option<KeptAnswer>, StoreError> {
        let statement = Statement::new(
            "SELECT key, fingerprint, status, created_at, body FROM kept_answers \
             WHERE organization = $1 AND key = $2",
        )
        .bind(organization.uuid())
        .bind(key.to_owned());
        let row = self.database.fetch_optional(&statement).await?;
        row.map(|row| kept_answer(organization, &row)).transpose()
    }

    async fn keep_answer(
        &self,
        answer: &KeptAnswer,
        forget_before: Timestamp,
    ) -> Result<(), StoreError> {
        let forget = Statement::new("DELETE FROM kept_answers WHERE created_at < $1")
            .bind(micros(forget_before));
        let keep = Statement::new(
            "INSERT INTO kept_answers (organization, key, fingerprint, status, created_at, body) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (organization, key) DO NOTHING",
        )
        .bind(answer.organization.uuid())
        .bind(answer.key.clone())
        .bind(answer.fingerprint.cast_signed())
        .bind(i64::from(answer.status))
        .bind(micros(answer.created_at))
        .bind(answer.body.clone());
        self.database.execute_all(vec![forget, keep]).await
    }
}

fn insert_organization(organization: &Organization) -> Result<Statement, StoreError> {
    Ok(
        Statement::new("INSERT INTO organizations (id, version, body) VALUES ($1, $2, $3)")
            .bind(organization.id.uuid())
            .bind(integer(organization.version))
            .bind(json_text(organization)?),
    )
}

fn kept_answer(organization: OrganizationId, row: &Row) -> Result<KeptAnswer, StoreError> {
    Ok(KeptAnswer {
        organization,
        key: row.text("key")?,
        fingerprint: row.get_as::<i64>("fingerprint")?.cast_unsigned(),
        status: u16::try_from(row.unsigned("status")?).map_err(corrupt)?,
        body: row.bytes("body")?,
        created_at: row.timestamp("created_at")?,
    })
}

/// A conditional update that touched nothing lost against another one.
pub(super) const fn one_row(touched: u64) -> Result<(), StoreError> {
    if touched == 1 {
        Ok(())
    } else {
        Err(StoreError::Conflict)
    }
}
