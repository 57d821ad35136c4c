//! Checked tokens and keys, remembered for a few seconds. It is asked on every request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::Timestamp;
use moka::sync::Cache;
use tokio::time::Duration;

use super::Caller;
use super::digest::Digest;
use crate::store::cache::Scope;

/// A power of two. Two ids that share a counter only cost each other one look at the store.
const COUNTERS: usize = 1024;

/// How often something was revoked, per scope. What was read from the store before a revocation is
/// recognized by its older count, however late it reaches the cache.
struct Revocations {
    counters: Box<[AtomicU64]>,
}

impl Revocations {
    fn counter(&self, scope: Scope) -> &AtomicU64 {
        let index = match scope {
            // UUIDv7: the random bits stand at the end.
            Scope::User(id) => spread(id.uuid().as_u128()),
            Scope::Organization(id) => spread(id.uuid().as_u128()),
            Scope::ApiKeys => 0,
        };
        &self.counters[index]
    }
}

fn spread(bits: u128) -> usize {
    (bits ^ (bits >> 64)) as usize & (COUNTERS - 1)
}

/// The counts at the moment before the store was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    scope: Scope,
    count: u64,
}

struct Entry {
    caller: Arc<Caller>,
    valid_until_ms: i64,
    look_again_ms: i64,
    looking: AtomicBool,
    stamps: [Stamp; 2],
}

/// What the cache knows of a bearer.
pub(super) enum Hit {
    Known(Arc<Caller>),
    /// Still known, and this request is the one to look again, so that the entry never runs out
    /// under all requests at once.
    LookAgain(Arc<Caller>),
    Unknown,
}

pub(super) struct VerificationCache {
    entries: Cache<Digest, Arc<Entry>>,
    revocations: Revocations,
    ttl: Duration,
}

impl VerificationCache {
    /// `seconds`: how long an entry is believed without looking again.
    pub(super) fn new(max_entries: u64, seconds: u64) -> Self {
        Self {
            entries: Cache::new(max_entries),
            revocations: Revocations {
                counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            },
            ttl: Duration::from_secs(seconds),
        }
    }

    pub(super) const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Never a caller whose token has expired or was revoked in this process.
    pub(super) fn get(&self, bearer: &Digest, now: Timestamp) -> Hit {
        let Some(entry) = self.entries.get(bearer) else {
            return Hit::Unknown;
        };
        let now_ms = now.as_millisecond();
        if now_ms >= entry.valid_until_ms || !self.is_current(&entry.stamps) {
            return Hit::Unknown;
        }
        let caller = Arc::clone(&entry.caller);
        if now_ms >= entry.look_again_ms && !entry.looking.swap(true, Ordering::Relaxed) {
            Hit::LookAgain(caller)
        } else {
            Hit::Known(caller)
        }
    }

    /// To be taken before the store is read.
    pub(super) fn stamp(&self, scope: Scope) -> Stamp {
        Stamp {
            scope,
            count: self.revocations.counter(scope).load(Ordering::SeqCst),
        }
    }

    /// Remembers what the store said at `now`, at most until `expires_at`.
    pub(super) fn insert(
        &self,
        bearer: Digest,
        caller: Arc<Caller>,
        now: Timestamp,
        expires_at: Option<Timestamp>,
        stamps: [Stamp; 2],
    ) {
        self.insert_for(self.ttl, bearer, caller, now, expires_at, stamps);
    }

    /// Remembers what was known at `now` for some more time, at most until `expires_at`.
    pub(super) fn insert_for(
        &self,
        lives: Duration,
        bearer: Digest,
        caller: Arc<Caller>,
        now: Timestamp,
        expires_at: Option<Timestamp>,
        stamps: [Stamp; 2],
    ) {
        let lives_ms = i64::try_from(lives.as_millis()).unwrap_or(i64::MAX);
        let now_ms = now.as_millisecond();
        let expires_at_ms = expires_at.map_or(i64::MAX, Timestamp::as_millisecond);
        let entry = Entry {
            caller,
            valid_until_ms: now_ms.saturating_add(lives_ms).min(expires_at_ms),
            look_again_ms: now_ms.saturating_add(lives_ms / 2),
            looking: AtomicBool::new(false),
            stamps,
        };
        self.entries.insert(bearer, Arc::new(entry));
    }

    pub(super) fn forget(&self, bearer: &Digest) {
        self.entries.invalidate(bearer);
    }

    /// To be called after the store was written.
    pub(super) fn revoke(&self, scope: Scope) {
        let count = |scope| {
            self.revocations
                .counter(scope)
                .fetch_add(1, Ordering::SeqCst)
        };
        count(scope);
        if matches!(scope, Scope::Organization(_)) {
            // Of a key that another node looked up, the organization is not known beforehand.
            count(Scope::ApiKeys);
        }
    }

