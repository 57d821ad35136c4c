//! Signed webhooks, in Stripe's scheme: `t=<unix seconds>,v1=<hex HMAC-SHA-256 of "{t}.{body}">`.
//! Source: docs.stripe.com/webhooks, "Verify webhook signatures manually".

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use super::WebhookError;
use crate::config::Secret;

/// A header with more signatures than this is refused unread.
const MAX_SIGNATURES: usize = 16;

/// The header's value for a body sent at `now`.
pub(super) fn sign(secret: &Secret, body: &[u8], now: Timestamp) -> String {
    let t = now.as_second();
    format!(
        "t={t},v1={}",
        hex::encode(mac(secret, &t.to_string(), body).finalize().into_bytes())
    )
}

/// Whether one of the header's signatures was made with one of the secrets (there are two while one
/// replaces the other), no longer ago than the tolerance.
pub(super) fn verify(
    secrets: &[Secret],
    header: Option<&str>,
    body: &[u8],
    now: Timestamp,
    tolerance_s: u64,
) -> Result<(), WebhookError> {
    let (t, signatures) = header
        .and_then(parse)
        .ok_or(WebhookError::MissingSignature)?;
    // Compared in constant time by the MAC itself. All are tried, so that the time taken does not
    // tell which one was near.
    let mut matches = false;
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        for signature in &signatures {
            matches |= mac(secret, t, body).verify_slice(signature).is_ok();
        }
    }
    if !matches {
        return Err(WebhookError::BadSignature);
    }
    let signed_at: i64 = t.parse().map_err(|_| WebhookError::MissingSignature)?;
    let age_s = now.as_second().saturating_sub(signed_at);
    if age_s.unsigned_abs() <= tolerance_s {
        Ok(())
    } else if age_s > 0 {
        Err(WebhookError::TooOld { tolerance_s })
    } else {
        Err(WebhookError::FromTheFuture { tolerance_s })
    }
}

/// The time as it was written (it is signed as text) and the `v1` signatures; other schemes are
/// skipped, as Stripe asks for.
fn parse(header: &str) -> Option<(&str, Vec<Vec<u8>>)> {
    let (mut t, mut signatures) = (None, Vec::new());
    for part in header.split(',') {
        match part.trim().split_once('=')? {
            ("t", value) if t.is_none() => t = Some(value),
            ("t", _) => return None,
            ("v1", value) => signatures.push(hex::decode(value).ok()?),
            _ => {}
        }
    }
    let t = t.filter(|t| t.parse::<i64>().is_ok())?;
    ((1..=MAX_SIGNATURES).contains(&signatures.len())).then_some((t, signatures))
}

fn mac(secret: &Secret, t: &str, body: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of any length (RFC 2104): a key that does not fit can't exist, and if it did,
    // the empty key gives a signature that no one accepts, as empty secrets are skipped.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .unwrap_or_else(|_| Hmac::<Sha256>::new(&hmac::digest::Key::<Hmac<Sha256>>::default()));
    mac.update(t.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id":"evt_1"}"#;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn check(header: &str, now: i64) -> Result<(), WebhookError> {
        verify(&[secret("whsec_test")], Some(header), BODY, at(now), 300)
    }

    #[test]
    fn the_signature_is_the_one_another_program_computes() {
        // printf '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test
        assert_eq!(sign(&secret("whsec_test"), BODY, at(1_700_000_000)), VECTOR);
        assert_eq!(check(VECTOR, 1_700_000_000), Ok(()));
    }

    const VECTOR: &str =
        "t=1700000000,v1=c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925";

    #[test]
    fn a_header_recorded_from_stripes_own_library_is_good() {
        // stripe-python 12.5.1: WebhookSignature._compute_signature.
        let body = "{\n  \"id\": \"evt_test_webhook\",\n  \"object\": \"event\",\n  \"type\": \
                    \"payment_intent.succeeded\",\n  \"note\": \"Zażółć – ünïcödé 💶\"\n}";
        let header = "t=1614265330,\
                      v1=2bd3f9583778544ce4f4ffb15e44f48821d3799a5b59420e6226a04005159932,\
                      v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39";
        let secrets = [secret("whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH")];
        let verified = |body: &str| {
            let now = at(1_614_265_330);
            verify(&secrets, Some(header), body.as_bytes(), now, 300)
        };
        assert_eq!(verified(body), Ok(()));
        // The same JSON, written another way.
        let rewritten = body.replace("\n  ", "");
        assert_eq!(verified(&rewritten), Err(WebhookError::BadSignature));
    }

    #[test]
    fn a_tampered_body_time_or_signature_is_refused() {
        let bad = Err(WebhookError::BadSignature);
        let now = at(1_700_000_000);
        let secrets = [secret("whsec_test")];
        assert_eq!(
            verify(&secrets, Some(VECTOR), br#"{"id":"evt_2"}"#, now, 300),
            bad
        );
        assert_eq!(
            check(&VECTOR.replace("1700000000", "1700000001"), 1_700_000_000),
            bad
        );
        let (head, _) = VECTOR.rsplit_once("v1=").unwrap();
        assert_eq!(
            check(&format!("{head}v1={}", "0".repeat(64)), 1_700_000_000),
            bad
        );
        assert_eq!(check(&format!("{head}v1=00"), 1_700_000_000), bad);
        assert_eq!(
            verify(&[secret("other")], Some(VECTOR), BODY, now, 300),
            bad
        );
        assert_eq!(verify(&[], Some(VECTOR), BODY, now, 300), bad);
    }

    #[test]
    fn an_empty_secret_signs_nothing() {
        let header = sign(&secret(""), BODY, at(1_700_000_000));
        let secrets = [secret("")];
        let verified = verify(&secrets, Some(&header), BODY, at(1_700_000_000), 300);
        assert_eq!(verified, Err(WebhookError::BadSignature));
    }

    #[test]
    fn a_signature_is_good_for_the_tolerance_in_both_directions() {
        assert_eq!(check(VECTOR, 1_700_000_300), Ok(()));
        assert_eq!(
            check(VECTOR, 1_700_000_301),
            Err(WebhookError::TooOld { tolerance_s: 300 })
        );
        assert_eq!(check(VECTOR, 1_699_999_700), Ok(()));
        let future = Err(WebhookError::FromTheFuture { tolerance_s: 300 });
        assert_eq!(check(VECTOR, 1_699_999_699), future);
    }

    #[test]
    fn one_of_several_secrets_and_signatures_is_enough() {
        let secrets = [secret("new"), secret("whsec_test")];
        let now = at(1_700_000_000);
        assert_eq!(verify(&secrets, Some(VECTOR), BODY, now, 300), Ok(()));
        let both = VECTOR.replace(",v1=", &format!(",v0=x,v1={},v1=", "0".repeat(64)));
        assert_eq!(check(&both, 1_700_000_000), Ok(()));
    }

    #[test]
    fn a_header_that_is_not_of_the_scheme_is_malformed() {
        let many = format!("t=1{}", ",v1=00".repeat(17));
        for header in [
            "",
            "t=1",
            "v1=00",
            "t=x,v1=00",
            "t=1,v1=zz",
            "t=1,t=2,v1=00",
            "t",
            &many,
        ] {
            assert_eq!(
                check(header, 1),
                Err(WebhookError::MissingSignature),
                "{header}"
            );
        }
        assert_eq!(
            verify(&[], None, BODY, at(1), 300),
            Err(WebhookError::MissingSignature)
        );
    }
}
