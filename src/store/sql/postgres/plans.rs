//! That the statements that are run most find their rows by an index, on a table with many.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::date;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, Row};
use uuid::Uuid;

use super::super::invoices::{due_statement, list_statement};
use super::super::statement::Statement;
use super::open::by_keys;
use super::{PostgresOptions, PostgresStore, batch};
use crate::domain::ids::{CustomerId, InvoiceId, OrganizationId};
use crate::domain::invoice::Status;
use crate::store::{InvoiceFilter, SHARDS, ShardId};

#[path = "../../../../tests/support/backends.rs"]
mod backends;

/// Twenty organizations with a thousand invoices each, some of every kind.
const MANY: &str = "\
INSERT INTO invoices (id, organization, shard, version, epoch, status, number, customer, currency, \
    overdue, issued_on, created_at, updated_at, wake_at, search, snapshot)
SELECT md5('i' || n)::uuid, md5('o' || n % 20)::uuid, n % 256, 1, 1, \
    CASE WHEN n % 50 = 0 THEN 'draft' ELSE 'paid' END, '2026-' || n, md5('c' || n % 997)::uuid, \
    CASE WHEN n % 3 = 0 THEN 'USD' ELSE 'EUR' END, n % 100 = 0, \
    '2026-01-' || lpad((n % 28 + 1)::text, 2, '0'), n, n, \
    CASE WHEN n % 10 = 0 THEN n END, 'ada werke ' || n, repeat('x', 500)
FROM generate_series(1, 20000) AS n";

/// A schema of the test's own in the server's database, and a connection like that of commits.
struct Schema {
    connection: PgConnection,
    schema: String,
}

impl Schema {
    async fn new() -> Option<Self> {
        let server = backends::backend("POSTGRES")?;
        let schema = format!("plans_{}", crate::clock::new_uuid().simple());
        let separator = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{separator}options=-c%20search_path%3D{schema}");
        let options = by_keys(PgConnectOptions::from_str(&url).unwrap());
        let mut connection = options.disable_statement_logging().connect().await.unwrap();
        let create = format!("CREATE SCHEMA {schema}");
        connection.execute(AssertSqlSafe(create)).await.unwrap();
        let (_, handle) = PostgresStore::open(&url, PostgresOptions::default())
            .await
            .unwrap();
        handle.close().await.unwrap();
        Some(Self { connection, schema })
    }

    /// With many invoices, of which the server knows. Reads are left to plan as they like.
    async fn filled() -> Option<Self> {
        let mut filled = Self::new().await?;
        for statement in [
            "RESET enable_seqscan",
            "RESET jit",
            MANY,
            "ANALYZE invoices",
        ] {
            filled.connection.execute(statement).await.unwrap();
        }
        Some(filled)
    }

    async fn plan(&mut self, statement: &Statement) -> String {
        let rows = statement
            .explained()
            .for_postgres()
            .fetch_all(&mut self.connection)
            .await
            .unwrap();
        let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        lines.join("\n")
    }

    async fn drop(mut self) {
        let drop = format!("DROP SCHEMA {} CASCADE", self.schema);
        self.connection.execute(AssertSqlSafe(drop)).await.unwrap();
        self.connection.close().await.unwrap();
    }
}

/// An id that was made of an MD5 sum, as in [`MANY`].
fn hashed(md5: &str) -> Uuid {
    Uuid::parse_str(md5).unwrap()
}

