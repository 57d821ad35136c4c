//! Whose turn it is to write: always this process's, or that of one of several that share the file.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::SqliteConnection;
use tokio::time::{Duration, Instant, sleep, sleep_until};

use super::super::error::{fault, is_busy, unavailable};
use super::super::lock::LockFile;
use crate::store::StoreError;

/// Locked by the node whose turn it is.
const FILE_NAME: &str = "faktor-turn.lock";
/// Shared by the nodes that wait for their turn.
const WANTED_FILE_NAME: &str = "faktor-turn-wanted.lock";
/// How long a node waits for its turn before it gives its batch up.
const PATIENCE: Duration = Duration::from_secs(10);
/// What to say then.
const HELD: &str = "another node has held the database for too long";
/// How often it looks whether it is its turn.
const LOOK: Duration = Duration::from_millis(1);
/// For which time a node that has written lets others go first, if some wait. A lock has no queue: who
/// waits must find a gap.
const GAP: Duration = Duration::from_millis(1);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) enum Turns {
    /// This process is the only one that writes, apart from programs of the operator's.
    Alone,
    /// Other nodes write, too.
    Shared(Arc<Shared>),
}

/// SQLite's own lock would do, and still guards the file from all that do not know of turns. But asking
/// for that one goes by way of the connection's thread, and that again and again while another node
/// writes.
#[derive(Debug)]
pub(super) struct Shared {
    file: LockFile,
    wanted: LockFile,
    /// When this node's last turn was over.
    over: Mutex<Option<Instant>>,
}

/// This process's turn, until it is dropped; it ends with the process, too.
pub(super) struct Turn(Option<Arc<Shared>>);

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(shared) = &self.0 else { return };
        if let Err(error) = shared.file.unlock() {
            tracing::error!(%error, "{FILE_NAME} can't be unlocked: no other node can write");
        }
        *shared.over() = Some(Instant::now());
    }
}

/// Says that this process waits for its turn, until it is dropped; it ends with the process, too.
struct Waiting<'a>(&'a LockFile);

impl<'a> Waiting<'a> {
    /// None while another process looks whether somebody waits.
    fn say(wanted: &'a LockFile) -> Result<Option<Self>, StoreError> {
        Ok(wanted.try_share()?.then_some(Self(wanted)))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::error!(%error, "{WANTED_FILE_NAME} can't be unlocked: other nodes write slower");
        }
    }
}

impl Shared {
    /// Whether another process waits for its turn.
    fn is_wanted(&self) -> Result<bool, StoreError> {
        if !self.wanted.try_lock()? {
            return Ok(true);
        }
        self.wanted.unlock().map_err(unavailable)?;
        Ok(false)
    }

    /// Lets others go first, if this process had its turn just now and somebody waits.
    async fn leave_a_gap(&self) -> Result<(), StoreError> {
        let over = *self.over();
        match over.map(|over| over + GAP) {
            Some(end) if Instant::now() < end && self.is_wanted()? => {
                sleep_until(end).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn lock(&self) -> Result<(), StoreError> {
        let mut waiting = None;
        let waits = || {
            if waiting.is_none() {
                waiting = Waiting::say(&self.wanted)?;
            }
            Ok(())
        };
        self.file.lock((LOOK, PATIENCE), HELD, waits).await
    }

    fn over(&self) -> MutexGuard<'_, Option<Instant>> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns {
    /// Among the processes that share a directory.
    pub(super) fn shared(directory: &Path) -> Result<Self, StoreError> {
        let file = LockFile::open(directory, FILE_NAME)?;
        let wanted = LockFile::open(directory, WANTED_FILE_NAME)?;
        let over = Mutex::default();
        Ok(Self::Shared(Arc::new(Shared { file, wanted, over })))
    }

    pub(super) const fn are_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// Waits for this process's turn.
    pub(super) async fn take(&self) -> Result<Turn, StoreError> {
        let Self::Shared(shared) = self else {
            return Ok(Turn(None));
        };
        shared.leave_a_gap().await?;
        shared.lock().await?;
        Ok(Turn(Some(Arc::clone(shared))))
    }

    /// Begins a transaction that writes, in this process's turn. Then it waits for those alone that
    /// do not know of turns, such as a node of an older version.
    pub(super) async fn begin(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let started = Instant::now();
        loop {
            let begun = sqlx::query("BEGIN IMMEDIATE")
                .execute(&mut *connection)
                .await;
            match begun {
                Ok(_) => return Ok(()),
                Err(error) if self.are_shared() && is_busy(&error) => {
                    if started.elapsed() > PATIENCE {
                        return Err(unavailable(HELD));
                    }
                    sleep(LOOK).await;
                }
                Err(error) => return Err(fault(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_turn_is_waited_for_until_it_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let [here, there] = [(), ()].map(|()| Turns::shared(directory.path()).unwrap());
        let turn = here.take().await.unwrap();
        let mut waiting = Box::pin(there.take());
        let meanwhile = timeout(Duration::from_millis(50), &mut waiting).await;
        assert!(meanwhile.is_err());
        drop(turn);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn who_waits_gets_a_turn_from_a_node_that_always_wants_one() {
        let directory = tempfile::tempdir().unwrap();
        let [busy, other] = [(), ()].map(|()| Turns::shared(directory.path()).unwrap());
        let always = async {
            loop {
                let turn = busy.take().await.unwrap();
                tokio::task::yield_now().await;
                drop(turn);
            }
        };
        let some = async {
            for _ in 0..10 {
                drop(other.take().await.unwrap());
            }
        };
        let both = async {
            tokio::select! { biased; () = always => {}, () = some => {} }
        };
        timeout(Duration::from_secs(5), both).await.unwrap();
    }

    #[tokio::test]
    async fn where_nobody_waits_a_node_leaves_no_gap() {
        let directory = tempfile::tempdir().unwrap();
        let [busy, other] = [(), ()].map(|()| Turns::shared(directory.path()).unwrap());
        drop(busy.take().await.unwrap());
        let Turns::Shared(shared) = &busy else {
            panic!("it shares")
        };
        assert!(!shared.is_wanted().unwrap());
        // Of two that wait, one goes away again.
        let turn = busy.take().await.unwrap();
        let third = Turns::shared(directory.path()).unwrap();
        let mut waiting = Box::pin(other.take());
        let mut gone = Box::pin(third.take());
        let soon = Duration::from_millis(20);
        assert!(timeout(soon, &mut waiting).await.is_err());
        assert!(timeout(soon, &mut gone).await.is_err());
        assert!(shared.is_wanted().unwrap());
        drop(gone);
        assert!(shared.is_wanted().unwrap());
        drop(turn);
        drop(waiting.await.unwrap());
        assert!(!shared.is_wanted().unwrap());
    }

    #[tokio::test]
    async fn alone_nobody_waits() {
        let turns = Turns::Alone;
        let first = turns.take().await.unwrap();
        let second = turns.take().await.unwrap();
        drop((first, second));
    }
}
