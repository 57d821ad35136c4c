use std::collections::BTreeMap;
use std::time::Duration;

use faktor::clock;
use faktor::store::cluster::{
    BootId, ClusterView, Gone, NewNode, NodeRecord, Renewed, ShardRecord,
};
use faktor::store::{Epoch, SHARDS, ShardId, StoreError, Stores};
use futures_util::future::join_all;
use jiff::SignedDuration;

/// Long enough for a test.
const LEASE: Duration = Duration::from_mins(10);
/// Over as soon as it is entered.
const NO_LEASE: Duration = Duration::ZERO;

fn node(name: &str) -> NewNode {
    NewNode {
        boot: BootId(clock::new_uuid()),
        name: name.to_owned(),
        address: format!("{name}.example:7000"),
        http: format!("http://{name}.example:8080"),
        version: "1.2.3".to_owned(),
        wire: (1, 2),
        cookie_mark: "4f1e".to_owned(),
    }
}

async fn joined(stores: &Stores, name: &str) -> BootId {
    joined_for(stores, name, LEASE).await
}

async fn joined_for(stores: &Stores, name: &str, ttl: Duration) -> BootId {
    let node = node(name);
    stores.cluster.join(&node, ttl).await.unwrap();
    node.boot
}

async fn view(stores: &Stores) -> ClusterView {
    stores.cluster.view().await.unwrap()
}

async fn record(stores: &Stores, boot: BootId) -> Option<NodeRecord> {
    let nodes = view(stores).await.nodes;
    nodes.into_iter().find(|record| record.node.boot == boot)
}

async fn shard(stores: &Stores, shard: ShardId) -> ShardRecord {
    view(stores).await.shards[usize::from(shard.0)]
}

fn shards(numbers: impl IntoIterator<Item = u16>) -> Vec<ShardId> {
    numbers.into_iter().map(ShardId).collect()
}

fn all() -> Vec<ShardId> {
    shards(0..SHARDS)
}

async fn take(stores: &Stores, boot: BootId, shards: &[ShardId]) -> Vec<(ShardId, Epoch)> {
    stores.cluster.take(boot, shards).await.unwrap()
}

pub(crate) async fn a_new_book_has_every_shard_and_no_owner(stores: &Stores) {
    let view = view(stores).await;
    assert_eq!(view.nodes, []);
    let expected: Vec<_> = all()
        .into_iter()
        .map(|shard| ShardRecord {
            shard,
            owner: None,
            epoch: Epoch(1),
        })
        .collect();
    assert_eq!(view.shards, expected);
}

pub(crate) async fn a_node_that_joined_stands_in_the_book_as_it_is(stores: &Stores) {
    let (b, a) = (node("b"), node("a"));
    for node in [&b, &a] {
        stores.cluster.join(node, LEASE).await.unwrap();
    }
    let records = view(stores).await.nodes;
    assert_eq!(
        records
            .iter()
            .map(|record| &record.node)
            .collect::<Vec<_>>(),
        [&a, &b],
        "by name"
    );
    for record in records {
        assert!(record.is_live());
        assert!(!record.draining);
        assert!(record.left <= SignedDuration::from_mins(10));
        assert!(record.left > SignedDuration::from_mins(9));
        let age = clock::Clock::System.now().duration_since(record.joined_at);
        assert!(age.abs() < SignedDuration::from_mins(1), "{age}");
    }
}

pub(crate) async fn a_name_is_of_one_live_node(stores: &Stores) {
    let first = joined(stores, "a").await;
    let second = node("a");
    let taken = StoreError::Taken { field: "name" };
    assert_eq!(stores.cluster.join(&second, LEASE).await, Err(taken));
    assert_eq!(record(stores, second.boot).await, None);
    stores.cluster.leave(first).await.unwrap();
    assert_eq!(stores.cluster.join(&second, LEASE).await, Ok(()));
}

pub(crate) async fn a_node_takes_the_name_of_one_whose_lease_ran_out(stores: &Stores) {
    let first = joined_for(stores, "a", NO_LEASE).await;
    let second = joined(stores, "a").await;
    assert_eq!(record(stores, first).await, None);
    assert!(record(stores, second).await.unwrap().is_live());
    assert_eq!(
        stores.cluster.renew(first, LEASE, 2).await,
        Ok(Renewed::Gone)
    );
}

