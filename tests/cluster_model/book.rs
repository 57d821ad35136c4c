//! The cluster's book in memory, with the promises that `ClusterStore` makes.

use std::collections::HashMap;

use faktor::store::cluster::{
    BootId, ClusterView, Gone, NewNode, NodeRecord, Renewed, ShardRecord,
};
use faktor::store::{Epoch, ShardId};
use jiff::{SignedDuration, Timestamp};

use crate::Mutation;
use crate::world::{SHARDS, TTL_MS};

#[derive(Debug)]
struct Entry {
    boot: BootId,
    name: usize,
    expires_at: u64,
    draining: bool,
    gone: Option<Gone>,
}

#[derive(Debug)]
pub(crate) struct Book {
    entries: Vec<Entry>,
    rows: Vec<ShardRecord>,
    /// Each epoch of each shard has one owner.
    owners: HashMap<(ShardId, u64), BootId>,
    mutation: Option<Mutation>,
    pub(crate) broken: Option<String>,
}

impl Entry {
    fn is_live(&self, now: u64) -> bool {
        self.gone.is_none() && self.expires_at > now
    }
}

pub(crate) const NAMES: [&str; 4] = ["n1", "n2", "n3", "n4"];

/// `now` is the book's own clock, in milliseconds.
impl Book {
    pub(crate) fn new(mutation: Option<Mutation>) -> Self {
        let row = |shard| ShardRecord {
            shard: ShardId(shard),
            owner: None,
            epoch: Epoch(1),
        };
        Self {
            entries: Vec::new(),
            rows: (0..SHARDS).map(row).collect(),
            owners: HashMap::new(),
            mutation,
            broken: None,
        }
    }

    fn entry(&self, boot: BootId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.boot == boot)
    }

    fn is_live(&self, boot: BootId, now: u64) -> bool {
        self.entry(boot).is_some_and(|entry| entry.is_live(now))
    }

    /// False: the name is taken.
    pub(crate) fn join(&mut self, boot: BootId, name: usize, now: u64) -> bool {
        let same = |entry: &Entry| entry.name == name && entry.is_live(now);
        if self.entries.iter().any(same) {
            return false;
        }
        self.entries.push(Entry {
            boot,
            name,
            expires_at: now + TTL_MS,
            draining: false,
            gone: None,
        });
        true
    }

    pub(crate) fn renew(&mut self, boot: BootId, now: u64) -> Renewed {
        let revive = self.mutation == Some(Mutation::RevivedLease);
        match self.entries.iter_mut().find(|entry| entry.boot == boot) {
            Some(entry) if entry.is_live(now) || revive => {
                entry.gone = None;
                entry.expires_at = now + TTL_MS;
                Renewed::Member {
                    draining: entry.draining,
                }
            }
            _ => Renewed::Gone,
        }
    }

    pub(crate) fn view(&self, now: u64) -> ClusterView {
        let owns = |boot| self.rows.iter().any(|row| row.owner == Some(boot));
        let nodes = self
            .entries
            .iter()
            .filter(|entry| entry.gone.is_none() || owns(entry.boot))
            .map(|entry| NodeRecord {
                node: NewNode {
                    boot: entry.boot,
                    name: NAMES[entry.name].to_owned(),
                    address: String::new(),
                    http: String::new(),
                    version: String::new(),
                    wire: (1, 1),
                    cookie_mark: String::new(),
                },
                joined_at: Timestamp::UNIX_EPOCH,
                left: SignedDuration::from_millis(
                    i64::try_from(entry.expires_at).unwrap() - i64::try_from(now).unwrap(),
                ),
                draining: entry.draining,
                links: 0,
                gone: entry.gone,
            })
            .collect();
        ClusterView {
            nodes,
            shards: self.rows.clone(),
        }
    }

    pub(crate) fn bury(&mut self, boot: BootId, how: Gone, now: u64) -> bool {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.boot == boot) else {
            return true;
        };
        if entry.gone.is_none() && (how != Gone::Expired || entry.expires_at <= now) {
            entry.gone = Some(how);
        }
        entry.gone.is_some()
    }

    fn give(&mut self, shard: ShardId, to: BootId) -> (ShardId, Epoch) {
        let row = &mut self.rows[usize::from(shard.0)];
        row.owner = Some(to);
        row.epoch = Epoch(row.epoch.0 + 1);
        let epoch = row.epoch;
        let before = self.owners.insert((shard, epoch.0), to);
        if before.is_some_and(|before| before != to) {
            self.broken = Some(format!("two owners of {shard:?} with {epoch:?}"));
        }
        (shard, epoch)
    }

    pub(crate) fn take(
        &mut self,
        boot: BootId,
        shards: &[ShardId],
        now: u64,
    ) -> Vec<(ShardId, Epoch)> {
        if !self.is_live(boot, now) {
            return Vec::new();
        }
        let unchecked = self.mutation == Some(Mutation::TakeWithoutLook);
        let free = |shard: &ShardId| match self.rows[usize::from(shard.0)].owner {
            None => true,
            Some(_) if unchecked => true,
            Some(owner) => self.entry(owner).is_none_or(|entry| entry.gone.is_some()),
        };
        let free: Vec<_> = shards.iter().copied().filter(free).collect();
        free.into_iter()
            .map(|shard| self.give(shard, boot))
            .collect()
    }

    pub(crate) fn hand_over(
        &mut self,
        from: BootId,
        to: BootId,
        (shard, epoch): (ShardId, Epoch),
        now: u64,
    ) -> Option<(ShardId, Epoch)> {
        let row = self.rows[usize::from(shard.0)];
        let owned = row.owner == Some(from) && row.epoch == epoch;
        (owned && self.is_live(to, now)).then(|| self.give(shard, to))
    }

    pub(crate) fn leave(&mut self, boot: BootId) {
        for entry in self.entries.iter_mut().filter(|entry| entry.boot == boot) {
            entry.gone.get_or_insert(Gone::Left);
        }
        for row in self.rows.iter_mut().filter(|row| row.owner == Some(boot)) {
            row.owner = None;
        }
    }

    pub(crate) fn set_draining(&mut self, boot: BootId, draining: bool, now: u64) {
        for entry in &mut self.entries {
            if entry.boot == boot && entry.is_live(now) {
                entry.draining = draining;
            }
        }
    }

    /// The live boot of a name.
    pub(crate) fn live_boot(&self, name: usize, now: u64) -> Option<BootId> {
        let live = |entry: &&Entry| entry.name == name && entry.is_live(now);
        self.entries.iter().find(live).map(|entry| entry.boot)
    }

    pub(crate) fn row(&self, shard: ShardId) -> ShardRecord {
        self.rows[usize::from(shard.0)]
    }
}
