//! Organizations, customers, assets and kept answers.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::QueryBuilder;
use sqlx::sqlite::{Sqlite, SqliteRow};

use super::columns::{
    Columns, contains_pattern, id_bytes, integer, json_text, micros, search_text,
};
use super::error::{corrupt, fault};
use super::writer::BoundQuery;
use super::{SqliteStore, identity, page};
use crate::domain::ids::{CustomerId, FileId, OrganizationId};
use crate::domain::party::{Customer, Organization};
use crate::store::{Asset, DirectoryStore, KeptAnswer, Page, PageRequest, StoreError, User};

#[async_trait]
impl DirectoryStore for SqliteStore {
    async fn insert_organization(&self, organization: &Organization) -> Result<(), StoreError> {
        self.writer
            .execute(insert_organization(organization)?)
            .await
            .map(|_| ())
    }

    async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>, StoreError> {
        let row = sqlx::query("SELECT body FROM organizations WHERE id = $1")
            .bind(id_bytes(id.uuid()))
            .fetch_optional(&self.reader)
            .await
            .map_err(fault)?;
        row.map(|row| row.json("body")).transpose()
    }

    async fn update_organization(&self, organization: &Organization) -> Result<(), StoreError> {
        let update = sqlx::query(
            "UPDATE organizations SET version = $2, body = $3 WHERE id = $1 AND version = $2 - 1",
        )
        .bind(id_bytes(organization.id.uuid()))
        .bind(integer(organization.version))
        .bind(json_text(organization)?);
        one_row(self.writer.execute(update).await?)
    }

    async fn found_organization(
        &self,
        organization: &Organization,
        user: &User,
    ) -> Result<(), StoreError> {
        let (organization, user) = (
            insert_organization(organization)?,
            identity::insert_user(user)?,
        );
        self.writer
            .transaction(|connection| {
                Box::pin(async move {
                    organization
                        .execute(&mut *connection)
                        .await
                        .map_err(fault)?;
                    let inserted = user
                        .execute(connection)
                        .await
                        .map_err(fault)?
                        .rows_affected();
                    identity::email_was_free(inserted)
                })
            })
            .await
    }

