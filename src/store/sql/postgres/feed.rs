//! How events get their places in the feed when many nodes commit.
//!
//! A number that a commit takes is not the order of the commits: one that took a lower number may
//! commit later, and a reader would never see it. So a commit puts its events into the outbox, and
//! whoever publishes moves what has been committed into the feed, one node at a time.

use std::sync::atomic::Ordering;

use super::super::statement::Statement;
use super::Postgres;
use crate::store::StoreError;

/// The key of the advisory lock that orders the publishers of all nodes: "faktor" in ASCII.
const PUBLISHING: i64 = 0x6661_6b74_6f72;

/// An event that waits in the outbox has no place yet, but it will be behind all that have one: as
/// a cursor it stands at the end.
pub(in super::super) const SEQUENCE_OF_EVENT: &str = "\
SELECT sequence FROM feed WHERE event_id = $1 AND organization = $2 \
UNION ALL \
SELECT 9223372036854775807 FROM outbox WHERE event_id = $1 AND organization = $2";

/// Moves what waits into the feed. The lock is taken by a statement of its own, so that the next one
/// sees what its last holder committed; and both are one message, so that nobody holds it while
/// words are on their way.
fn placing(limit: u16) -> String {
    format!(
        "SELECT pg_advisory_xact_lock({PUBLISHING}); \
         WITH moved AS ( \
             DELETE FROM outbox \
             WHERE sequence IN (SELECT sequence FROM outbox ORDER BY sequence LIMIT {limit}) \
             RETURNING sequence, organization, invoice, version, event_id \
         ) \
         INSERT INTO feed (organization, invoice, version, event_id) \
         SELECT organization, invoice, version, event_id FROM moved ORDER BY sequence"
    )
}

impl Postgres {
    /// Gives places to at most `limit` events of any node that wait, and counts those that this
    /// node has not told its readers of, whichever node placed them.
    pub(in super::super) async fn publish(&self, limit: u16) -> Result<u64, StoreError> {
        let before = match self.told.load(Ordering::Acquire) {
            none if none < 0 => self.last_place().await?,
            told => told,
        };
        self.told.store(before, Ordering::Release);
        let waiting = Statement::new("SELECT 1 FROM outbox LIMIT 1");
        if !self.fetch_all(&waiting).await?.is_empty() {
            self.script(&placing(limit)).await?;
        }
        let untold = Statement::new(
            "SELECT sequence FROM feed WHERE sequence > $1 ORDER BY sequence LIMIT $2",
        )
        .bind(before)
        .bind(limit);
        let untold = self.fetch_all(&untold).await?;
        if let Some(last) = untold.last() {
            self.told
                .store(last.integer("sequence")?, Ordering::Release);
        }
        Ok(untold.len() as u64)
    }

    async fn last_place(&self) -> Result<i64, StoreError> {
        let statement = Statement::new("SELECT COALESCE(MAX(sequence), 0) AS last FROM feed");
        let rows = self.fetch_all(&statement).await?;
        rows.first().map_or(Ok(0), |row| row.integer("last"))
    }
}
