//! One token: what must hold of it, and what it says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::Validation;
use jsonwebtoken::errors::ErrorKind;
use serde_json::{Map, Value};

use super::keys::Key;
use super::{IssuerOptions, TokenError};

/// How far the issuer's clock may be ahead of ours: `nbf` and `iat` only. A token that has expired by
/// our clock has expired.
const AHEAD_S: i64 = 30;
/// The longest token that is looked at.
const MAX_BYTES: usize = 16 * 1024;
/// Roles beyond this are not read.
const MAX_ROLES: usize = 200;

/// What a good token says of its bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Unique at the issuer, and for ever the same person.
    pub subject: String,
    /// In lower case; only one that the issuer has verified.
    pub email: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    /// As the issuer names them.
    pub roles: Vec<String>,
    pub expires_at: Timestamp,
}

const MALFORMED: TokenError = TokenError::Invalid("not a token of the issuer");

/// The issuer a token claims to be from: says where to check it, and nothing else.
pub fn claims_issuer(token: &str) -> Option<String> {
    let mut parts = token.split('.');
    let (_, claims) = (parts.next()?, parts.next()?);
    match object(claims)?.remove("iss")? {
        Value::String(issuer) => Some(issuer),
        _ => None,
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    if part.len() > MAX_BYTES {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// The id of the key that the token is signed with.
pub(super) fn key_id(token: &str) -> Result<String, TokenError> {
    if token.len() > MAX_BYTES {
        return Err(MALFORMED);
    }
    let header = token.split('.').next().and_then(object).ok_or(MALFORMED)?;
    // RFC 7515, section 4.1.11: who does not understand what is critical must refuse.
    if header.contains_key("crit") {
        return Err(TokenError::Invalid(
            "the token needs an extension that is not known here",
        ));
    }
    match header.get("kid") {
        Some(Value::String(id)) => Ok(id.clone()),
        _ => Err(TokenError::Invalid("the token does not name its key")),
    }
}

/// What the token says, if it was signed with this key, is for us, and is good at `now`.
pub(super) fn verify(
    token: &str,
    key: &Key,
    options: &IssuerOptions,
    now: Timestamp,
) -> Result<Claimed, TokenError> {
    let mut validation = Validation::new(key.algorithm);
    validation.required_spec_claims.clear();
    // Everything that the claims say is compared below: with our own clock, and one error for each.
    validation.validate_exp = false;
    validation.validate_aud = false;
    let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, &key.decoding, &validation);
    let claims = decoded
        .map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => TokenError::Invalid("the token's signature is wrong"),
            ErrorKind::InvalidAlgorithm => {
                TokenError::Invalid("the token's algorithm is not that of its key")
            }
            _ => MALFORMED,
        })?
        .claims;
    check(&claims, options, now)?;
    let subject = text(&claims, "sub").filter(|subject| !subject.is_empty());
    let verified = claims.get("email_verified") == Some(&Value::Bool(true));
    Ok(Claimed {
        subject: subject.ok_or(TokenError::Invalid("the token names nobody"))?,
        email: text(&claims, "email")
            .filter(|_| verified)
            .map(|email| email.trim().to_lowercase()),
        first_name: text(&claims, "given_name"),
        last_name: text(&claims, "family_name"),
        roles: roles(&claims, &options.roles_claim),
        expires_at: seconds(&claims, "exp")
            .and_then(|exp| Timestamp::from_second(exp).ok())
            .ok_or(MALFORMED)?,
    })
}

fn check(
    claims: &Map<String, Value>,
    options: &IssuerOptions,
    now: Timestamp,
) -> Result<(), TokenError> {
    let refuse = |why| Err(TokenError::Invalid(why));
    if text(claims, "iss").as_deref() != Some(&options.issuer) {
        return refuse("the token is of another issuer");
    }
    let is_for_us = match claims.get("aud") {
        Some(Value::String(one)) => *one == options.audience,
        Some(Value::Array(many)) => many
            .iter()
            .any(|one| one.as_str() == Some(options.audience.as_str())),
        _ => false,
    };
    if !is_for_us {
        return refuse("the token is for another audience");
    }
    // An ID token says who signed in at a client; it opens nothing. Keycloak names the kinds in
    // `typ`, others are known by what only ID tokens have (OpenID Connect Core 1.0, section 2).
    let is_access = text(claims, "typ").is_none_or(|kind| kind == "Bearer");
    if !is_access || claims.contains_key("at_hash") || claims.contains_key("nonce") {
        return refuse("not an access token");
    }
    let now_s = now.as_second();
    let Some(exp) = seconds(claims, "exp") else {
        return refuse("the token does not say when it expires");
    };
    if exp <= now_s {
        return Err(TokenError::Expired);
    }
    for claim in ["nbf", "iat"] {
        let in_future = match claims.get(claim) {
            None => false,
            Some(_) => seconds(claims, claim).is_none_or(|from| from > now_s + AHEAD_S),
        };
        if in_future {
            return refuse("the token is not good yet");
        }
    }
    Ok(())
}