    async fn insert_customer(&self, customer: &Customer) -> Result<(), StoreError> {
        let insert = sqlx::query(
            "INSERT INTO customers (id, organization, version, created_at, search, body) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(id_bytes(customer.id.uuid()))
        .bind(id_bytes(customer.organization.uuid()))
        .bind(integer(customer.version))
        .bind(micros(customer.created_at))
        .bind(customer_search(customer))
        .bind(json_text(customer)?);
        self.writer.execute(insert).await.map(|_| ())
    }

    async fn customer(
        &self,
        organization: OrganizationId,
        id: CustomerId,
    ) -> Result<Option<Customer>, StoreError> {
        let row = sqlx::query("SELECT body FROM customers WHERE id = $1 AND organization = $2")
            .bind(id_bytes(id.uuid()))
            .bind(id_bytes(organization.uuid()))
            .fetch_optional(&self.reader)
            .await
            .map_err(fault)?;
        row.map(|row| row.json("body")).transpose()
    }

    async fn update_customer(&self, customer: &Customer) -> Result<(), StoreError> {
        let update = sqlx::query(
            "UPDATE customers SET version = $3, search = $4, body = $5 \
             WHERE id = $1 AND organization = $2 AND version = $3 - 1",
        )
        .bind(id_bytes(customer.id.uuid()))
        .bind(id_bytes(customer.organization.uuid()))
        .bind(integer(customer.version))
        .bind(customer_search(customer))
        .bind(json_text(customer)?);
        one_row(self.writer.execute(update).await?)
    }

    async fn delete_customer(
        &self,
        organization: OrganizationId,
        id: CustomerId,
    ) -> Result<bool, StoreError> {
        let delete = sqlx::query("DELETE FROM customers WHERE id = $1 AND organization = $2")
            .bind(id_bytes(id.uuid()))
            .bind(id_bytes(organization.uuid()));
        Ok(self.writer.execute(delete).await? == 1)
    }

    async fn customers(
        &self,
        organization: OrganizationId,
        q: Option<&str>,
        page: &PageRequest<CustomerId>,
    ) -> Result<Page<Customer>, StoreError> {
        let mut query =
            QueryBuilder::<Sqlite>::new("SELECT body FROM customers WHERE organization = ");
        query.push_bind(id_bytes(organization.uuid()));
        if let Some(part) = q.filter(|part| !part.is_empty()) {
            query
                .push(" AND search LIKE ")
                .push_bind(contains_pattern(part))
                .push(" ESCAPE '\\'");
        }
        if let Some(after) = page.starting_after {
            let created_at: Option<i64> = sqlx::query_scalar(
                "SELECT created_at FROM customers WHERE id = $1 AND organization = $2",
            )
            .bind(id_bytes(after.uuid()))
            .bind(id_bytes(organization.uuid()))
            .fetch_optional(&self.reader)
            .await
            .map_err(fault)?;
            let Some(created_at) = created_at else {
                return Ok(page::empty());
            };
            page::push_after(&mut query, created_at, after.uuid());
        }
        page::push_newest_first(&mut query, page.limit);
        let rows = query.build().fetch_all(&self.reader).await.map_err(fault)?;
        page::cut(&rows, page.limit, |row| row.json("body"))
    }

    async fn insert_asset(&self, asset: &Asset) -> Result<(), StoreError> {
        let insert = sqlx::query(
            "INSERT INTO assets (id, organization, media_type, created_at, bytes) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(id_bytes(asset.id.uuid()))
        .bind(id_bytes(asset.organization.uuid()))
        .bind(asset.media_type.clone())
        .bind(micros(asset.created_at))
        .bind(asset.bytes.clone());
        self.writer.execute(insert).await.map(|_| ())
    }

    async fn asset(
        &self,
        organization: OrganizationId,
        id: FileId,
    ) -> Result<Option<Asset>, StoreError> {
        let row = sqlx::query(
            "SELECT media_type, created_at, bytes FROM assets WHERE id = $1 AND organization = $2",
        )
        .bind(id_bytes(id.uuid()))
        .bind(id_bytes(organization.uuid()))
        .fetch_optional(&self.reader)
        .await
        .map_err(fault)?;
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
        let row = sqlx::query(
            "SELECT key, fingerprint, status, created_at, body FROM kept_answers \
             WHERE organization = $1 AND key = $2",
        )
        .bind(id_bytes(organization.uuid()))
        .bind(key.to_owned())
        .fetch_optional(&self.reader)
        .await
        .map_err(fault)?;
        row.map(|row| kept_answer(organization, &row)).transpose()
    }

    async fn keep_answer(
        &self,
        answer: &KeptAnswer,
        forget_before: Timestamp,
    ) -> Result<(), StoreError> {
        let forget = sqlx::query("DELETE FROM kept_answers WHERE created_at < $1")
            .bind(micros(forget_before));
        let keep = sqlx::query(
            "INSERT INTO kept_answers (organization, key, fingerprint, status, created_at, body) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (organization, key) DO NOTHING",
        )
        .bind(id_bytes(answer.organization.uuid()))
        .bind(answer.key.clone())
        .bind(answer.fingerprint.cast_signed())
        .bind(i64::from(answer.status))
        .bind(micros(answer.created_at))
        .bind(answer.body.clone());
        self.writer
            .transaction(|connection| {
                Box::pin(async move {
                    forget.execute(&mut *connection).await.map_err(fault)?;
                    keep.execute(connection).await.map(|_| ()).map_err(fault)
                })
            })
            .await
    }
}

fn insert_organization(organization: &Organization) -> Result<BoundQuery, StoreError> {
    Ok(
        sqlx::query("INSERT INTO organizations (id, version, body) VALUES ($1, $2, $3)")
            .bind(id_bytes(organization.id.uuid()))
            .bind(integer(organization.version))
            .bind(json_text(organization)?),
    )
}

fn customer_search(customer: &Customer) -> String {
    search_text([
        Some(customer.party.name.as_str()),
        customer.party.email.as_deref(),
    ])
}

fn kept_answer(organization: OrganizationId, row: &SqliteRow) -> Result<KeptAnswer, StoreError> {
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
