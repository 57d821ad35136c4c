//! The one place that asks the machine for the time, ids and randomness.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use uuid::Uuid;

/// Tells the time; a test sets its own.
#[derive(Debug, Clone)]
pub enum Clock {
    System,
    /// Stands still until moved.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `now` until [`Clock::advance_ms`] moves it.
    pub fn manual(now: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(now.as_millisecond())))
    }

    /// Now, cut to whole milliseconds: what is stored and shown.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    pub fn now(&self) -> Timestamp {
        let milliseconds = match self {
            Self::System => Timestamp::now().as_millisecond(),
            Self::Manual(milliseconds) => milliseconds.load(Ordering::SeqCst),
        };
        Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Moves a manual clock; the system's can't be moved.
    pub fn advance_ms(&self, by: i64) {
        if let Self::Manual(milliseconds) = self {
            milliseconds.fetch_add(by, Ordering::SeqCst);
        }
    }
}

/// A new time-ordered id.
#[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
pub fn new_uuid() -> Uuid {
    Uuid::now_v7()
}

/// `BYTES` random bytes from the operating system, in lowercase hexadecimal.
pub fn random_hex<const BYTES: usize>() -> String {
    hex::encode(random_bytes::<BYTES>())
}

/// Random bytes fit for secrets.
pub fn random_bytes<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    // Straight from the kernel: the cryptography library's generator would first measure the
    // processor's jitter for some 30 ms.
    if getrandom::fill(&mut bytes).is_err() {
        // Without randomness no secret is safe: nothing sensible can go on.
        std::process::abort();
    }
    bytes
}