pub(crate) async fn of_many_nodes_with_one_name_exactly_one_joins(stores: &Stores) {
    joined_for(stores, "a", NO_LEASE).await;
    let nodes: Vec<_> = (0..10).map(|_| node("a")).collect();
    let answers = join_all(nodes.iter().map(|node| stores.cluster.join(node, LEASE))).await;
    let taken = Err(StoreError::Taken { field: "name" });
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == taken).count(), 9);
}

pub(crate) async fn joining_again_after_a_lost_reply_is_joining_once(stores: &Stores) {
    let node = node("a");
    stores.cluster.join(&node, LEASE).await.unwrap();
    stores.cluster.join(&node, LEASE).await.unwrap();
    assert_eq!(view(stores).await.nodes.len(), 1);
    stores.cluster.bury(node.boot, Gone::Refused).await.unwrap();
    let back = stores.cluster.join(&node, LEASE).await;
    assert_eq!(
        back,
        Err(StoreError::Conflict),
        "never under the same boot id"
    );
}

pub(crate) async fn a_renewal_prolongs_a_lease(stores: &Stores) {
    let boot = joined_for(stores, "a", Duration::from_mins(1)).await;
    let renewed = stores.cluster.renew(boot, LEASE, 2).await;
    assert_eq!(renewed, Ok(Renewed::Member { draining: false }));
    let record = record(stores, boot).await.unwrap();
    assert!(
        record.left > SignedDuration::from_mins(9),
        "{}",
        record.left
    );
    assert_eq!(record.links, 2);
}

pub(crate) async fn a_lease_that_ran_out_never_revives(stores: &Stores) {
    let boot = joined_for(stores, "a", NO_LEASE).await;
    for _ in 0..2 {
        assert_eq!(
            stores.cluster.renew(boot, LEASE, 2).await,
            Ok(Renewed::Gone)
        );
        assert!(!record(stores, boot).await.unwrap().is_live());
    }
    let unknown = BootId(clock::new_uuid());
    assert_eq!(
        stores.cluster.renew(unknown, LEASE, 2).await,
        Ok(Renewed::Gone)
    );
}

pub(crate) async fn a_node_is_buried_as_expired_only_when_its_lease_ran_out(stores: &Stores) {
    let alive = joined(stores, "alive").await;
    let silent = joined_for(stores, "silent", NO_LEASE).await;
    assert_eq!(stores.cluster.bury(alive, Gone::Expired).await, Ok(false));
    assert_eq!(stores.cluster.bury(silent, Gone::Expired).await, Ok(true));
    assert!(record(stores, alive).await.unwrap().is_live());
    assert_eq!(record(stores, silent).await, None, "it owns nothing");
}

pub(crate) async fn a_node_that_was_buried_stays_so_and_the_reason_too(stores: &Stores) {
    let boot = joined(stores, "a").await;
    take(stores, boot, &shards([7])).await;
    assert_eq!(stores.cluster.bury(boot, Gone::Refused).await, Ok(true));
    assert_eq!(stores.cluster.bury(boot, Gone::Expired).await, Ok(true));
    assert_eq!(
        stores.cluster.renew(boot, LEASE, 2).await,
        Ok(Renewed::Gone)
    );
    let record = record(stores, boot).await.unwrap();
    assert_eq!(record.gone, Some(Gone::Refused));
    assert!(!record.is_live());
    let unknown = BootId(clock::new_uuid());
    assert_eq!(stores.cluster.bury(unknown, Gone::Expired).await, Ok(true));
}

pub(crate) async fn free_shards_are_taken_with_a_new_epoch_and_no_others(stores: &Stores) {
    let (a, b) = (joined(stores, "a").await, joined(stores, "b").await);
    let of_a = take(stores, a, &shards([0, 1, 255])).await;
    assert_eq!(of_a, [0, 1, 255].map(|n| (ShardId(n), Epoch(2))));
    let of_b = take(stores, b, &shards([1, 2, 55])).await;
    assert_eq!(of_b, [2, 55].map(|n| (ShardId(n), Epoch(2))));
    assert_eq!(take(stores, a, &shards([0, 1, 255])).await, []);
    assert_eq!(take(stores, a, &[]).await, []);
    let owners: Vec<_> = view(stores).await.shards;
    let owned = |boot| {
        owners
            .iter()
            .filter(|shard| shard.owner == Some(boot))
            .count()
    };
    assert_eq!((owned(a), owned(b)), (3, 2));
    assert_eq!(shard(stores, ShardId(5)).await.owner, None);
}

