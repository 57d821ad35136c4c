//! The cluster's book: one lease per node, one row per shard.
//!
//! What changes shards is one statement, which locks their rows in order and looks at its conditions
//! again on what it locked; so of two nodes that want one shard, one gets it, nobody waits for a node
//! that stopped half-way, and none for another one in a circle. Only a node's row says whether it is
//! gone, and only a write to that row changes it: of a renewal and a burial, one comes first.

use async_trait::async_trait;
use jiff::SignedDuration;
use tokio::time::Duration;
use uuid::Uuid;

use super::SqlStore;
use super::columns::Row;
use super::database::{Connection, Database};
use super::error::corrupt;
use super::statement::Statement;
use crate::store::cluster::{
    BootId, ClusterStore, ClusterView, Gone, NewNode, NodeRecord, Renewed, ShardRecord,
};
use crate::store::{Epoch, ShardId, StoreError};

/// Nodes that are gone are kept for so long, for operators: 30 days.
const KEPT_MICROS: i64 = 30 * 24 * 3_600 * 1_000_000;

/// What the databases say differently.
#[derive(Clone, Copy)]
struct Dialect {
    /// Microseconds since 1970 at the moment that it is asked, also within a transaction.
    now: &'static str,
    /// Keeps other writers of the rows that were read waiting.
    locked: &'static str,
}

impl Dialect {
    const fn of(database: &Database) -> Self {
        match database {
            // It has one writer at a time.
            Database::Sqlite(_) => Self {
                now: "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
                locked: "",
            },
            Database::Postgres(_) => Self {
                now: "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)",
                locked: " FOR UPDATE",
            },
        }
    }

    /// `text` with the time in the place of each `NOW`, and the lock in that of `LOCKED`.
    fn statement(self, text: &'static str) -> Statement {
        let text = text.replace("NOW", self.now);
        let mut statement = Statement::new("");
        statement.push(&text.replace(" LOCKED", self.locked));
        statement
    }
}

const BURY_NAMESAKE: &str = "UPDATE cluster_nodes SET gone = 'expired' \
     WHERE name = $1 AND boot <> $2 AND gone IS NULL AND expires_at <= NOW";

const FORGET: &str = "DELETE FROM cluster_nodes WHERE gone IS NOT NULL AND expires_at < NOW - $1 \
     AND NOT EXISTS (SELECT 1 FROM cluster_shards WHERE owner = boot)";

const ENTER: &str = "INSERT INTO cluster_nodes (boot, name, address, http, version, wire_from, \
     wire_to, cookie_mark, joined_at, expires_at, draining) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NOW, NOW + $9, FALSE) ON CONFLICT DO NOTHING";

const RENEW: &str = "UPDATE cluster_nodes SET expires_at = NOW + $2, links = $3 \
     WHERE boot = $1 AND gone IS NULL AND expires_at > NOW RETURNING draining";

/// The nodes and the shards by one statement: both are of the same moment.
const VIEW: &str = "SELECT boot, name, address, http, version, wire_from, wire_to, cookie_mark, joined_at, \
         expires_at - NOW AS left_micros, draining, links, gone, -1 AS shard, 0 AS epoch \
     FROM cluster_nodes \
     WHERE gone IS NULL OR EXISTS (SELECT 1 FROM cluster_shards WHERE owner = boot) \
     UNION ALL \
     SELECT owner, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, shard, epoch \
     FROM cluster_shards \
     ORDER BY shard, name";

const BURY: &str = "UPDATE cluster_nodes SET gone = $2 \
     WHERE boot = $1 AND gone IS NULL AND ($2 <> 'expired' OR expires_at <= NOW)";

/// `$2` holds the shards' numbers, each between commas. Who is gone is looked up among those that are
/// known to be so: an owner that this statement does not know yet is a new one.
const TAKE: &str = "WITH free AS MATERIALIZED ( \
         SELECT shard FROM cluster_shards \
         WHERE $2 LIKE '%,' || shard || ',%' \
             AND (owner IS NULL OR owner IN (SELECT boot FROM cluster_nodes WHERE gone IS NOT NULL)) \
             AND EXISTS (SELECT 1 FROM cluster_nodes \
                 WHERE boot = $1 AND gone IS NULL AND expires_at > NOW) \
         ORDER BY shard LOCKED) \
     UPDATE cluster_shards SET owner = $1, epoch = epoch + 1 FROM free \
     WHERE cluster_shards.shard = free.shard \
     RETURNING cluster_shards.shard AS shard, cluster_shards.epoch AS epoch";

