//! The issuer's public keys (JWKS, RFC 7517): cached, looked for again when a token names a new
//! one, and never trusted for longer than the issuer has been silent for a day.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse, RSAKeyParameters,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant, timeout};

use super::{ANSWER_TIME, IssuerError, TokenError, fetch};

/// Keys are asked for again after this, so that one that the issuer withdrew is soon refused.
const FRESH_FOR: Duration = Duration::from_mins(5);
/// Keys of an issuer that has not answered for this long are not believed any more.
const USABLE_FOR: Duration = Duration::from_hours(24);
/// Unknown key ids make us ask at most this often: anybody can invent one.
const ASK_AGAIN_AFTER: Duration = Duration::from_mins(1);
/// How long a readiness probe waits for the issuer: less than readiness has in all.
const PING_PATIENCE: Duration = Duration::from_secs(1);
/// More keys than any issuer has.
const MAX_KEYS: usize = 100;
/// Shorter RSA keys are too weak (RFC 7518, section 3.3).
const MIN_RSA_BITS: usize = 2048;

/// A public key, with the one algorithm that it is for.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

struct KeySet {
    by_id: HashMap<String, Key>,
    fetched_at: Instant,
}

pub(super) struct Keys {
    client: Client,
    url: Url,
    present: ArcSwap<KeySet>,
    /// When the issuer was asked last, with or without success.
    asked_at: Mutex<Instant>,
    /// Why it did not answer then, if it did not.
    trouble: ArcSwapOption<String>,
    fetches: AtomicU64,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.url)
    }
}

/// A key set as it is published; keys of kinds unknown here stay unread.
#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

impl Keys {
    pub(super) async fn fetch(client: Client, url: Url) -> Result<Self, IssuerError> {
        let present = fetch_set(&client, &url).await?;
        Ok(Self {
            client,
            url,
            present: ArcSwap::from_pointee(present),
            // The first unknown key may be asked for at once: it can be newer than the start.
            asked_at: Mutex::new(Instant::now() - ASK_AGAIN_AFTER),
            trouble: ArcSwapOption::empty(),
            fetches: AtomicU64::new(1),
        })
    }

    /// The key with this id.
    pub(super) async fn find(&self, id: &str) -> Result<Key, TokenError> {
        let present = self.present.load();
        let age = present.fetched_at.elapsed();
        let known = present.by_id.get(id).filter(|_| age < USABLE_FOR).cloned();
        if let Some(key) = known.as_ref().filter(|_| age < FRESH_FOR) {
            return Ok(key.clone());
        }
        drop(present);
        // While somebody asks, a key that is known already is good enough.
        let mut asked_at = match (self.asked_at.try_lock(), &known) {
            (Ok(turn), _) => turn,
            (Err(_), Some(key)) => return Ok(key.clone()),
            (Err(_), None) => self.asked_at.lock().await,
        };
        let present = self.present.load();
        let is_newer = present.fetched_at.elapsed() < age;
        if let Some(key) = present.by_id.get(id).filter(|_| is_newer) {
            return Ok(key.clone());
        }
        drop(present);
        if asked_at.elapsed() < ASK_AGAIN_AFTER {
            return known.ok_or_else(|| self.unknown());
        }
        *asked_at = Instant::now();
        match self.ask(ANSWER_TIME).await {
            Some(set) => set.by_id.get(id).cloned().ok_or_else(|| self.unknown()),
            None => known.ok_or_else(|| self.unknown()),
        }
    }

    /// What a token with a key that is not known comes to: while the issuer can't be asked, it may be
    /// good.
    fn unknown(&self) -> TokenError {
        match &*self.trouble.load() {
            Some(trouble) => TokenError::Unavailable(trouble.as_ref().clone()),
            None => TokenError::Invalid("the token is signed with an unknown key"),
        }
    }

    /// Asks the issuer now, which the holder of `asked_at` may. None: it did not answer.
    async fn ask(&self, patience: Duration) -> Option<Arc<KeySet>> {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        let fetched = timeout(patience, fetch_set(&self.client, &self.url)).await;
        let fetched = fetched.unwrap_or_else(|_| {
            let text = format!("no answer within {} ms", patience.as_millis());
            Err(IssuerError::Unreachable(text))
        });
        match fetched {
            Ok(set) => {
                let set = Arc::new(set);
                self.present.store(Arc::clone(&set));
                self.trouble.store(None);
                metrics::counter!("faktor_oidc_key_fetches_total", "outcome" => "ok").increment(1);
                Some(set)
            }
            Err(error) => {
                metrics::counter!("faktor_oidc_key_fetches_total", "outcome" => "failed")
                    .increment(1);
                tracing::warn!(url = %self.url, %error, "the issuer's keys could not be read");
                self.trouble.store(Some(Arc::new(error.to_string())));
                None
            }
        }
    }

