//! What a node does about the book, as a pure function of what it read there.
//!
//! # A round
//!
//! One task per boot does rounds, one after the other: `began = ownership.now()`, renew, then
//! `ownership.renewed(began, 0.8 · ttl)`; view; [`Tenure::learn`]; [`plan`]; act: bury, take, hand over.
//! `Renewed::Gone`: [`Tenure::end`], nothing else under this boot, join anew with a new one. A call that
//! gave no reply in time counts as "it may be carried out at any later time", never as "it was not".
//!
//! # Rules
//!
//! - **Renewal without a reply**: the term stays as it is. It counts from before the request was sent,
//!   so that a lease in the book always outlasts it.
//! - **Take without a reply**: the next view tells, by a row that names me with an epoch that I never
//!   held. I may serve it as if the reply had come.
//! - **Hand-over**: `begin_leaving`; answer the queue; [`Tenure::let_go`]; only then `hand_over`. A reply
//!   that names the shard: it is gone, nudge the new owner. A reply without it, or none: it stays
//!   leaving, because an earlier request may still be carried out. The next view shows either a newer
//!   epoch (settled), or still mine: then this plan moves it again, to whoever should have it now, or
//!   **to me**. A move to me is a `hand_over` from me to me: the new epoch refuses every request under
//!   way, and I serve the shard again. The queue that cannot be answered in time stays (`Tenure::stay`).
//! - **A node that I handed over to and that died**: its lease runs out or it is buried; its shards are
//!   then taken as any others. I serve none of them from memory: what a live invoice holds is
//!   worth only the epoch under which it was claimed.
//! - **Leaving for good**: hand over what somebody reachable takes, answer the queues of the rest,
//!   [`Tenure::end`], and only then `leave`. Never before: the rest may be taken as soon as it is sent.
//! - **Reads**: the look at [`Ownership::serves`] comes after the read arrived, and what it says is
//!   compared with the epoch under which the answer was claimed. That an id names nothing is never
//!   answered from memory: a claim of nothing fences nothing.
//! - **Writes**: nothing but the condition on version and epoch keeps them safe; the term only spares
//!   the attempt. Who is refused (`NotOwner`) answers so, and does not claim again.
//!
//! - **Draining**: who ends marks its own boot, never its name: a mark by name that is late would hit the
//!   next boot of that name, which would then own nothing until an operator sees it.
//! - **Join without a reply**: renew that boot. `Member`: it joined. `Gone`: join with a new one; the old
//!   one may still appear, and blocks the name until it is buried or its lease runs out.
//!
//! # What a false proof of death costs
//!
//! A living node that was buried because its address refused still answers reads from memory until it
//! hears of it, which is its next renewal (a quarter of the ttl, if nothing is slow), and never after
//! the end of its term (0.8 · ttl after its last renewal began). Such reads may show less than what
//! the new owner acknowledged meanwhile. Writes stay exact: none is lost, none is done twice. A clock
//! of the database's host that is set forward by more than 0.2 · ttl costs the same.
//!
//! A move goes to a node that wants the shard more than I do, in one order that all nodes share, so
//! that nodes which see different candidates never play ping-pong.
//!
//! [`Ownership::serves`]: crate::actors::ownership::Ownership::serves

use super::placement::desired_owner;
use super::tenure::Tenure;
use crate::store::cluster::{BootId, ClusterView, NodeRecord};
use crate::store::{Epoch, SHARDS, ShardId};

/// A shard to be given away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    pub shard: ShardId,
    /// Under which I own it.
    pub epoch: Epoch,
    /// Me: to have it back under a new epoch.
    pub to: BootId,
}

/// The live owner of a shard, for the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub boot: BootId,
    pub epoch: Epoch,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Nodes whose lease ran out.
    pub bury: Vec<BootId>,
    pub take: Vec<ShardId>,
    pub hand_over: Vec<Move>,
    /// By shard; `None`: nobody, for the moment.
    pub owners: Vec<Option<Owner>>,
}

/// What the node of this tenure does about a view from which it has learned. `reachable`: whether a
/// link to that boot is up.
pub fn plan(view: &ClusterView, tenure: &Tenure, reachable: &dyn Fn(BootId) -> bool) -> Plan {
    let me = tenure.me();
    let mut plan = Plan {
        bury: bury(view, me),
        owners: vec![None; usize::from(SHARDS)],
        ..Plan::default()
    };
    let record = find(view, me).filter(|node| node.is_live());
    let candidates = record.map_or_else(Vec::new, |record| candidates(view, record));
    for row in &view.shards {
        let owner = row
            .owner
            .filter(|boot| find(view, *boot).is_some_and(NodeRecord::is_live));
        if let Some(place) = plan.owners.get_mut(usize::from(row.shard.0)) {
            *place = owner.map(|boot| Owner {
                boot,
                epoch: row.epoch,
            });
        }
        if record.is_none() {
            continue;
        }
        let desired = desired_boot(row.shard, &candidates);
        match owner {
            None if desired == Some(me) => plan.take.push(row.shard),
            Some(boot) if boot == me => {
                let to = desired.filter(|boot| *boot != me && reachable(*boot));
                let to = to.or_else(|| tenure.has_let_go(row.shard, row.epoch).then_some(me));
                plan.hand_over.extend(to.map(|to| Move {
                    shard: row.shard,
                    epoch: row.epoch,
                    to,
                }));
            }
            _ => {}
        }
    }
    plan
}

