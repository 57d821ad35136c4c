//! Who owns which shard, as far as this node has heard.

use std::sync::{PoisonError, RwLock};

use crate::store::cluster::BootId;
use crate::store::{Epoch, SHARDS, ShardId};

/// An owner with its epoch. The owner is none when the last one is known to be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub boot: Option<BootId>,
    pub epoch: Epoch,
}

/// Who owns which shard. What was heard of a later epoch counts, in whatever order news arrive.
#[derive(Debug)]
pub struct Owners {
    shards: RwLock<Vec<Owner>>,
}

impl Default for Owners {
    fn default() -> Self {
        let nobody = Owner {
            boot: None,
            epoch: Epoch(0),
        };
        Self {
            shards: RwLock::new(vec![nobody; usize::from(SHARDS)]),
        }
    }
}

impl Owners {
    pub fn of(&self, shard: ShardId) -> Owner {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        shards[usize::from(shard.0)]
    }

    /// Notes an owner, unless a later one is known. Whether anything changed.
    pub fn note(&self, shard: ShardId, boot: BootId, epoch: Epoch) -> bool {
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        let known = &mut shards[usize::from(shard.0)];
        let is_news = epoch > known.epoch || (epoch == known.epoch && known.boot != Some(boot));
        if is_news {
            *known = Owner {
                boot: Some(boot),
                epoch,
            };
        }
        is_news
    }

    /// A node is gone: who asks for its shards waits for their next owners.
    pub fn forget(&self, boot: BootId) {
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        for owner in shards.iter_mut().filter(|owner| owner.boot == Some(boot)) {
            owner.boot = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const SHARD: ShardId = ShardId(9);

    fn boot(number: u128) -> BootId {
        BootId(Uuid::from_u128(number))
    }

    #[test]
    fn news_that_come_late_change_nothing() {
        let owners = Owners::default();
        assert!(owners.note(SHARD, boot(1), Epoch(2)));
        assert!(owners.note(SHARD, boot(2), Epoch(3)));
        assert!(!owners.note(SHARD, boot(1), Epoch(2)));
        assert_eq!(owners.of(SHARD).boot, Some(boot(2)));
    }

    #[test]
    fn nobody_is_asked_who_is_gone_until_there_is_a_next_owner() {
        let owners = Owners::default();
        owners.note(SHARD, boot(1), Epoch(2));
        owners.forget(boot(1));
        assert_eq!(owners.of(SHARD).boot, None);
        owners.note(SHARD, boot(3), Epoch(3));
        assert_eq!(owners.of(SHARD).boot, Some(boot(3)));
    }
}
