//! Connections that are kept for the next mail, and a bound on how many there are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use lettre::transport::smtp::client::TlsParameters;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Instant, interval, timeout};

use super::address::Address;
use super::connection::{ConnectError, Connection};

/// How long connecting, TLS and login may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A kept connection that does not answer within this time is given up.
const RESET_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection without a mail for this long is closed.
const IDLE_FOR: Duration = Duration::from_secs(30);
/// How often idle connections are looked at.
const IDLE_CHECK: Duration = Duration::from_secs(5);
/// Servers count the mails of a connection, and many stop at a hundred.
const MAX_MAILS: u32 = 100;
/// A login that was refused is not tried again for this long: servers lock out who insists.
const LOGIN_PAUSE: Duration = Duration::from_secs(30);

pub(super) struct Pool {
    address: Address,
    tls: TlsParameters,
    max_connections: u32,
    /// One for each connection at work.
    permits: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The most recently used one comes last.
    idle: Vec<Idle>,
    rejected: Option<(Instant, String)>,
    answered_at: Option<Instant>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// A connection for one mail. It is closed when this is dropped, as by whoever gives up waiting, and
/// kept only when it is [given back](Self::give_back).
pub(super) struct Lease {
    /// Before the permit, so that it is closed before the next is opened.
    pub(super) connection: Connection,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    /// Idle connections are closed as long as the pool lives.
    pub(super) fn new(address: Address, tls: TlsParameters, max_connections: u32) -> Arc<Self> {
        let max_connections = max_connections.max(1);
        let pool = Arc::new(Self {
            address,
            tls,
            max_connections,
            permits: Arc::new(Semaphore::new(max_connections as usize)),
            state: Mutex::default(),
        });
        tokio::spawn(close_idle(Arc::downgrade(&pool)));
        pool
    }

    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    /// A connection that answers: a kept one, or a new one. Waits for one of the others when there
    /// are as many as allowed; the caller limits how long.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, ConnectError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|error| ConnectError::Unreachable(error.to_string()))?;
        while let Some(mut kept) = self.take_idle() {
            // A kept connection that was closed meanwhile is the usual course of things.
            if timeout(RESET_TIMEOUT, kept.reset()).await == Ok(true) {
                return Ok(self.leased(kept, permit));
            }
        }
        let opened = self.open().await?;
        Ok(self.leased(opened, permit))
    }

    fn leased(self: &Arc<Self>, connection: Connection, permit: OwnedSemaphorePermit) -> Lease {
        self.note_answer();
        Lease {
            connection,
            pool: Arc::clone(self),
            _permit: permit,
        }
    }

    async fn open(&self) -> Result<Connection, ConnectError> {
        if let Some((at, problem)) = &self.state().rejected
            && at.elapsed() < LOGIN_PAUSE
        {
            return Err(ConnectError::Rejected(problem.clone()));
        }
        let opened = timeout(CONNECT_TIMEOUT, Connection::open(&self.address, &self.tls)).await;
        let opened = opened.unwrap_or_else(|_| {
            Err(ConnectError::Unreachable(format!(
                "no connection within {} s",
                CONNECT_TIMEOUT.as_secs()
            )))
        });
        self.state().rejected = match &opened {
            Err(ConnectError::Rejected(problem)) => Some((Instant::now(), problem.clone())),
            _ => None,
        };
        opened
    }

    /// The server has answered something just now.
    fn note_answer(&self) {
        self.state().answered_at = Some(Instant::now());
    }

    pub(super) fn answered_within(&self, time: Duration) -> bool {
        self.state()
            .answered_at
            .is_some_and(|at| at.elapsed() < time)
    }

    pub(super) const fn max_connections(&self) -> u32 {
        self.max_connections
    }

    fn take_idle(&self) -> Option<Connection> {
        self.state().idle.pop().map(|idle| idle.connection)
    }

    fn take_overdue(&self) -> Vec<Connection> {
        let mut state = self.state();
        let overdue = state
            .idle
            .extract_if(.., |idle| idle.since.elapsed() >= IDLE_FOR);
        overdue.map(|idle| idle.connection).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Keeps the connection for the next mail, if it is in step.
    pub(super) fn give_back(self) {
        if !self.connection.in_step {
            return;
        }
        self.pool.note_answer();
        if self.connection.mails < MAX_MAILS {
            self.pool.state().idle.push(Idle {
                connection: self.connection,
                since: Instant::now(),
            });
        } else {
            tokio::spawn(self.connection.quit());
        }
    }
}

async fn close_idle(pool: Weak<Pool>) {
    let mut ticks = interval(IDLE_CHECK);
    loop {
        ticks.tick().await;
        let Some(overdue) = pool.upgrade().map(|pool| pool.take_overdue()) else {
            return;
        };
        for connection in overdue {
            connection.quit().await;
        }
    }
}