/// `$3` holds `number:epoch` of each shard between commas.
const HAND_OVER: &str = "WITH owned AS MATERIALIZED ( \
         SELECT shard FROM cluster_shards \
         WHERE owner = $1 AND $3 LIKE '%,' || shard || ':' || epoch || ',%' \
             AND EXISTS (SELECT 1 FROM cluster_nodes \
                 WHERE boot = $2 AND gone IS NULL AND expires_at > NOW) \
         ORDER BY shard LOCKED) \
     UPDATE cluster_shards SET owner = $2, epoch = epoch + 1 FROM owned \
     WHERE cluster_shards.shard = owned.shard \
     RETURNING cluster_shards.shard AS shard, cluster_shards.epoch AS epoch";

const RELEASE: &str = "WITH owned AS MATERIALIZED ( \
         SELECT shard FROM cluster_shards WHERE owner = $1 ORDER BY shard LOCKED) \
     UPDATE cluster_shards SET owner = NULL FROM owned \
     WHERE cluster_shards.shard = owned.shard";

#[async_trait]
impl ClusterStore for SqlStore {
    async fn join(&self, node: &NewNode, ttl: Duration) -> Result<(), StoreError> {
        let entering = Entering::new(self.dialect(), node, ttl);
        self.database
            .transaction(entering, |connection, entering| {
                Box::pin(entering.run(connection))
            })
            .await
    }

    async fn renew(&self, boot: BootId, ttl: Duration, links: u32) -> Result<Renewed, StoreError> {
        let rows = self
            .database
            .execute_returning(self.renewal(boot, ttl, links));
        Ok(match rows.await?.first() {
            Some(row) => Renewed::Member {
                draining: row.flag("draining")?,
            },
            None => Renewed::Gone,
        })
    }

    async fn view(&self) -> Result<ClusterView, StoreError> {
        let read = self.dialect().statement(VIEW);
        let mut view = ClusterView::default();
        for row in self.database.fetch_all(&read).await? {
            match u16::try_from(row.integer("shard")?) {
                Ok(shard) => view.shards.push(shard_record(ShardId(shard), &row)?),
                Err(_) => view.nodes.push(node_record(&row)?),
            }
        }
        Ok(view)
    }

    async fn bury(&self, boot: BootId, how: Gone) -> Result<bool, StoreError> {
        let bury = self.dialect().statement(BURY);
        let bury = bury.bind(boot.0).bind(how.name());
        if self.database.execute(bury).await? > 0 {
            return Ok(true);
        }
        // One that was forgotten is gone, too.
        let living = Statement::new("SELECT 1 FROM cluster_nodes WHERE boot = $1 AND gone IS NULL")
            .bind(boot.0);
        Ok(self.database.fetch_optional(&living).await?.is_none())
    }

    async fn take(
        &self,
        boot: BootId,
        shards: &[ShardId],
    ) -> Result<Vec<(ShardId, Epoch)>, StoreError> {
        if shards.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = listed(shards.iter().map(|shard| shard.0.to_string()));
        let take = self.dialect().statement(TAKE).bind(boot.0).bind(wanted);
        given(&self.database.execute_returning(take).await?)
    }

    async fn hand_over(
        &self,
        from: BootId,
        to: BootId,
        shards: &[(ShardId, Epoch)],
    ) -> Result<Vec<(ShardId, Epoch)>, StoreError> {
        if shards.is_empty() {
            return Ok(Vec::new());
        }
        let owned = shards.iter();
        let owned = listed(owned.map(|(shard, epoch)| format!("{}:{}", shard.0, epoch.0)));
        let hand_over = self.dialect().statement(HAND_OVER);
        let hand_over = hand_over.bind(from.0).bind(to.0).bind(owned);
        given(&self.database.execute_returning(hand_over).await?)
    }

    async fn leave(&self, boot: BootId) -> Result<(), StoreError> {
        let left = self.dialect().statement(BURY);
        let left = left.bind(boot.0).bind(Gone::Left.name());
        let release = self.dialect().statement(RELEASE).bind(boot.0);
        self.database.execute_all(vec![left, release]).await
    }

    async fn set_draining(&self, boot: BootId, draining: bool) -> Result<bool, StoreError> {
        let set = "UPDATE cluster_nodes SET draining = $2 \
             WHERE boot = $1 AND gone IS NULL AND expires_at > NOW";
        let set = self.dialect().statement(set).bind(boot.0).bind(draining);
        Ok(self.database.execute(set).await? > 0)
    }
}

