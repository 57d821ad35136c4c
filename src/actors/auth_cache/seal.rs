//! What is kept in the shared cache carries a seal that only a node can make: whoever can write there
//! can't make up a caller.

use std::collections::HashMap;

use aws_lc_rs::hmac;
use bytes::Bytes;

use super::digest::Digest;
use crate::store::SigningKey;

/// Separates this use of a signing key from every other one.
const PURPOSE: &[u8] = b"faktor: callers in the shared cache, 1";
/// HMAC with SHA-256.
const SEAL_BYTES: usize = 32;

/// The keys of seals, made from the signing keys, which all nodes share by the store.
#[derive(Default)]
pub(super) struct Seals {
    newest: Option<String>,
    keys: HashMap<String, hmac::Key>,
}

impl Seals {
    pub(super) fn of(keys: &[SigningKey], newest: Option<&SigningKey>) -> Self {
        let derived = |key: &SigningKey| {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, &key.private_der);
            let derived = hmac::sign(&secret, PURPOSE);
            (
                key.id.clone(),
                hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
            )
        };
        Self {
            newest: newest.map(|key| key.id.clone()),
            keys: keys.iter().map(derived).collect(),
        }
    }

    /// The text with the seal in front; it holds for this bearer only.
    pub(super) fn seal(&self, bearer: &Digest, text: &[u8]) -> Option<Bytes> {
        let id = self.newest.as_deref()?;
        let seal = sign(self.keys.get(id)?, bearer, text);
        let id_length = u8::try_from(id.len()).ok()?;
        let mut sealed = Vec::with_capacity(1 + id.len() + SEAL_BYTES + text.len());
        sealed.push(id_length);
        sealed.extend_from_slice(id.as_bytes());
        sealed.extend_from_slice(seal.as_ref());
        sealed.extend_from_slice(text);
        Some(sealed.into())
    }

    /// The text, when a node has sealed it for this bearer with a key that is known here.
    pub(super) fn open<'a>(&self, bearer: &Digest, sealed: &'a [u8]) -> Option<&'a [u8]> {
        let (id_length, rest) = sealed.split_first()?;
        let (id, rest) = rest.split_at_checked(usize::from(*id_length))?;
        let (seal, text) = rest.split_at_checked(SEAL_BYTES)?;
        let key = self.keys.get(std::str::from_utf8(id).ok()?)?;
        hmac::verify(key, &message(bearer, text), seal).ok()?;
        Some(text)
    }
}

fn sign(key: &hmac::Key, bearer: &Digest, text: &[u8]) -> hmac::Tag {
    hmac::sign(key, &message(bearer, text))
}

/// The bearer's digest has a fixed length, so that no two messages are alike.
fn message(bearer: &Digest, text: &[u8]) -> Vec<u8> {
    [bearer.as_slice(), text].concat()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    const ADA: Digest = [1; 32];
    const EVE: Digest = [2; 32];

    fn seals(secret: &[u8]) -> Seals {
        let key = SigningKey {
            id: "key".to_owned(),
            private_der: secret.to_vec(),
            public_der: vec![],
            created_at: Timestamp::UNIX_EPOCH,
            retired_at: None,
        };
        Seals::of(std::slice::from_ref(&key), Some(&key))
    }

    #[test]
    fn only_what_a_node_sealed_for_this_bearer_is_opened() {
        let node = seals(b"secret");
        let sealed = node.seal(&ADA, b"text").unwrap();
        assert_eq!(seals(b"secret").open(&ADA, &sealed), Some(&b"text"[..]));
        assert_eq!(node.open(&EVE, &sealed), None, "another bearer");
        assert_eq!(seals(b"other").open(&ADA, &sealed), None, "another key");
        for at in 0..sealed.len() {
            let mut forged = sealed.to_vec();
            forged[at] ^= 1;
            assert_eq!(node.open(&ADA, &forged), None, "byte {at} changed");
            assert_eq!(node.open(&ADA, &sealed[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn without_a_key_nothing_is_sealed() {
        assert_eq!(Seals::default().seal(&ADA, b"text"), None);
    }
}
