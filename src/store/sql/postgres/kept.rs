//! One connection that is at hand: the pool tries each one that comes back to it, which would cost
//! every statement a second way to the server and back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::PgPool;
use tokio::time::{Duration, Instant, timeout};

use super::super::error::unavailable;
use super::session::Session;
use crate::store::StoreError;

/// A connection that was idle for this long is tried before it is used.
const TRY_AFTER: Duration = Duration::from_secs(1);

/// The place for it. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Kept {
    place: Arc<Mutex<Place>>,
}

#[derive(Default)]
struct Place {
    at_hand: Option<(Session, Instant)>,
    /// Callers that wait at the pool. They are counted here because the pool's own counts lag behind
    /// what it does, and a connection that is kept while all wait for it is found by none of them.
    waiting: usize,
}

/// Until this is dropped, connections go back to the pool.
struct Waiting<'a>(&'a Kept);

impl Kept {
    /// The connection that is at hand, if it answers, otherwise one of the pool. `Unavailable` when
    /// the server is silent, or all connections are busy for as long as the pool waits.
    pub(super) async fn session(
        &self,
        pool: &PgPool,
        patience: Duration,
    ) -> Result<Session, StoreError> {
        loop {
            let (mut session, since) = match self.take() {
                Ok(at_hand) => at_hand,
                Err(_waiting) => return Session::open(pool, patience).await,
            };
            if since.elapsed() < TRY_AFTER {
                return Ok(session);
            }
            let within = pool.options().get_acquire_timeout();
            match timeout(within, session.ping()).await {
                Ok(Ok(())) => return Ok(session),
                Ok(Err(_)) => session.close(),
                Err(_) => {
                    session.close();
                    return Err(unavailable("the database did not answer in time"));
                }
            }
        }
    }

    /// What is at hand. Where nothing is, who asks counts as waiting from the same moment on.
    fn take(&self) -> Result<(Session, Instant), Waiting<'_>> {
        let mut place = self.place();
        place.at_hand.take().ok_or_else(|| {
            place.waiting += 1;
            Waiting(self)
        })
    }

    /// Keeps a connection that is as it should be, unless somebody waits at the pool.
    pub(super) fn keep(&self, session: Session, pool: &PgPool) {
        let mut place = self.place();
        let is_free = place.waiting == 0 && place.at_hand.is_none();
        // Under the lock: closing marks the pool first, and then looks here.
        if is_free && session.is_at_rest() && !pool.is_closed() {
            place.at_hand = Some((session, Instant::now()));
        }
    }

    /// Gives it back to the pool.
    pub(super) fn release(&self) {
        let at_hand = self.place().at_hand.take();
        drop(at_hand);
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.place().waiting -= 1;
    }
}
