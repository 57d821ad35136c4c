//! Access tokens: JWTs with `EdDSA`, signed with keys that are kept in the store and rotated by age.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::digest::Digest;
use super::seal::Seals;
use crate::clock;
use crate::domain::ids::{OrganizationId, SessionId, UserId};
use crate::store::{IdentityStore, SigningKey, StoreError};

const ISSUER: &str = "faktor";

/// Unknown key ids make us look for new keys at most this often.
const RELOAD_AFTER_MS: i64 = 1_000;

/// What an access token says. Roles are not in it: they are read when it is checked, so that a
/// change takes effect at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: UserId,
    pub(super) org: OrganizationId,
    pub(super) sid: SessionId,
    /// Seconds since 1970, as in all JWTs (RFC 7519, section 2, `NumericDate`).
    pub(super) exp: i64,
    pub(super) iat: i64,
    pub(super) jti: String,
    /// Of the Invoice Generator's tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) username: Option<String>,
    /// Of the Invoice Generator's tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) admin: Option<bool>,
}

impl Claims {
    pub(super) fn new(
        user: UserId,
        organization: OrganizationId,
        session: SessionId,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            iss: ISSUER.to_owned(),
            sub: user,
            org: organization,
            sid: session,
            exp: expires_at.as_second(),
            iat: now.as_second(),
            jti: clock::new_uuid().as_simple().to_string(),
            username: None,
            admin: None,
        }
    }

    pub(super) fn expires_at(&self) -> Timestamp {
        Timestamp::from_second(self.exp).unwrap_or(Timestamp::MIN)
    }
}

/// Why a text is not a good access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadToken {
    Invalid,
    Expired,
}

/// The keys of this node.
pub(super) struct TokenKeys {
    store: Arc<dyn IdentityStore>,
    ring: ArcSwap<Ring>,
    rotation: SignedDuration,
    /// A retired key is kept this long.
    longest_token: SignedDuration,
    validation: Validation,
    rotating: Mutex<()>,
    reloaded_at_ms: AtomicI64,
}

struct Ring {
    signing: Option<Signing>,
    verifying: HashMap<String, DecodingKey>,
    seals: Seals,
}

struct Signing {
    header: Header,
    key: EncodingKey,
    created_at: Timestamp,
}

impl TokenKeys {
    /// Loads the keys; makes the first one.
    pub(super) async fn load(
        store: Arc<dyn IdentityStore>,
        rotation: SignedDuration,
        longest_token: SignedDuration,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        // Compared with our own clock below.
        validation.validate_exp = false;
        let ring = Ring::of(store.signing_keys().await?)?;
        let keys = Self {
            store,
            ring: ArcSwap::from_pointee(ring),
            rotation,
            longest_token,
            validation,
            rotating: Mutex::new(()),
            reloaded_at_ms: AtomicI64::new(now.as_millisecond()),
        };
        keys.rotate_when_due(now).await?;
        Ok(keys)
    }

    pub(super) async fn sign(&self, claims: &Claims, now: Timestamp) -> Result<String, StoreError> {
        self.rotate_when_due(now).await?;
        let ring = self.ring.load();
        let signing = ring
            .signing
            .as_ref()
            .ok_or_else(|| corrupt("there is no signing key"))?;
        jsonwebtoken::encode(&signing.header, claims, &signing.key)
            .map_err(|_| corrupt("the signing key can't be read"))
    }

