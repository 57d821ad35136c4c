//! Whose turn it is to write: always this process's, or that of one of several that share the file.

use sqlx::SqliteConnection;
use tokio::time::{Duration, Instant, sleep};

use super::super::error::{fault, is_busy, unavailable};
use crate::store::StoreError;

/// How long a node waits for its turn before it gives its batch up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks whether it is its turn.
const LOOK: Duration = Duration::from_millis(1);
/// For which time a node that has written lets others go first. SQLite has no queue: who waits must
/// find a gap.
const GAP: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turns {
    /// This process is the only one that writes, apart from programs of the operator's.
    Alone,
    /// Other nodes write, too.
    Shared,
}

impl Turns {
    /// Begins a transaction that writes.
    pub(super) async fn begin(self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let started = Instant::now();
        loop {
            let begun = sqlx::query("BEGIN IMMEDIATE")
                .execute(&mut *connection)
                .await;
            match begun {
                Ok(_) => return Ok(()),
                Err(error) if self == Self::Shared && is_busy(&error) => {
                    if started.elapsed() > PATIENCE {
                        return Err(unavailable(
                            "another node has held the database for too long",
                        ));
                    }
                    sleep(LOOK).await;
                }
                Err(error) => return Err(fault(error)),
            }
        }
    }

    /// After a transaction.
    pub(super) async fn let_others_go_first(self) {
        if self == Self::Shared {
            sleep(GAP).await;
        }
    }
}