    /// Looks at the store again for everybody.
    pub(super) fn revoke_all(&self) {
        for counter in &self.revocations.counters {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn is_current(&self, stamps: &[Stamp; 2]) -> bool {
        stamps.iter().all(|stamp| {
            self.revocations.counter(stamp.scope).load(Ordering::SeqCst) == stamp.count
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::{OrganizationId, UserId};
    use crate::domain::invoice::command::Initiator;
    use crate::domain::permission::Permissions;

    const START: Timestamp = Timestamp::constant(1_800_000_000, 0);
    const BEARER: Digest = [7; 32];
    const USER: UserId = UserId::new(Uuid::from_u128(5));
    const ORGANIZATION: OrganizationId = OrganizationId::new(Uuid::from_u128(6));

    fn caller() -> Arc<Caller> {
        Arc::new(Caller {
            organization: ORGANIZATION,
            initiator: Initiator::User(USER),
            user: Some(USER),
            session: None,
            roles: vec![],
            permissions: Permissions::NONE,
        })
    }

    fn after_ms(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(START.as_millisecond() + milliseconds).unwrap()
    }

    fn stamps(cache: &VerificationCache) -> [Stamp; 2] {
        [
            cache.stamp(Scope::User(USER)),
            cache.stamp(Scope::Organization(ORGANIZATION)),
        ]
    }

    fn knows(cache: &VerificationCache, now: Timestamp) -> bool {
        !matches!(cache.get(&BEARER, now), Hit::Unknown)
    }

    #[test]
    fn an_entry_lives_for_the_ttl_but_never_beyond_the_token() {
        let cache = VerificationCache::new(10, 5);
        cache.insert(BEARER, caller(), START, None, stamps(&cache));
        assert!(knows(&cache, after_ms(4_999)));
        assert!(!knows(&cache, after_ms(5_000)));

        cache.insert(
            BEARER,
            caller(),
            START,
            Some(after_ms(1_000)),
            stamps(&cache),
        );
        assert!(knows(&cache, after_ms(999)));
        assert!(
            !knows(&cache, after_ms(1_000)),
            "an expired token never lives on"
        );
    }

    #[test]
    fn a_revocation_ends_the_entries_of_its_user_and_organization_at_once() {
        let cache = VerificationCache::new(10, 5);
        for scope in [Scope::User(USER), Scope::Organization(ORGANIZATION)] {
            cache.insert(BEARER, caller(), START, None, stamps(&cache));
            cache.revoke(Scope::User(UserId::new(Uuid::from_u128(99))));
            assert!(
                knows(&cache, START),
                "another user's revocation changes nothing"
            );
            cache.revoke(scope);
            assert!(!knows(&cache, START), "{scope:?}");
        }
    }

    #[test]
    fn a_change_of_roles_ends_api_keys_too_and_a_lost_message_ends_everything() {
        let cache = VerificationCache::new(10, 5);
        let of_keys = || [cache.stamp(Scope::ApiKeys), cache.stamp(Scope::ApiKeys)];
        cache.insert(BEARER, caller(), START, None, of_keys());
        cache.revoke(Scope::Organization(ORGANIZATION));
        assert!(!knows(&cache, START));

        cache.insert(BEARER, caller(), START, None, stamps(&cache));
        cache.revoke_all();
        assert!(!knows(&cache, START));
    }

    #[test]
    fn what_another_node_read_lives_only_as_long_as_it_would_there() {
        let cache = VerificationCache::new(10, 5);
        let lives = Duration::from_secs(2);
        cache.insert_for(lives, BEARER, caller(), START, None, stamps(&cache));
        assert!(knows(&cache, after_ms(1_999)));
        assert!(!knows(&cache, after_ms(2_000)));
    }

    #[test]
    fn what_was_read_before_a_revocation_and_kept_after_it_is_not_believed() {
        let cache = VerificationCache::new(10, 5);
        let stamps_before_reading = stamps(&cache);
        cache.revoke(Scope::User(USER));
        cache.insert(BEARER, caller(), START, None, stamps_before_reading);
        assert!(!knows(&cache, START));
    }

    #[test]
    fn in_the_second_half_of_its_life_exactly_one_request_looks_again() {
        let cache = VerificationCache::new(10, 4);
        cache.insert(BEARER, caller(), START, None, stamps(&cache));
        assert!(matches!(cache.get(&BEARER, after_ms(1_999)), Hit::Known(_)));
        assert!(matches!(
            cache.get(&BEARER, after_ms(2_000)),
            Hit::LookAgain(_)
        ));
        assert!(matches!(cache.get(&BEARER, after_ms(2_000)), Hit::Known(_)));
    }
}