    /// Whether the issuer answered when it was asked last; asked again when its keys are not fresh, or
    /// it did not.
    pub(super) async fn ping(&self) -> Result<(), String> {
        let is_due =
            self.trouble.load().is_some() || self.present.load().fetched_at.elapsed() >= FRESH_FOR;
        if is_due
            && let Ok(mut asked_at) = self.asked_at.try_lock()
            && asked_at.elapsed() >= ASK_AGAIN_AFTER
        {
            *asked_at = Instant::now();
            // What came of it is kept.
            let _ = self.ask(PING_PATIENCE).await;
        }
        match &*self.trouble.load() {
            Some(trouble) => Err(format!("its keys can't be read: {trouble}")),
            None => Ok(()),
        }
    }

    pub(super) fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::Relaxed)
    }
}

async fn fetch_set(client: &Client, url: &Url) -> Result<KeySet, IssuerError> {
    let published: Published = fetch::json(client, url).await?;
    if published.keys.len() > MAX_KEYS {
        return Err(IssuerError::Unusable(format!(
            "{url} has {} keys; allowed are {MAX_KEYS}",
            published.keys.len()
        )));
    }
    Ok(KeySet {
        by_id: published.keys.into_iter().filter_map(usable).collect(),
        fetched_at: Instant::now(),
    })
}

/// A key that may sign tokens; anything else is passed over.
fn usable(published: Value) -> Option<(String, Key)> {
    let jwk: Jwk = serde_json::from_value(published).ok()?;
    let for_signatures = matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    );
    let algorithm = algorithm(&jwk).filter(|_| for_signatures)?;
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    let id = jwk.common.key_id?;
    Some((
        id,
        Key {
            algorithm,
            decoding,
        },
    ))
}

/// What the key itself is for: never what a token says (RFC 8725, section 3.1).
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if bits(rsa) >= MIN_RSA_BITS => {
            (Algorithm::RS256, KeyAlgorithm::RS256)
        }
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let declared = jwk.common.key_algorithm;
    declared
        .is_none_or(|declared| declared == name)
        .then_some(algorithm)
}

fn bits(rsa: &RSAKeyParameters) -> usize {
    let Ok(modulus) = URL_SAFE_NO_PAD.decode(&rsa.n) else {
        return 0;
    };
    let leading = modulus.iter().take_while(|byte| **byte == 0).count();
    modulus.get(leading).map_or(0, |first| {
        (modulus.len() - leading) * 8 - first.leading_zeros() as usize
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rsa(bytes: usize, first: u8) -> Value {
        let mut modulus = vec![0xff_u8; bytes];
        modulus[0] = first;
        json!({"kty": "RSA", "kid": "k", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB"})
    }

    fn with(mut key: Value, member: &str, value: &str) -> Value {
        key[member] = value.into();
        key
    }

    #[test]
    fn a_key_is_used_for_its_own_algorithm_only_and_only_for_signatures() {
        let strong = rsa(256, 0xff);
        assert_eq!(
            usable(strong.clone()).map(|(_, key)| key.algorithm),
            Some(Algorithm::RS256)
        );
        assert!(usable(with(strong.clone(), "alg", "RS256")).is_some());
        for other in [
            with(strong.clone(), "alg", "RS512"),
            with(strong.clone(), "alg", "RSA-OAEP"),
            with(strong.clone(), "alg", "HS256"),
            with(strong.clone(), "use", "enc"),
            json!({"kty": "oct", "kid": "k", "k": "AAAA"}),
            json!({"kty": "XYZ", "kid": "k"}),
            json!({"kty": "EC", "kid": "k", "crv": "P-384", "x": "AA", "y": "AA"}),
            json!(7),
        ] {
            assert!(usable(other.clone()).is_none(), "{other}");
        }
        let mut nameless = strong;
        nameless["kid"] = Value::Null;
        assert!(usable(nameless).is_none());
    }

    #[test]
    fn a_short_rsa_key_is_too_weak() {
        assert!(usable(rsa(256, 0x80)).is_some());
        assert!(usable(rsa(256, 0x7f)).is_none());
        assert!(usable(rsa(128, 0xff)).is_none());
        // Zeros in front make it no stronger.
        assert!(usable(rsa(300, 0x00)).is_some());
        let mut padded = vec![0_u8; 200];
        padded.extend([0xff; 128]);
        let mut key = rsa(256, 0xff);
        key["n"] = URL_SAFE_NO_PAD.encode(padded).into();
        assert!(usable(key).is_none());
    }
}
