//! For how long a node wants to hear of something from another: it says so again and again while
//! somebody waits there, and is forgotten when it has gone silent.

use tokio::time::Duration;

use crate::actors::ownership::machine_ms;

/// For how long others are asked to tell of it, in milliseconds.
pub(super) const FOR_MS: u64 = 10_000;
/// How often they are asked again.
pub(super) const AGAIN: Duration = Duration::from_secs(3);
/// A peer may not ask for more.
const LONGEST_MS: u64 = 60_000;

/// When a peer that has asked just now wants to hear no more, by the machine's clock.
pub(super) fn until(for_ms: u64) -> u64 {
    machine_ms().saturating_add(for_ms.min(LONGEST_MS))
}
