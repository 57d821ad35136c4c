//! Whose turn it is to write: always this process's, or that of one of several that share the file.

use std::future::pending;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use sqlx::SqliteConnection;
use tokio::sync::{Mutex as Loan, OwnedMutexGuard as OnLoan, oneshot};
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
/// How often it looks, where it has to.
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
    /// The same file, opened once more, so that a lock on it is another's than one on `file`: on loan to
    /// the thread that waits for this node's turn, and then for that turn.
    waited: Arc<Loan<LockFile>>,
    /// To that thread, which lasts as long as this does.
    waits: mpsc::Sender<Wait>,
    wanted: LockFile,
    /// When this node's last turn was over.
    over: Mutex<Option<Instant>>,
}

/// This process's turn, until it is dropped; it ends with the process, too.
#[derive(Debug)]
pub(super) struct Turn {
    shared: Arc<Shared>,
    /// None when it wasn't waited for.
    waited: Option<OnLoan<LockFile>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let file = self.waited.as_deref().unwrap_or(&self.shared.file);
        if let Err(error) = file.unlock() {
            tracing::error!(%error, "{FILE_NAME} can't be unlocked: no other node can write");
        }
        *self.shared.over() = Some(Instant::now());
    }
}

/// A turn that is waited for in the thread.
#[derive(Debug)]
struct Wait {
    shared: Arc<Shared>,
    waited: OnLoan<LockFile>,
    hand_over: oneshot::Sender<Result<Turn, StoreError>>,
}

fn wait_for_each(waits: mpsc::Receiver<Wait>) {
    for wait in waits {
        let locked = wait.waited.lock_blocking();
        let turn = locked.map(|()| wait.shared.turn(Some(wait.waited)));
        let _ = wait.hand_over.send(turn);
    }
}

/// Says that this process waits for its turn, until it is dropped; it ends with the process, too.
struct Waiting<'a>(&'a LockFile);