pub(crate) async fn only_a_live_node_takes(stores: &Stores) {
    let silent = joined_for(stores, "silent", NO_LEASE).await;
    let buried = joined(stores, "buried").await;
    stores.cluster.bury(buried, Gone::Refused).await.unwrap();
    for boot in [silent, buried, BootId(clock::new_uuid())] {
        assert_eq!(take(stores, boot, &all()).await, []);
    }
}

pub(crate) async fn the_shards_of_a_node_that_is_gone_are_taken(stores: &Stores) {
    let (old, new) = (joined(stores, "old").await, joined(stores, "new").await);
    take(stores, old, &all()).await;
    assert_eq!(take(stores, new, &all()).await, []);
    stores.cluster.bury(old, Gone::Refused).await.unwrap();
    let taken = take(stores, new, &all()).await;
    let expected: Vec<_> = all().into_iter().map(|shard| (shard, Epoch(3))).collect();
    assert_eq!(taken, expected);
    assert_eq!(record(stores, old).await, None, "nothing is left to it");
}

pub(crate) async fn shards_are_handed_over_by_the_owner_that_holds_their_epoch(stores: &Stores) {
    let (from, to) = (joined(stores, "from").await, joined(stores, "to").await);
    let other = joined(stores, "other").await;
    take(stores, from, &shards([1, 2, 3])).await;
    let [one, old_two, foreign] = [(1, 2), (2, 1), (4, 1)].map(|(n, e)| (ShardId(n), Epoch(e)));
    let hand_over =
        async |from, to, shards: &[_]| stores.cluster.hand_over(from, to, shards).await.unwrap();
    assert_eq!(hand_over(other, to, &[one]).await, [], "not its shard");
    let given = hand_over(from, to, &[one, old_two, foreign]).await;
    assert_eq!(given, [(ShardId(1), Epoch(3))]);
    assert_eq!(shard(stores, ShardId(1)).await.owner, Some(to));
    assert_eq!(shard(stores, ShardId(2)).await.owner, Some(from));
    assert_eq!(shard(stores, ShardId(4)).await.owner, None);
    assert_eq!(hand_over(from, to, &[one]).await, [], "it is gone");
    assert_eq!(hand_over(from, to, &[]).await, []);
}

pub(crate) async fn nothing_is_handed_to_a_node_that_is_not_live(stores: &Stores) {
    let from = joined(stores, "from").await;
    let silent = joined_for(stores, "silent", NO_LEASE).await;
    let owned = take(stores, from, &all()).await;
    for to in [silent, BootId(clock::new_uuid())] {
        let given = stores.cluster.hand_over(from, to, &owned).await;
        assert_eq!(given, Ok(vec![]));
    }
    let view = view(stores).await;
    assert!(view.shards.iter().all(|shard| shard.owner == Some(from)));
}

pub(crate) async fn a_node_that_leaves_leaves_its_shards(stores: &Stores) {
    let (leaver, other) = (joined(stores, "a").await, joined(stores, "b").await);
    take(stores, leaver, &shards(0..200)).await;
    take(stores, other, &shards(200..256)).await;
    stores.cluster.leave(leaver).await.unwrap();
    let view = view(stores).await;
    assert_eq!(view.nodes.len(), 1);
    for shard in &view.shards {
        assert_eq!(shard.owner, (shard.shard.0 >= 200).then_some(other));
        assert_eq!(shard.epoch, Epoch(2));
    }
    let renewed = stores.cluster.renew(leaver, LEASE, 2).await;
    assert_eq!(renewed, Ok(Renewed::Gone));
}

