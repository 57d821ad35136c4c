//! Shards and epochs: who may write an invoice.

use crate::domain::ids::InvoiceId;

/// The fencing number of a shard's owner; a write with an older one than stored is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// The number of shards; an invoice's shard never changes.
pub const SHARDS: u16 = 256;

/// A shard's number, 0 to [`SHARDS`] - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The shard of an invoice: a stable hash of its id (FNV-1a over the 16 bytes).
    pub fn of(id: InvoiceId) -> Self {
        let hash = id
            .uuid()
            .as_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let [.., high, low] = ((hash ^ (hash >> 32)) % u64::from(SHARDS)).to_be_bytes();
        Self(u16::from_be_bytes([high, low]))
    }
}
