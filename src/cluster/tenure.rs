//! Which epochs this boot holds, and which it let go: what it may conclude from the book's replies and
//! views, which may be lost, late, or older than what it knows already.
//!
//! - **An epoch that was let go is never served again.** It is let go *before* the request is sent that
//!   may give it away, because a request without a reply may still be carried out, however much later.
//! - A row that names me with an epoch that I neither hold nor let go is mine (the reply of a `take` or
//!   of somebody's `hand_over` was lost, or not there yet): it is granted.
//! - A row with an older epoch than I know is an old view: it says nothing.
//! - A row with a newer epoch, or with mine and another owner or none: I lost the shard.
//! - What a reply grants is judged like a row. Replies and views asked for by one boot are dropped by
//!   the next: each boot has a tenure of its own.

use crate::actors::ownership::Ownership;
use crate::store::cluster::{BootId, ClusterView};
use crate::store::{Epoch, SHARDS, ShardId};

/// What a view changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub granted: Vec<(ShardId, Epoch)>,
    /// With the epochs that were held.
    pub lost: Vec<(ShardId, Epoch)>,
}

/// What one boot of this node holds. The node's loop owns it and alone changes its [`Ownership`].
#[derive(Debug)]
pub struct Tenure {
    me: BootId,
    ownership: Ownership,
    shards: Vec<Hold>,
}

/// Epochs of one shard; 0 is none.
#[derive(Debug, Clone, Copy, Default)]
struct Hold {
    held: u64,
    /// The highest that was lost, or may be lost by a request under way.
    let_go: u64,
}

impl Tenure {
    /// For a boot that has just joined.
    pub fn new(me: BootId, ownership: Ownership) -> Self {
        Self {
            me,
            ownership,
            shards: vec![Hold::default(); usize::from(SHARDS)],
        }
    }

    pub fn me(&self) -> BootId {
        self.me
    }

    /// The epoch held, also while the shard is leaving or after it was let go.
    pub fn held(&self, shard: ShardId) -> Option<Epoch> {
        let held = self.hold(shard).held;
        (held != 0).then_some(Epoch(held))
    }

    /// Whether this epoch may not be served again.
    pub fn has_let_go(&self, shard: ShardId, epoch: Epoch) -> bool {
        epoch.0 <= self.hold(shard).let_go
    }

    /// A reply says that the shard is mine. False: that is an old story.
    pub fn grant(&mut self, shard: ShardId, epoch: Epoch) -> bool {
        let hold = self.hold_mut(shard);
        if epoch.0 <= hold.held || epoch.0 <= hold.let_go {
            return false;
        }
        hold.let_go = hold.let_go.max(hold.held);
        hold.held = epoch.0;
        self.ownership.grant(shard, epoch);
        true
    }

    /// Nothing new is taken for the shard. Once its queue is answered it is let go, or it stays.
    pub fn begin_leaving(&mut self, shard: ShardId) {
        self.ownership.begin_leaving(shard);
    }

    /// Its queue could not be answered in time, and nobody was asked to take it over yet.
    pub fn stay(&mut self, shard: ShardId) {
        let hold = *self.hold(shard);
        if hold.held > hold.let_go {
            self.ownership.stay(shard);
        }
    }

    /// Called before the request that gives the shard away. It stays leaving until the book shows a
    /// newer epoch.
    pub fn let_go(&mut self, shard: ShardId, epoch: Epoch) {
        self.ownership.begin_leaving(shard);
        let hold = self.hold_mut(shard);
        hold.let_go = hold.let_go.max(epoch.0);
    }

    /// The reply came: somebody else has it.
    pub fn handed_over(&mut self, shard: ShardId, epoch: Epoch) {
        let hold = self.hold_mut(shard);
        hold.let_go = hold.let_go.max(epoch.0.saturating_sub(1));
        if hold.held < epoch.0 {
            hold.held = 0;
            self.ownership.lose(shard);
        }
    }

    /// Concludes from a view what is mine.
    pub fn learn(&mut self, view: &ClusterView) -> Changes {
        let mut changes = Changes::default();
        for row in &view.shards {
            let Some(held) = self.shards.get(usize::from(row.shard.0)).map(|h| h.held) else {
                continue;
            };
            let mine = row.owner == Some(self.me);
            if row.epoch.0 < held || (row.epoch.0 == held && mine) {
                continue;
            }
            let granted = mine && self.grant(row.shard, row.epoch);
            if held != 0 {
                changes.lost.push((row.shard, Epoch(held)));
            }
            if granted {
                changes.granted.push((row.shard, row.epoch));
            } else if held != 0 {
                let hold = self.hold_mut(row.shard);
                hold.let_go = hold.let_go.max(held);
                hold.held = 0;
                self.ownership.lose(row.shard);
            }
        }
        changes
    }