#[tokio::test]
async fn lists_and_alarms_go_by_an_index() {
    let Some(mut filled) = Schema::filled().await else {
        return;
    };
    let ids: (String, String) = sqlx::query_as("SELECT md5('o7'), md5('c7')")
        .fetch_one(&mut filled.connection)
        .await
        .unwrap();
    let organization = OrganizationId::new(hashed(&ids.0));
    let any = InvoiceFilter::default;
    let filters = [
        (any(), "invoices_by_creation"),
        (
            InvoiceFilter {
                status: Some(Status::Draft),
                ..any()
            },
            "invoices_by_status",
        ),
        (
            InvoiceFilter {
                customer: Some(CustomerId::new(hashed(&ids.1))),
                ..any()
            },
            "invoices_by_customer",
        ),
        (
            InvoiceFilter {
                number: Some("2026-7".to_owned()),
                ..any()
            },
            "invoices_by_number",
        ),
        (
            InvoiceFilter {
                currency: Some("USD".parse().unwrap()),
                ..any()
            },
            "invoices_by_c", // currency, or creation
        ),
        (
            InvoiceFilter {
                overdue: Some(true),
                ..any()
            },
            "invoices_overdue",
        ),
        (
            InvoiceFilter {
                issued_from: Some(date(2026, 1, 7)),
                issued_to: Some(date(2026, 1, 7)),
                ..any()
            },
            "invoices_by_issue",
        ),
        (
            InvoiceFilter {
                created_from: Some(date(1970, 1, 1)),
                created_to: Some(date(1970, 1, 2)),
                ..any()
            },
            "invoices_by_creation",
        ),
        (
            InvoiceFilter {
                q: Some("ada".to_owned()),
                ..any()
            },
            "invoices_by_creation",
        ),
    ];
    let after = (9_999, InvoiceId::new(hashed(&ids.1)));
    for (filter, index) in filters {
        for after in [None, Some(after)] {
            let statement = list_statement(organization, &filter, after, 20).unwrap();
            let plan = filled.plan(&statement).await;
            assert!(plan.contains(index), "{filter:?}\n{plan}");
            assert!(!plan.contains("Seq Scan"), "{filter:?}\n{plan}");
        }
    }
    let mine: Vec<ShardId> = (0..SHARDS / 2).map(ShardId).collect();
    for shards in [None, Some(mine.as_slice())] {
        let statement = due_statement(shards, Timestamp::from_microsecond(500).unwrap(), 100);
        let plan = filled.plan(&statement).await;
        assert!(plan.contains("invoices_by_alarm"), "{plan}");
        assert!(!plan.contains("Seq Scan"), "{plan}");
    }
    filled.drop().await;
}

#[tokio::test]
async fn a_batch_of_commits_goes_by_the_key() {
    let Some(mut filled) = Schema::filled().await else {
        return;
    };
    let explain = format!("EXPLAIN {}", batch::WRITE);
    let text = with_subqueries(&explain, 256);
    let rows = sqlx::query(AssertSqlSafe(text))
        .fetch_all(&mut filled.connection)
        .await
        .unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let plan = lines.join("\n");
    assert!(plan.contains("invoices_pkey"), "{plan}");
    assert!(!plan.contains("Seq Scan on invoices"), "{plan}");
    filled.drop().await;
}

#[tokio::test]
async fn commits_go_by_the_key_before_anything_is_known_of_a_table() {
    let Some(mut young) = Schema::new().await else {
        return;
    };
    let prepare = format!("PREPARE commits AS {}", batch::WRITE);
    let explain = format!("EXPLAIN EXECUTE commits({})", ["NULL"; 26].join(", "));
    for statement in ["SET plan_cache_mode = force_generic_plan", &prepare] {
        let statement = AssertSqlSafe(statement.to_owned());
        young.connection.execute(statement).await.unwrap();
    }
    let rows = sqlx::raw_sql(AssertSqlSafe(explain));
    let rows = rows.fetch_all(&mut young.connection).await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let plan = lines.join("\n");
    assert!(plan.contains("invoices_pkey"), "{plan}");
    assert!(!plan.contains("Seq Scan on invoices"), "{plan}");
    young.drop().await;
}

/// The statement with arrays of so many rows instead of its parameters.
fn with_subqueries(statement: &str, rows: usize) -> String {
    let mut text = statement.to_owned();
    // The last ones first: $1 is the beginning of $10.
    for parameter in (1..=26).rev() {
        let name = format!("${parameter}::");
        let at = text.find(&name).unwrap() + name.len();
        let kind = text[at..].split("[]").next().unwrap().to_owned();
        let value = match kind.as_str() {
            "uuid" => "'00000000-0000-0000-0000-000000000007'::uuid",
            "boolean" => "false",
            "bigint" => "7::bigint",
            _ => "'x'::text",
        };
        let array = format!("array_fill({value}, ARRAY[{rows}])::");
        text = text.replace(&name, &array);
    }
    text
}
