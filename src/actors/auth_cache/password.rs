//! Passwords: their rules, and argon2id on threads that stand back for everybody else.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::oneshot;

use crate::actors::pool::Work;
use crate::clock;

/// Characters of a password, both inclusive.
pub const MIN_CHARS: usize = 12;
pub const MAX_CHARS: usize = 200;

// OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Checked when the address is unknown, so that the answer takes as long. No password gives it.
pub(super) const UNKNOWN_USER_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The hash could not be made: the thread did not start, or crashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the password could not be hashed")]
pub struct HashingFailed;

/// One piece of work for the pool.
pub enum PasswordTask {
    Hash {
        password: String,
    },
    Verify {
        password: String,
        /// A PHC string.
        hash: String,
    },
    #[cfg(test)]
    Panic,
}

/// What came of a [`PasswordTask`].
pub enum PasswordOutcome {
    Hash(String),
    Verified(bool),
}

/// The workers of the `auth` pool.
pub struct Passwords;

impl Work for Passwords {
    type Task = PasswordTask;
    type Output = Result<PasswordOutcome, HashingFailed>;
    const NAME: &'static str = "auth";

    async fn run(&self, task: PasswordTask) -> Self::Output {
        on_own_thread(move || match task {
            PasswordTask::Hash { password } => hash_now(&password).map(PasswordOutcome::Hash),
            PasswordTask::Verify { password, hash } => {
                Ok(PasswordOutcome::Verified(verify_now(&password, &hash)))
            }
            #[cfg(test)]
            PasswordTask::Panic => panic!("a test asked for it"),
        })
        .await?
    }
}

/// Hashes a password outside a pool: for the command line and the first start.
pub async fn hash(password: String) -> Result<String, HashingFailed> {
    on_own_thread(move || hash_now(&password)).await?
}

fn hash_now(password: &str) -> Result<String, HashingFailed> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| HashingFailed)?;
    let salt = clock::random_bytes::<16>();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|_| HashingFailed)
}

fn verify_now(password: &str, hash: &str) -> bool {
    // The parameters are those of the stored hash, so that they can be raised later.
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

/// Runs `work` on a thread of its own with the lowest priority: a storm of logins takes only the
/// time that requests leave over. That priority can't be taken back, so the thread isn't one of the
/// runtime's; starting one costs microseconds beside the milliseconds of a hash. A panic ends the
/// thread and nothing else.
async fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, HashingFailed> {
    let (reply, output) = oneshot::channel();
    std::thread::Builder::new()
        .name("faktor-password".to_owned())
        .spawn(move || {
            stand_back();
            // A caller that went away wants no answer.
            let _ = reply.send(work());
        })
        .map_err(|_| HashingFailed)?;
    output.await.map_err(|_| HashingFailed)
}

/// Gives this thread the lowest priority. Where that isn't possible it runs as any other.
fn stand_back() {
    // Idle, not only nice: a request that wakes up takes the processor from an idle thread at once,
    // and from a nice one when its slice is over (3 ms on Linux 6.12 and later).
    #[cfg(target_os = "linux")]
    let _ = thread_priority::set_thread_priority_and_policy(
        thread_priority::thread_native_id(),
        thread_priority::ThreadPriority::Min,
        thread_priority::ThreadSchedulePolicy::Normal(
            thread_priority::NormalThreadSchedulePolicy::Idle,
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_verifies_against_its_own_hash_only() {
        let hash = hash("correct horse battery".to_owned()).await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(verify_now("correct horse battery", &hash));
        assert!(!verify_now("correct horse batterz", &hash));
        assert!(!verify_now("anything", "not a hash"));
    }

    #[tokio::test]
    async fn invoice_generator_defect_plain_text_passwords() {
        let first = hash("correct horse battery".to_owned()).await.unwrap();
        let second = hash("correct horse battery".to_owned()).await.unwrap();
        assert!(!first.contains("correct"));
        assert_ne!(first, second, "each hash has a salt of its own");
    }

    #[test]
    fn the_hash_for_unknown_users_costs_what_a_real_one_costs() {
        let hash = PasswordHash::new(UNKNOWN_USER_HASH).unwrap();
        let params = Params::try_from(&hash).unwrap();
        assert_eq!(
            (params.m_cost(), params.t_cost(), params.p_cost()),
            (MEMORY_KIB, PASSES, LANES)
        );
        assert!(!verify_now("", UNKNOWN_USER_HASH));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn passwords_are_hashed_at_the_lowest_priority() {
        use thread_priority::{NormalThreadSchedulePolicy as Normal, ThreadSchedulePolicy};

        let policy = || thread_priority::thread_schedule_policy().unwrap();
        let before = policy();
        assert_eq!(
            on_own_thread(policy).await.unwrap(),
            ThreadSchedulePolicy::Normal(Normal::Idle)
        );
        assert_eq!(policy(), before, "other threads keep theirs");
    }
}
