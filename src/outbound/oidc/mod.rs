//! OpenID Connect: tokens of an issuer that the operator trusts, checked with the keys that it
//! publishes.
//!
//! After OpenID Connect Discovery 1.0 and RFC 9068 (access tokens as JWTs); what is refused follows
//! RFC 8725 (best practices for JWTs).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;
use serde::Deserialize;

mod fetch;
mod keys;
mod token;

use keys::Keys;
pub use token::{Claimed, claims_issuer};

/// Whom to trust, and for what.
#[derive(Debug, Clone)]
pub struct IssuerOptions {
    /// As the tokens' `iss` has it, to the letter.
    pub issuer: String,
    /// What the tokens' `aud` must contain.
    pub audience: String,
    /// Where the roles' names are: claims' names, joined by dots.
    pub roles_claim: String,
}

/// Why an issuer can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// It does not answer; it may later.
    #[error("{0}")]
    Unreachable(String),
    /// It answers with something else than was asked for.
    #[error("{0}")]
    Unusable(String),
}

/// Why a token is not taken. None of the texts shows the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token has expired")]
    Expired,
    #[error("{0}")]
    Invalid(&'static str),
    /// The token may be good, but its key can't be had.
    #[error("the issuer's keys can't be read: {0}")]
    Unavailable(String),
}

/// A trusted issuer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Issuer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: IssuerOptions,
    keys: Keys,
}

/// What is read of `/.well-known/openid-configuration`.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Issuer {
    /// Asks the issuer for its configuration and its keys.
    pub async fn discover(options: IssuerOptions) -> Result<Self, IssuerError> {
        let client = fetch::client()?;
        let base = options.issuer.trim_end_matches('/');
        let address = format!("{base}/.well-known/openid-configuration");
        let discovery: Discovery = fetch::json(&client, &checked(&address)?).await?;
        // OpenID Connect Discovery 1.0, section 4.3: identical, or another one could pretend.
        if discovery.issuer != options.issuer {
            return Err(IssuerError::Unusable(format!(
                "it calls itself {}, and oidc.issuer must be that to the letter",
                discovery.issuer
            )));
        }
        let keys = Keys::fetch(client, checked(&discovery.jwks_uri)?).await?;
        Ok(Self {
            inner: Arc::new(Inner { options, keys }),
        })
    }

    /// The issuer's name for itself.
    pub fn name(&self) -> &str {
        &self.inner.options.issuer
    }

    /// What a token of this issuer says, if everything about it is right at `now`.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Claimed, TokenError> {
        let id = token::key_id(token)?;
        let key = self.inner.keys.find(&id).await?;
        token::verify(token, &key, &self.inner.options, now)
    }

    /// Whether the issuer answers; the reason when not. It is asked at most once a minute, and not
    /// while its keys are fresh.
    pub async fn ping(&self) -> Result<(), String> {
        self.inner.keys.ping().await
    }

    /// How often the keys were asked for.
    pub fn fetches(&self) -> u64 {
        self.inner.keys.fetches()
    }
}

/// Keys must come over TLS, except from this very machine.
fn checked(address: &str) -> Result<Url, IssuerError> {
    let unusable = |why: &str| IssuerError::Unusable(format!("{address} {why}"));
    let url = Url::parse(address).map_err(|_| unusable("is not a web address"))?;
    let is_loopback = match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback()),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback => Ok(url),
        _ => Err(unusable(
            "must begin with https:// (http:// only on the loopback interface)",
        )),
    }
}

/// The longest that one answer of an issuer may take.
const ANSWER_TIME: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        for good in [
            "https://login.example.com/keys",
            "http://127.0.0.1:8080/keys",
            "http://localhost/keys",
            "http://[::1]:80/keys",
        ] {
            assert!(checked(good).is_ok(), "{good}");
        }
        for bad in [
            "http://login.example.com/keys",
            "http://10.0.0.1/keys",
            "ftp://127.0.0.1/keys",
            "file:///keys",
            "keys",
        ] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }
}
