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
    place: Arc<Mutex<Option<(Session, Instant)>>>,
}

impl Kept {
    /// The connection that is at hand, if it answers; `Unavailable` when the server is silent.
    pub(super) async fn take(&self, pool: &PgPool) -> Result<Option<Session>, StoreError> {
        let Some((mut session, since)) = self.place().take() else {
            return Ok(None);
        };
        if since.elapsed() < TRY_AFTER {
            return Ok(Some(session));
        }
        let within = pool.options().get_acquire_timeout();
        match timeout(within, session.ping()).await {
            Ok(Ok(())) => Ok(Some(session)),
            Ok(Err(_)) => {
                session.close();
                Ok(None)
            }
            Err(_) => {
                session.close();
                Err(unavailable("the database did not answer in time"))
            }
        }
    }

    /// Keeps a connection that is as it should be, unless somebody may be waiting at the pool for it.
    pub(super) fn keep(&self, session: Session, pool: &PgPool) {
        let most = pool.options().get_max_connections();
        let more_there = pool.num_idle() > 0 || pool.size() < most;
        let mut place = self.place();
        // Under the lock: closing marks the pool first, and then looks here.
        if more_there && place.is_none() && session.is_at_rest() && !pool.is_closed() {
            *place = Some((session, Instant::now()));
        }
    }

    /// Gives it back to the pool.
    pub(super) fn release(&self) {
        drop(self.place().take());
    }

    fn place(&self) -> MutexGuard<'_, Option<(Session, Instant)>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
