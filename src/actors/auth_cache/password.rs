//! Passwords: their rules, and argon2id.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, PasswordHasher, Version};
use subtle::ConstantTimeEq as _;

use super::threads::HashingThreads;
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
pub struct Passwords {
    threads: HashingThreads,
}

impl Passwords {
    /// For a pool with so many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            threads: HashingThreads::new(workers),
        }
    }
}

impl Work for Passwords {
    type Task = PasswordTask;
    type Output = Result<PasswordOutcome, HashingFailed>;
    const NAME: &'static str = "auth";

    async fn run(&self, task: PasswordTask) -> Self::Output {
        let work = move |memory: &mut Vec<Block>| match task {
            PasswordTask::Hash { password } => hash_now(&password).map(PasswordOutcome::Hash),
            PasswordTask::Verify { password, hash } => Ok(PasswordOutcome::Verified(
                verify_now(&password, &hash, memory).unwrap_or(false),
            )),
            #[cfg(test)]
            PasswordTask::Panic => panic!("a test asked for it"),
        };
        self.threads.run(work).await?
    }
}

/// Hashes a password outside a pool: for the command line and the first start.
pub async fn hash(password: String) -> Result<String, HashingFailed> {
    tokio::task::spawn_blocking(move || hash_now(&password))
        .await
        .map_err(|_| HashingFailed)?
}

fn hash_now(password: &str) -> Result<String, HashingFailed> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| HashingFailed)?;
    let salt = clock::random_bytes::<16>();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|_| HashingFailed)
}

/// Whether the password gives this hash; `None` for what is no argon2 hash. The parameters are those
/// of the hash, so that they can be raised later.
fn verify_now(password: &str, hash: &str, memory: &mut Vec<Block>) -> Option<bool> {
    let hash = PasswordHash::new(hash).ok()?;
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = hash.version?.try_into().ok()?;
    let params = Params::try_from(&hash).ok()?;
    let (salt, expected) = (hash.salt?, hash.hash?);
    memory.resize(params.block_count().max(memory.len()), Block::default());
    let mut given = vec![0; expected.len()];
    Argon2::new(algorithm, version, params)
        .hash_password_into_with_memory(password.as_bytes(), &salt, &mut given, memory)
        .ok()?;
    Some(given.as_slice().ct_eq(expected.as_bytes()).into())
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
        let verify = |password: &str, hash: &str| verify_now(password, hash, &mut Vec::new());
        assert_eq!(verify("correct horse battery", &hash), Some(true));
        assert_eq!(verify("correct horse batterz", &hash), Some(false));
        assert_eq!(verify("anything", "not a hash"), None);
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
        assert_eq!(
            verify_now("", UNKNOWN_USER_HASH, &mut Vec::new()),
            Some(false)
        );
    }
}