impl SqlStore {
    const fn dialect(&self) -> Dialect {
        Dialect::of(&self.database)
    }

    fn renewal(&self, boot: BootId, ttl: Duration, links: u32) -> Statement {
        renewal(self.dialect(), boot, ttl, links)
    }
}

fn renewal(dialect: Dialect, boot: BootId, ttl: Duration, links: u32) -> Statement {
    dialect
        .statement(RENEW)
        .bind(boot.0)
        .bind(micros(ttl))
        .bind(i64::from(links))
}

/// The statements of a node's entry.
struct Entering {
    bury_namesake: Statement,
    forget: Statement,
    enter: Statement,
    /// When this very start has entered already, and its reply was lost.
    renew: Statement,
    known: Statement,
}

impl Entering {
    fn new(dialect: Dialect, node: &NewNode, ttl: Duration) -> Self {
        let boot = node.boot.0;
        let (wire_from, wire_to) = node.wire;
        let namesake = dialect.statement(BURY_NAMESAKE);
        Self {
            bury_namesake: namesake.bind(node.name.as_str()).bind(boot),
            forget: dialect.statement(FORGET).bind(KEPT_MICROS),
            enter: dialect
                .statement(ENTER)
                .bind(boot)
                .bind(node.name.as_str())
                .bind(node.address.as_str())
                .bind(node.http.as_str())
                .bind(node.version.as_str())
                .bind(wire_from)
                .bind(wire_to)
                .bind(node.cookie_mark.as_str())
                .bind(micros(ttl)),
            renew: renewal(dialect, node.boot, ttl, 0),
            known: Statement::new("SELECT 1 FROM cluster_nodes WHERE boot = $1").bind(boot),
        }
    }

    async fn run(&self, connection: &mut Connection<'_>) -> Result<(), StoreError> {
        connection.execute(&self.bury_namesake).await?;
        connection.execute(&self.forget).await?;
        if connection.execute(&self.enter).await? > 0 {
            return Ok(());
        }
        if connection.fetch_optional(&self.renew).await?.is_some() {
            return Ok(());
        }
        Err(match connection.fetch_optional(&self.known).await? {
            Some(_) => StoreError::Conflict,
            None => StoreError::Taken { field: "name" },
        })
    }
}

fn micros(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX)
}

/// Each between commas: `,1,2,`.
fn listed(items: impl Iterator<Item = String>) -> String {
    items.fold(",".to_owned(), |list, item| list + &item + ",")
}

fn given(rows: &[Row]) -> Result<Vec<(ShardId, Epoch)>, StoreError> {
    let mut given = rows
        .iter()
        .map(|row| {
            let shard = u16::try_from(row.integer("shard")?).map_err(corrupt)?;
            Ok((ShardId(shard), Epoch(row.unsigned("epoch")?)))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    given.sort_unstable_by_key(|(shard, _)| *shard);
    Ok(given)
}

fn shard_record(shard: ShardId, row: &Row) -> Result<ShardRecord, StoreError> {
    Ok(ShardRecord {
        shard,
        owner: row.get_as::<Option<Uuid>>("boot")?.map(BootId),
        epoch: Epoch(row.unsigned("epoch")?),
    })
}

fn node_record(row: &Row) -> Result<NodeRecord, StoreError> {
    let wire = |column| u16::try_from(row.integer(column)?).map_err(corrupt);
    let gone = match row.get_as::<Option<&str>>("gone")? {
        None => None,
        Some("left") => Some(Gone::Left),
        Some("expired") => Some(Gone::Expired),
        Some("refused") => Some(Gone::Refused),
        Some("replaced") => Some(Gone::Replaced),
        Some(other) => return Err(corrupt(format!("a node is gone as {other}"))),
    };
    Ok(NodeRecord {
        node: NewNode {
            boot: BootId(row.id("boot")?),
            name: row.text("name")?,
            address: row.text("address")?,
            http: row.text("http")?,
            version: row.text("version")?,
            wire: (wire("wire_from")?, wire("wire_to")?),
            cookie_mark: row.text("cookie_mark")?,
        },
        joined_at: row.timestamp("joined_at")?,
        left: SignedDuration::from_micros(row.integer("left_micros")?),
        draining: row.flag("draining")?,
        links: u32::try_from(row.integer("links")?).map_err(corrupt)?,
        gone,
    })
}
