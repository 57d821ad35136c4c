//! SHA-256, by which secrets are looked up without being kept.

use aws_lc_rs::digest::{SHA256, digest};

pub(super) use crate::store::cache::Digest;

pub(super) fn sha256(bytes: &[u8]) -> Digest {
    let mut hash = Digest::default();
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// In lowercase hexadecimal, as the store keeps it.
pub(super) fn sha256_hex(text: &str) -> String {
    hex::encode(sha256(text.as_bytes()))
}
