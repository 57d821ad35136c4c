//! The cluster: identical nodes, one owner for every shard.

pub mod placement;
pub mod plan;
pub mod tenure;