    /// The claims of a token we signed that has not expired.
    pub(super) async fn verify(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Result<Claims, BadToken>, StoreError> {
        let Some(key_id) = jsonwebtoken::decode_header(token)
            .ok()
            .and_then(|header| header.kid)
        else {
            return Ok(Err(BadToken::Invalid));
        };
        if !self.ring.load().verifying.contains_key(&key_id) {
            self.reload(now).await?;
        }
        let ring = self.ring.load();
        let Some(key) = ring.verifying.get(&key_id) else {
            return Ok(Err(BadToken::Invalid));
        };
        Ok(
            match jsonwebtoken::decode::<Claims>(token, key, &self.validation) {
                Ok(token) if token.claims.expires_at() <= now => Err(BadToken::Expired),
                Ok(token) => Ok(token.claims),
                Err(_) => Err(BadToken::Invalid),
            },
        )
    }

    /// Seals what is kept of a bearer where others could write.
    pub(super) fn seal(&self, bearer: &Digest, text: &[u8]) -> Option<Bytes> {
        self.ring.load().seals.seal(bearer, text)
    }

    /// What a node sealed for this bearer.
    pub(super) fn open(&self, bearer: &Digest, sealed: &[u8]) -> Option<Vec<u8>> {
        let ring = self.ring.load();
        ring.seals.open(bearer, sealed).map(<[u8]>::to_vec)
    }

    /// Another process may have made a key.
    async fn reload(&self, now: Timestamp) -> Result<(), StoreError> {
        let now_ms = now.as_millisecond();
        let last_ms = self.reloaded_at_ms.load(Ordering::Relaxed);
        if (now_ms - last_ms).abs() < RELOAD_AFTER_MS
            || self
                .reloaded_at_ms
                .compare_exchange(last_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return Ok(());
        }
        self.ring
            .store(Arc::new(Ring::of(self.store.signing_keys().await?)?));
        Ok(())
    }

    async fn rotate_when_due(&self, now: Timestamp) -> Result<(), StoreError> {
        if self.is_fresh(now) {
            return Ok(());
        }
        let _turn = self.rotating.lock().await;
        if self.is_fresh(now) {
            return Ok(());
        }
        self.store.insert_signing_key(&new_key(now)?).await?;
        // Of two processes that rotate at once both take the newer key.
        let keys = self.store.signing_keys().await?;
        if let Some(newest) = newest(&keys) {
            let delete_before = now
                .checked_sub(self.longest_token)
                .unwrap_or(Timestamp::MIN);
            self.store
                .retire_signing_keys(&newest.id, now, delete_before)
                .await?;
        }
        self.ring.store(Arc::new(Ring::of(keys)?));
        Ok(())
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        self.ring
            .load()
            .signing
            .as_ref()
            .is_some_and(|signing| now.duration_since(signing.created_at) < self.rotation)
    }
}

impl Ring {
    fn of(keys: Vec<SigningKey>) -> Result<Self, StoreError> {
        let signing = newest(&keys)
            .map(|key| {
                // A key that can't be read must stop the start, not the first login.
                Ed25519KeyPair::from_pkcs8(&key.private_der)
                    .map_err(|_| corrupt("a signing key can't be read"))?;
                let mut header = Header::new(Algorithm::EdDSA);
                header.kid = Some(key.id.clone());
                Ok(Signing {
                    header,
                    key: EncodingKey::from_ed_der(&key.private_der),
                    created_at: key.created_at,
                })
            })
            .transpose()?;
        let seals = Seals::of(&keys, newest(&keys));
        let verifying = keys
            .into_iter()
            .map(|key| (key.id, DecodingKey::from_ed_der(&key.public_der)))
            .collect();
        Ok(Self {
            signing,
            verifying,
            seals,
        })
    }
}

fn newest(keys: &[SigningKey]) -> Option<&SigningKey> {
    keys.iter()
        .max_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)))
}

fn new_key(now: Timestamp) -> Result<SigningKey, StoreError> {
    let failed = |_| corrupt("a signing key can't be made");
    let pair = Ed25519KeyPair::generate().map_err(failed)?;
    let private: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
    Ok(SigningKey {
        id: clock::new_uuid().as_simple().to_string(),
        private_der: private.as_ref().to_vec(),
        public_der: public.as_ref().to_vec(),
        created_at: now,
        retired_at: None,
    })
}

fn corrupt(reason: &str) -> StoreError {
    StoreError::Corrupt {
        reason: reason.to_owned(),
    }
}