fn find(view: &ClusterView, boot: BootId) -> Option<&NodeRecord> {
    view.nodes.iter().find(|record| record.node.boot == boot)
}

fn bury(view: &ClusterView, me: BootId) -> Vec<BootId> {
    view.nodes
        .iter()
        .filter(|record| record.gone.is_none() && !record.left.is_positive())
        .map(|record| record.node.boot)
        .filter(|boot| *boot != me)
        .collect()
}

/// Who may be given shards: live, not draining, and speaking a version of the wire that I speak.
fn candidates<'a>(view: &'a ClusterView, me: &NodeRecord) -> Vec<&'a NodeRecord> {
    let (oldest, newest) = me.node.wire;
    view.nodes
        .iter()
        .filter(|record| record.is_live() && !record.draining)
        .filter(|record| record.node.wire.0 <= newest && oldest <= record.node.wire.1)
        .collect()
}

fn desired_boot(shard: ShardId, candidates: &[&NodeRecord]) -> Option<BootId> {
    let name = desired_owner(
        shard,
        candidates.iter().map(|record| record.node.name.as_str()),
    )?;
    candidates
        .iter()
        .find(|record| record.node.name == name)
        .map(|record| record.node.boot)
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use uuid::Uuid;

    use super::*;
    use crate::actors::ownership::Ownership;
    use crate::store::cluster::{Gone, NewNode, ShardRecord};

    fn boot(n: u128) -> BootId {
        BootId(Uuid::from_u128(n))
    }

    fn node(n: u128) -> NodeRecord {
        NodeRecord {
            node: NewNode {
                boot: boot(n),
                name: format!("n{n}"),
                address: String::new(),
                http: String::new(),
                version: String::new(),
                wire: (1, 1),
                cookie_mark: String::new(),
            },
            joined_at: Timestamp::UNIX_EPOCH,
            left: SignedDuration::from_secs(10),
            draining: false,
            links: 0,
            gone: None,
        }
    }

    /// All shards with epoch 5 and this owner.
    fn view(nodes: Vec<NodeRecord>, owner: Option<u128>) -> ClusterView {
        let shards = (0..SHARDS)
            .map(|shard| ShardRecord {
                shard: ShardId(shard),
                owner: owner.map(boot),
                epoch: Epoch(5),
            })
            .collect();
        ClusterView { nodes, shards }
    }

    fn plan_of(n: u128, view: &ClusterView) -> Plan {
        let mut tenure = Tenure::new(boot(n), Ownership::nothing(|| 0));
        tenure.learn(view);
        plan(view, &tenure, &|_| true)
    }

    fn desired(names: &[&str], by: &str) -> Vec<ShardId> {
        (0..SHARDS)
            .map(ShardId)
            .filter(|shard| desired_owner(*shard, names.iter().copied()) == Some(by))
            .collect()
    }

    #[test]
    fn shards_of_nobody_are_taken_by_whom_they_should_belong_to() {
        let view = view(vec![node(1), node(2), node(3)], None);
        for n in 1..=3 {
            let plan = plan_of(n, &view);
            assert_eq!(plan.take, desired(&["n1", "n2", "n3"], &format!("n{n}")));
            assert!(plan.hand_over.is_empty() && plan.bury.is_empty());
            assert!(plan.owners.iter().all(Option::is_none));
        }
    }

    #[test]
    fn a_node_whose_lease_ran_out_is_buried_and_its_shards_are_taken() {
        let mut expired = node(2);
        expired.left = SignedDuration::ZERO;
        let view = view(vec![node(1), expired, node(3)], Some(2));
        let plan = plan_of(1, &view);
        assert_eq!(plan.bury, [boot(2)]);
        assert_eq!(plan.take, desired(&["n1", "n3"], "n1"));
        assert!(plan.owners.iter().all(Option::is_none));
    }

    #[test]
    fn a_node_that_is_gone_is_not_buried_again_and_its_shards_are_taken() {
        let mut gone = node(2);
        gone.gone = Some(Gone::Refused);
        let view = view(vec![node(1), gone], Some(2));
        let plan = plan_of(1, &view);
        assert_eq!(plan.bury, []);
        assert_eq!(plan.take.len(), usize::from(SHARDS));
    }

    #[test]
    fn what_another_one_wants_more_is_handed_over_if_a_link_to_it_is_up() {
        let view = view(vec![node(1), node(2), node(3)], Some(1));
        let mut tenure = Tenure::new(boot(1), Ownership::nothing(|| 0));
        tenure.learn(&view);
        let plan = plan(&view, &tenure, &|to| to == boot(2));
        let moved: Vec<_> = plan.hand_over.iter().map(|moved| moved.shard).collect();
        assert_eq!(moved, desired(&["n1", "n2", "n3"], "n2"));
        assert!(
            plan.hand_over
                .iter()
                .all(|moved| moved.to == boot(2) && moved.epoch == Epoch(5))
        );
        assert!(plan.take.is_empty());
        let owner = Owner {
            boot: boot(1),
            epoch: Epoch(5),
        };
        assert!(plan.owners.iter().all(|place| *place == Some(owner)));
    }

    #[test]
    fn nobody_touches_what_another_live_node_owns() {
        let view = view(vec![node(1), node(2), node(3)], Some(1));
        let plan = plan_of(2, &view);
        assert!(plan.take.is_empty() && plan.hand_over.is_empty() && plan.bury.is_empty());
    }

    #[test]
    fn a_draining_node_gives_everything_away_and_takes_nothing() {
        let mut draining = node(1);
        draining.draining = true;
        let owned = view(vec![draining.clone(), node(2)], Some(1));
        assert_eq!(plan_of(1, &owned).hand_over.len(), usize::from(SHARDS));
        let free = view(vec![draining, node(2)], None);
        assert!(plan_of(1, &free).take.is_empty());
        assert_eq!(plan_of(2, &free).take.len(), usize::from(SHARDS));
    }

    #[test]
    fn a_draining_node_keeps_what_it_has_until_there_is_another() {
        let mut draining = node(1);
        draining.draining = true;
        let plan = plan_of(1, &view(vec![draining.clone()], Some(1)));
        assert!(plan.hand_over.is_empty());
        assert!(plan_of(1, &view(vec![draining], None)).take.is_empty());
    }

    #[test]
    fn a_node_that_speaks_no_common_version_is_no_candidate() {
        let mut newer = node(2);
        newer.node.wire = (2, 3);
        let nodes = vec![node(1), newer];
        assert_eq!(
            plan_of(1, &view(nodes.clone(), None)).take.len(),
            usize::from(SHARDS)
        );
        assert!(plan_of(1, &view(nodes, Some(1))).hand_over.is_empty());
    }

    #[test]
    fn nodes_that_see_different_candidates_do_not_play_ping_pong() {
        let mut nodes = vec![node(1), node(2), node(3)];
        nodes[1].node.wire = (1, 2);
        nodes[2].node.wire = (2, 2);
        for shard in (0..SHARDS).map(ShardId) {
            let mut owner = 1;
            for _ in 0..4 {
                let view = view(nodes.clone(), Some(owner));
                let plan = plan_of(owner, &view);
                if let Some(moved) = plan.hand_over.iter().find(|moved| moved.shard == shard) {
                    owner = moved.to.0.as_u128();
                }
            }
            let view = view(nodes.clone(), Some(owner));
            let moves = plan_of(owner, &view).hand_over;
            assert!(moves.iter().all(|moved| moved.shard != shard));
        }
    }

    #[test]
    fn a_shard_that_was_let_go_in_vain_is_moved_again_or_had_back() {
        let both = view(vec![node(1), node(2)], Some(1));
        let shard = desired(&["n1", "n2"], "n2")[0];
        let mut tenure = Tenure::new(boot(1), Ownership::nothing(|| 0));
        tenure.learn(&both);
        tenure.let_go(shard, Epoch(5));
        let to = |view: &ClusterView, tenure: &Tenure, reachable: bool| {
            let all = plan(view, tenure, &|_| reachable).hand_over;
            let moved = all.iter().find(|moved| moved.shard == shard);
            moved.map(|moved| moved.to)
        };
        assert_eq!(to(&both, &tenure, true), Some(boot(2)));
        assert_eq!(to(&both, &tenure, false), Some(boot(1)));
        assert_eq!(
            to(&view(vec![node(1)], Some(1)), &tenure, true),
            Some(boot(1))
        );
    }

    #[test]
    fn a_node_that_is_none_any_more_does_nothing_but_bury() {
        let mut me = node(1);
        me.left = SignedDuration::ZERO;
        let mut other = node(2);
        other.left = SignedDuration::ZERO;
        for nodes in [vec![me, other.clone()], vec![other]] {
            let plan = plan_of(1, &view(nodes, Some(1)));
            assert_eq!(plan.bury, [boot(2)]);
            assert!(plan.take.is_empty() && plan.hand_over.is_empty());
        }
    }
}