    /// The boot is over: the book says that it is gone, or it is about to leave.
    pub fn end(&mut self) {
        for hold in &mut self.shards {
            // Late replies and views change nothing any more.
            *hold = Hold {
                held: 0,
                let_go: u64::MAX,
            };
        }
        self.ownership.lose_all();
    }

    fn hold(&self, shard: ShardId) -> &Hold {
        &self.shards[usize::from(shard.0)]
    }

    fn hold_mut(&mut self, shard: ShardId) -> &mut Hold {
        &mut self.shards[usize::from(shard.0)]
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Duration;
    use uuid::Uuid;

    use super::*;
    use crate::actors::ownership::NotOwned;
    use crate::store::cluster::ShardRecord;

    const SHARD: ShardId = ShardId(3);
    const ME: BootId = BootId(Uuid::from_u128(1));
    const OTHER: BootId = BootId(Uuid::from_u128(2));

    fn tenure() -> (Tenure, Ownership) {
        let ownership = Ownership::nothing(|| 0);
        ownership.renewed(0, Duration::from_secs(1));
        (Tenure::new(ME, ownership.clone()), ownership)
    }

    fn row(owner: Option<BootId>, epoch: u64) -> ClusterView {
        ClusterView {
            nodes: Vec::new(),
            shards: vec![ShardRecord {
                shard: SHARD,
                owner,
                epoch: Epoch(epoch),
            }],
        }
    }

    #[test]
    fn a_row_that_names_me_is_mine_though_no_reply_said_so() {
        let (mut tenure, ownership) = tenure();
        let changes = tenure.learn(&row(Some(ME), 4));
        assert_eq!(changes.granted, [(SHARD, Epoch(4))]);
        assert_eq!(ownership.serves(SHARD), Ok(Epoch(4)));
        assert!(!tenure.grant(SHARD, Epoch(4)), "the late reply");
    }

    #[test]
    fn what_may_be_given_away_by_a_request_under_way_is_never_served_again() {
        let (mut tenure, ownership) = tenure();
        tenure.grant(SHARD, Epoch(4));
        tenure.begin_leaving(SHARD);
        tenure.let_go(SHARD, Epoch(4));
        tenure.learn(&row(Some(ME), 4));
        tenure.stay(SHARD);
        assert!(!tenure.grant(SHARD, Epoch(4)));
        assert_eq!(ownership.serves(SHARD), Err(NotOwned::Leaving));
        // Taken back under a new epoch.
        assert_eq!(tenure.learn(&row(Some(ME), 5)).granted, [(SHARD, Epoch(5))]);
        assert_eq!(ownership.serves(SHARD), Ok(Epoch(5)));
    }

    #[test]
    fn a_shard_that_was_not_asked_for_may_stay() {
        let (mut tenure, ownership) = tenure();
        tenure.grant(SHARD, Epoch(4));
        tenure.begin_leaving(SHARD);
        tenure.stay(SHARD);
        assert_eq!(ownership.serves(SHARD), Ok(Epoch(4)));
    }

    #[test]
    fn an_old_view_says_nothing() {
        let (mut tenure, ownership) = tenure();
        tenure.grant(SHARD, Epoch(4));
        for owner in [None, Some(ME), Some(OTHER)] {
            assert_eq!(tenure.learn(&row(owner, 3)), Changes::default());
        }
        assert_eq!(ownership.serves(SHARD), Ok(Epoch(4)));
        tenure.handed_over(SHARD, Epoch(5));
        assert_eq!(tenure.learn(&row(Some(ME), 4)), Changes::default());
        assert_eq!(ownership.serves(SHARD), Err(NotOwned::Elsewhere));
    }

    #[test]
    fn a_newer_owner_or_none_ends_it() {
        for (owner, epoch) in [(Some(OTHER), 5), (None, 4), (None, 5), (Some(OTHER), 4)] {
            let (mut tenure, ownership) = tenure();
            tenure.grant(SHARD, Epoch(4));
            let changes = tenure.learn(&row(owner, epoch));
            assert_eq!(changes.lost, [(SHARD, Epoch(4))]);
            assert_eq!(ownership.serves(SHARD), Err(NotOwned::Elsewhere));
        }
    }

    #[test]
    fn a_late_reply_of_a_hand_over_does_not_end_what_came_back_since() {
        let (mut tenure, ownership) = tenure();
        tenure.grant(SHARD, Epoch(4));
        tenure.let_go(SHARD, Epoch(4));
        tenure.learn(&row(Some(ME), 6));
        tenure.handed_over(SHARD, Epoch(5));
        assert_eq!(ownership.serves(SHARD), Ok(Epoch(6)));
    }
}