fn text(claims: &Map<String, Value>, name: &str) -> Option<String> {
    claims.get(name)?.as_str().map(str::to_owned)
}

/// A `NumericDate` (RFC 7519, section 2); what is behind the point does not matter.
#[expect(
    clippy::cast_possible_truncation,
    reason = "cut on purpose; what is out of range ends at the range's end"
)]
fn seconds(claims: &Map<String, Value>, name: &str) -> Option<i64> {
    let number = claims.get(name)?;
    number
        .as_i64()
        .or_else(|| number.as_f64().map(|seconds| seconds.floor() as i64))
}

/// The names at a claim, such as `realm_access.roles`: a list, or one text with spaces between.
fn roles(claims: &Map<String, Value>, path: &str) -> Vec<String> {
    // A claim whose own name has dots, such as a URL, is found first.
    let mut found = claims.get(path);
    if found.is_none() {
        let mut steps = path.split('.');
        found = steps.next().and_then(|first| claims.get(first));
        for step in steps {
            found = found.and_then(|value| value.get(step));
        }
    }
    match found {
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .take(MAX_ROLES)
            .map(str::to_owned)
            .collect(),
        Some(Value::String(names)) => names
            .split_whitespace()
            .take(MAX_ROLES)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn options() -> IssuerOptions {
        IssuerOptions {
            issuer: "https://login.example".to_owned(),
            audience: "faktor-api".to_owned(),
            roles_claim: "realm_access.roles".to_owned(),
        }
    }

    fn claims(change: &Value) -> Map<String, Value> {
        let mut claims = json!({
            "iss": "https://login.example", "aud": ["faktor-api", "account"], "sub": "ada",
            "exp": 1_800_000_060, "iat": 1_800_000_000,
        });
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object().unwrap().clone()
    }

    fn checked(change: &Value) -> Result<(), TokenError> {
        check(&claims(change), &options(), NOW)
    }

    #[test]
    fn issuer_and_audience_must_be_ours() {
        assert_eq!(checked(&json!({})), Ok(()));
        assert_eq!(checked(&json!({"aud": "faktor-api"})), Ok(()));
        for change in [
            json!({"iss": "https://login.example/"}),
            json!({"iss": null}),
            json!({"aud": "other"}),
            json!({"aud": ["other"]}),
            json!({"aud": null}),
            json!({"aud": [], "azp": "faktor-api"}),
        ] {
            assert!(checked(&change).is_err(), "{change}");
        }
    }

    #[test]
    fn a_token_is_good_from_its_beginning_to_its_last_second() {
        assert_eq!(checked(&json!({"exp": 1_800_000_001})), Ok(()));
        assert_eq!(
            checked(&json!({"exp": 1_800_000_000})),
            Err(TokenError::Expired)
        );
        assert!(checked(&json!({"exp": null})).is_err());
        assert!(checked(&json!({"exp": "1800000060"})).is_err());
        assert_eq!(checked(&json!({"nbf": 1_800_000_030})), Ok(()));
        assert!(checked(&json!({"nbf": 1_800_000_031})).is_err());
        assert!(checked(&json!({"iat": 1_800_000_031})).is_err());
        assert!(checked(&json!({"nbf": "soon"})).is_err());
    }

    #[test]
    fn only_access_tokens_open_anything() {
        assert_eq!(checked(&json!({"typ": "Bearer"})), Ok(()));
        for change in [
            json!({"typ": "ID"}),
            json!({"typ": "Refresh"}),
            json!({"at_hash": "x"}),
            json!({"nonce": "x"}),
        ] {
            assert!(checked(&change).is_err(), "{change}");
        }
    }

    #[test]
    fn roles_are_found_at_the_configured_claim() {
        let claims = claims(&json!({
            "realm_access": {"roles": ["a", 7, "b"]}, "scope": "c d",
            "https://faktor.example/roles": ["e"],
        }));
        assert_eq!(roles(&claims, "realm_access.roles"), ["a", "b"]);
        assert_eq!(roles(&claims, "scope"), ["c", "d"]);
        assert_eq!(roles(&claims, "https://faktor.example/roles"), ["e"]);
        assert_eq!(roles(&claims, "realm_access.none"), [""; 0]);
        assert_eq!(roles(&claims, ""), [""; 0]);
    }
}
