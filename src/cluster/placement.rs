//! Which node a shard should belong to: rendezvous hashing, so that a node that comes or goes moves
//! only its own share.
//!
//! Every node computes this for itself, also while two versions run side by side: the weights must
//! never change. Tests hold golden values.

use crate::store::ShardId;

/// The node of highest weight for this shard; of no nodes, none. Their order does not matter.
pub fn desired_owner<'a>(
    shard: ShardId,
    nodes: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    nodes
        .into_iter()
        .max_by_key(|name| (weight(name, shard), *name))
}

/// How much a node wants a shard: `mix(mix(fnv1a(name)) + (shard + 1) · 2^64 / φ)`, where `mix` is the
/// finalizer of `SplitMix64` and the hash is that of the name's bytes, 64 bits wide.
pub fn weight(name: &str, shard: ShardId) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let step = (u64::from(shard.0) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mix(mix(hash).wrapping_add(step))
}

fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SHARDS;

    fn names(count: usize) -> Vec<String> {
        (1..=count).map(|n| format!("node-{n}")).collect()
    }

    fn table(nodes: &[String]) -> Vec<&str> {
        (0..SHARDS)
            .map(|shard| desired_owner(ShardId(shard), nodes.iter().map(String::as_str)).unwrap())
            .collect()
    }

    #[test]
    fn the_weights_never_change() {
        let weights = [
            weight("", ShardId(0)),
            weight("n1", ShardId(0)),
            weight("n1", ShardId(1)),
            weight("n1", ShardId(255)),
            weight("faktor-0.faktor", ShardId(17)),
            weight("büro", ShardId(128)),
        ];
        assert_eq!(weights, GOLDEN_WEIGHTS);
    }

    #[test]
    fn the_table_never_changes() {
        let nodes = names(3);
        let owners: String = table(&nodes)
            .iter()
            .map(|name| name.chars().last().unwrap())
            .collect();
        assert_eq!(owners, GOLDEN_TABLE);
    }

    const GOLDEN_WEIGHTS: [u64; 6] = [
        0xe587_d3df_f9e9_2ed0,
        0x3ae3_4c9a_e031_8ebd,
        0x840d_54e1_e29c_2c9c,
        0x1012_40cc_6718_9985,
        0x7d11_5522_38fd_bd7e,
        0x9759_5886_250c_a321,
    ];
    const GOLDEN_TABLE: &str = concat!(
        "3222312211212311323122323132131213133323123112123123221332213312",
        "2332332133331313211311232222323132121131333212133233323321322312",
        "2333233222323323122132212332113222323212123213322221233322322323",
        "2223211213232331231113122232213332323133133222322321112112312212",
    );

    #[test]
    fn without_nodes_there_is_no_owner() {
        assert_eq!(desired_owner(ShardId(0), []), None);
    }

    #[test]
    fn a_node_that_joins_takes_about_its_share_and_moves_nothing_between_the_others() {
        let mut moved_in_all = 0.0;
        let mut expected_in_all = 0.0;
        for count in 1..=30 {
            let after = names(count + 1);
            let joined = &after[count];
            let (before, after) = (table(&after[..count]), table(&after));
            let mut moved = 0_u32;
            for (old, new) in before.iter().zip(&after) {
                if old != new {
                    assert_eq!(new, joined);
                    moved += 1;
                }
            }
            let nodes = f64::from(u32::try_from(count).unwrap()) + 1.0;
            assert_share(f64::from(moved), nodes);
            moved_in_all += f64::from(moved);
            expected_in_all += f64::from(SHARDS) / nodes;
        }
        assert!((moved_in_all / expected_in_all - 1.0).abs() < 0.15);
    }

    #[test]
    fn a_node_that_leaves_moves_only_its_own() {
        for count in 2..=30 {
            let before = names(count);
            for leaving in &before {
                let after: Vec<String> = before.iter().filter(|n| *n != leaving).cloned().collect();
                for (old, new) in table(&before).iter().zip(table(&after)) {
                    assert!(*old == new || old == leaving);
                }
            }
        }
    }

    #[test]
    fn the_order_of_the_names_does_not_matter() {
        let nodes = names(7);
        let mut turned = nodes.clone();
        turned.reverse();
        turned.swap(1, 4);
        assert_eq!(table(&nodes), table(&turned));
    }

    #[test]
    fn the_shards_are_spread_as_chance_would() {
        for count in [3, 5, 30] {
            let nodes = names(count);
            let table = table(&nodes);
            for node in &nodes {
                let owned = table.iter().filter(|owner| *owner == node).count();
                let owned = f64::from(u32::try_from(owned).unwrap());
                assert_share(owned, f64::from(u32::try_from(count).unwrap()));
            }
        }
    }

    /// Within four standard deviations of a fair share among so many nodes.
    fn assert_share(shards: f64, nodes: f64) {
        let all = f64::from(SHARDS);
        let share = all / nodes;
        let deviation = (all / nodes * (1.0 - 1.0 / nodes)).sqrt();
        assert!(
            (shards - share).abs() <= 4.0 * deviation,
            "{shards} of {all} shards for one of {nodes} nodes"
        );
    }
}