impl<'a> Waiting<'a> {
    async fn say(wanted: &'a LockFile) -> Result<Self, StoreError> {
        while !wanted.try_share()? {
            // Another process is looking whether somebody waits.
            sleep(LOOK).await;
        }
        Ok(Self(wanted))
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

    async fn lock(self: &Arc<Self>) -> Result<Turn, StoreError> {
        if self.file.try_lock()? {
            return Ok(self.turn(None));
        }
        let turn = async {
            if let Some(turn) = self.wait_in_the_thread() {
                return turn.await.map_err(unavailable)?;
            }
            self.file.lock((LOOK, PATIENCE), HELD).await?;
            Ok(self.turn(None))
        };
        let say_so = async {
            let _waiting = Waiting::say(&self.wanted).await?;
            pending().await
        };
        tokio::select! {
            turn = turn => turn,
            failed = say_so => failed,
            () = sleep(PATIENCE) => Err(unavailable(HELD)),
        }
    }

    /// The thread sleeps until it is this node's turn, and hands it over. A node that looks again and
    /// again spends more on waking up than on looking, and comes late.
    ///
    /// The thread can't be called back. When nobody takes the turn any more, it is over at once; and
    /// until then, while another process is stopped in its turn, none more is waited for: None.
    fn wait_in_the_thread(self: &Arc<Self>) -> Option<oneshot::Receiver<Result<Turn, StoreError>>> {
        let waited = Arc::clone(&self.waited).try_lock_owned().ok()?;
        let (hand_over, turn) = oneshot::channel();
        let shared = Arc::clone(self);
        let wait = Wait {
            shared,
            waited,
            hand_over,
        };
        self.waits.send(wait).ok()?;
        Some(turn)
    }

    fn turn(self: &Arc<Self>, waited: Option<OnLoan<LockFile>>) -> Turn {
        let shared = Arc::clone(self);
        Turn { shared, waited }
    }

    fn over(&self) -> MutexGuard<'_, Option<Instant>> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns {
    /// Among the processes that share a directory.
    pub(super) fn shared(directory: &Path) -> Result<Self, StoreError> {
        let (waits, asked_for) = mpsc::channel();
        // Not one of the runtime's, which waits for its threads when it stops.
        thread::Builder::new()
            .name("store-turn".to_owned())
            .spawn(|| wait_for_each(asked_for))
            .map_err(unavailable)?;
        Ok(Self::Shared(Arc::new(Shared {
            file: LockFile::open(directory, FILE_NAME)?,
            waited: Arc::new(Loan::new(LockFile::open(directory, FILE_NAME)?)),
            waits,
            wanted: LockFile::open(directory, WANTED_FILE_NAME)?,
            over: Mutex::default(),
        })))
    }

    pub(super) const fn are_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// Waits for this process's turn. None: it always is.
    pub(super) async fn take(&self) -> Result<Option<Turn>, StoreError> {
        let Self::Shared(shared) = self else {
            return Ok(None);
        };
        shared.leave_a_gap().await?;
        shared.lock().await.map(Some)
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
    use std::mem;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    fn shared(turns: &Turns) -> &Arc<Shared> {
        let Turns::Shared(shared) = turns else {
            panic!("it shares")
        };
        shared
    }

    #[tokio::test]
    async fn a_turn_is_waited_for_until_it_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let [mut here, mut there] = [(), ()].map(|()| Turns::shared(directory.path()).unwrap());
        let mut turn = here.take().await.unwrap();
        for _ in 0..10 {
            let mut waiting = Box::pin(there.take());
            assert!(timeout(SOON, &mut waiting).await.is_err());
            drop(turn);
            turn = waiting.await.unwrap();
            mem::swap(&mut here, &mut there);
        }
    }

    #[tokio::test]
    async fn who_has_gone_has_no_turn() {
        let directory = tempfile::tempdir().unwrap();
        let [here, there] = [(), ()].map(|()| Turns::shared(directory.path()).unwrap());
        for _ in 0..10 {
            let turn = here.take().await.unwrap();
            assert!(timeout(SOON, there.take()).await.is_err());
            // What the thread still waits for: a turn that nobody takes.
            drop(turn);
            drop(timeout(PATIENCE / 2, here.take()).await.unwrap().unwrap());
            drop(timeout(PATIENCE / 2, there.take()).await.unwrap().unwrap());
        }
    }

    #[tokio::test]
    async fn while_a_turn_does_not_end_one_is_waited_for_in_the_thread_and_others_by_looking() {
        let directory = tempfile::tempdir().unwrap();
        let [here, there] = [(), ()].map(|()| Turns::shared(directory.path()).unwrap());
        let turn = here.take().await.unwrap();
        assert!(timeout(SOON, there.take()).await.is_err());
        assert!(shared(&there).wait_in_the_thread().is_none());
        let mut waiting = Box::pin(there.take());
        assert!(timeout(SOON, &mut waiting).await.is_err());
        drop(turn);
        let turn = timeout(PATIENCE / 2, waiting).await.unwrap().unwrap();
        assert!(timeout(SOON, here.take()).await.is_err());
        drop(turn);
        // Then the thread can be asked again.
        let at_rest = async {
            while shared(&there).waited.try_lock().is_err() {
                sleep(LOOK).await;
            }
        };
        timeout(PATIENCE / 2, at_rest).await.unwrap();
    }

    #[tokio::test]
    async fn who_waits_gets_a_turn_from_a_node_that_always_wants_one() {
        let directory = tempfile::tempdir().unwrap();
        let [busy, other] = [(), ()].map(|()| Turns::shared(directory.path()).unwrap());
        let mut between = 0;
        let always = async {
            loop {
                let turn = busy.take().await.unwrap();
                tokio::task::yield_now().await;
                drop(turn);
                between += 1;
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
        timeout(PATIENCE / 2, both).await.unwrap();
        // About one each; without gaps it is some hundred.
        assert!(
            between < 50,
            "{between} turns of the one for 10 of the other"
        );
    }

    #[tokio::test]
    async fn where_nobody_waits_a_node_leaves_no_gap() {
        let directory = tempfile::tempdir().unwrap();
        let [busy, other] = [(), ()].map(|()| Turns::shared(directory.path()).unwrap());
        drop(busy.take().await.unwrap());
        let shared = shared(&busy);
        assert!(!shared.is_wanted().unwrap());
        // Of two that wait, one goes away again.
        let turn = busy.take().await.unwrap();
        let third = Turns::shared(directory.path()).unwrap();
        let mut waiting = Box::pin(other.take());
        let mut gone = Box::pin(third.take());
        assert!(timeout(SOON, &mut waiting).await.is_err());
        assert!(timeout(SOON, &mut gone).await.is_err());
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