pub(crate) async fn a_node_is_drained_and_its_namesake_after_it_is_not(stores: &Stores) {
    let boot = joined(stores, "a").await;
    assert_eq!(stores.cluster.set_draining(boot, true).await, Ok(true));
    let renewed = stores.cluster.renew(boot, LEASE, 2).await;
    assert_eq!(renewed, Ok(Renewed::Member { draining: true }));
    assert!(record(stores, boot).await.unwrap().draining);
    assert_eq!(stores.cluster.set_draining(boot, false).await, Ok(true));
    assert!(!record(stores, boot).await.unwrap().draining);
    stores.cluster.leave(boot).await.unwrap();
    let next = joined(stores, "a").await;
    assert_eq!(stores.cluster.set_draining(boot, true).await, Ok(false));
    assert!(!record(stores, next).await.unwrap().draining);
}

pub(crate) async fn a_shard_handed_over_to_its_own_owner_refuses_what_is_under_way(
    stores: &Stores,
) {
    let (owner, other) = (joined(stores, "a").await, joined(stores, "b").await);
    let held = take(stores, owner, &shards(3..5)).await;
    let kept = stores.cluster.hand_over(owner, owner, &held).await.unwrap();
    assert_eq!(kept, [(ShardId(3), Epoch(3)), (ShardId(4), Epoch(3))]);
    let late = stores.cluster.hand_over(owner, other, &held).await;
    assert_eq!(late, Ok(Vec::new()));
    let view = view(stores).await;
    assert_eq!(
        (view.shards[3].owner, view.shards[3].epoch),
        (Some(owner), Epoch(3))
    );
}

pub(crate) async fn of_many_nodes_that_want_one_shard_one_gets_it(stores: &Stores) {
    let nodes =
        join_all((0..20).map(|n| joined(stores, Box::leak(n.to_string().into_boxed_str()))));
    let nodes = nodes.await;
    let wanted: Vec<_> = (0..nodes.len())
        .map(|n| {
            let mut shards = all();
            // In another order each, so that waiting in a circle would show.
            shards.rotate_left(n * 13);
            shards
        })
        .collect();
    let taking = nodes.iter().zip(&wanted);
    let taken = join_all(taking.map(|(boot, wanted)| take(stores, *boot, wanted))).await;
    let mut owners = BTreeMap::new();
    for (boot, taken) in nodes.iter().zip(taken) {
        for (shard, epoch) in taken {
            assert_eq!(epoch, Epoch(2));
            assert_eq!(
                owners.insert(shard, *boot),
                None,
                "{shard:?} was given twice"
            );
        }
    }
    assert_eq!(owners.len(), usize::from(SHARDS));
    for record in view(stores).await.shards {
        assert_eq!(record.owner, owners.get(&record.shard).copied());
    }
}

/// Nodes come, take, hand over and go, all at once; every ownership that was given has an epoch of
/// its own, and the book ends with the last one.
pub(crate) async fn epochs_only_grow_whoever_does_what_at_once(stores: &Stores) {
    const ROUNDS: usize = 12;
    let life = async |number: usize| {
        let mut given = Vec::new();
        for round in 0..ROUNDS {
            let boot = joined(stores, &format!("{number}-{round}")).await;
            let heir = joined(stores, &format!("{number}-{round}-heir")).await;
            let taken = take(stores, boot, &all()).await;
            given.extend(taken.clone());
            let (handed, buried, renewed) = tokio::join!(
                stores.cluster.hand_over(boot, heir, &taken),
                stores.cluster.bury(boot, Gone::Refused),
                stores.cluster.renew(boot, LEASE, 2),
            );
            assert_eq!(buried, Ok(true));
            assert!(renewed.is_ok());
            given.extend(handed.unwrap());
            stores.cluster.leave(heir).await.unwrap();
        }
        given
    };
    let given = join_all((0..6).map(life)).await.concat();
    let mut last = BTreeMap::new();
    let count = given.len();
    let distinct: std::collections::BTreeSet<_> = given.iter().copied().collect();
    assert_eq!(distinct.len(), count, "an epoch was given twice");
    for (shard, epoch) in given {
        let highest = last.entry(shard).or_insert(epoch);
        *highest = epoch.max(*highest);
    }
    for record in view(stores).await.shards {
        assert_eq!(Some(&record.epoch), last.get(&record.shard));
    }
}
