//! `Idempotency-Key`: the same key and body give the same answer.

use std::future::Future;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::App;
use super::answer;
use super::conditional::etag;
use super::error::ApiError;
use super::extract::Payload;
use crate::actors::invoices::InvoicesHandle;
use crate::clock;
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::command::IdempotencyKey as CommandKey;
use crate::store::KeptAnswer;

static HEADER: HeaderName = HeaderName::from_static("idempotency-key");
static REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

const MAX_KEY_CHARS: usize = 255;
/// How long an answer is kept.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24);

/// The caller's `Idempotency-Key`, if any: 1 to 255 visible ASCII characters, else 400.
#[derive(Debug, Clone)]
pub struct Key(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for Key {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(&HEADER) else {
            return Ok(Self(None));
        };
        let key = value
            .to_str()
            .ok()
            .filter(|key| (1..=MAX_KEY_CHARS).contains(&key.len()))
            .filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic()));
        key.map(|key| Self(Some(key.to_owned()))).ok_or_else(|| {
            ApiError::malformed(
                "invalid_idempotency_key",
                "an Idempotency-Key has 1 to 255 visible ASCII characters",
            )
            .param("Idempotency-Key")
        })
    }
}

impl Key {
    /// The key as the invoice's actor remembers it.
    pub fn for_command(&self, payload: &Payload) -> Option<CommandKey> {
        let key = self.0.clone()?;
        Some(CommandKey {
            key,
            fingerprint: payload.fingerprint(),
            keep: true,
            unsure_for_ms: None,
        })
    }

    /// The id of what a keyed create makes: derived from organization and key, so that a repeat
    /// meets the same thing. Without a key a new one.
    pub fn new_id(&self, organization: OrganizationId, kind: &str) -> Uuid {
        let Some(key) = &self.0 else {
            return clock::new_uuid();
        };
        let mut hash = Sha256::new();
        hash.update(b"faktor/idempotency-key/");
        hash.update(kind);
        hash.update([0]);
        hash.update(organization.uuid().as_bytes());
        hash.update(key);
        let digest = hash.finalize();
        let mut bytes = [0; 16];
        bytes
            .iter_mut()
            .zip(digest.iter())
            .for_each(|(to, from)| *to = *from);
        // RFC 9562: version 8 is the one whose bits mean what the maker says.
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

impl Key {
    /// As [`new_id`](Self::new_id), for an invoice: without a key, one that this node owns, which
    /// spares a way to another one.
    pub fn new_invoice_id(
        &self,
        invoices: &InvoicesHandle,
        organization: OrganizationId,
        kind: &str,
    ) -> InvoiceId {
        match &self.0 {
            None => invoices.new_id(),
            Some(_) => InvoiceId::new(self.new_id(organization, kind)),
        }
    }
}

/// Marks an answer as the repeat of an earlier one.
pub fn mark_replayed(response: &mut Response) {
    response
        .headers_mut()
        .insert(REPLAYED.clone(), HeaderValue::from_static("true"));
}

/// An answer that can be kept: a status and a JSON body, with what its headers say.
#[derive(Debug, Clone)]
pub struct Answer {
    status: StatusCode,
    body: Bytes,
    version: Option<u64>,
    location: Option<String>,
    /// False for an answer with a secret: only the fact that it was given is kept.
    keep_body: bool,
}

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    version: Option<u64>,
    location: Option<String>,
    /// None for a secret.
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

impl Answer {
    pub fn json<T: Serialize>(status: StatusCode, body: &T) -> Result<Self, ApiError> {
        let body = answer::to_json(body)?;
        Ok(Self {
            status,
            body,
            version: None,
            location: None,
            keep_body: true,
        })
    }

    /// An answer that shows a secret once: a repeat is refused with 409 `secret_shown_once`, since
    /// the secret is not kept.
    pub fn with_secret<T: Serialize>(status: StatusCode, body: &T) -> Result<Self, ApiError> {
        Ok(Self {
            keep_body: false,
            ..Self::json(status, body)?
        })
    }

    /// Sets `ETag`.
    #[must_use]
    pub fn at_version(self, version: u64) -> Self {
        Self {
            version: Some(version),
            ..self
        }
    }

    /// Sets `Location`.
    #[must_use]
    pub fn at(self, location: String) -> Self {
        Self {
            location: Some(location),
            ..self
        }
    }

    fn into_response(self) -> Response {
        let mut response = answer::json_bytes(self.status, self.body);
        let headers = response.headers_mut();
        if let Some(version) = self.version {
            headers.insert(header::ETAG, etag(version));
        }
        if let Some(location) = self
            .location
            .and_then(|path| HeaderValue::try_from(path).ok())
        {
            headers.insert(header::LOCATION, location);
        }
        response
    }

    fn to_kept(&self) -> Result<Bytes, ApiError> {
        let body = if self.keep_body {
            Some(serde_json::from_slice(&self.body).map_err(|error| unreadable(&error))?)
        } else {
            None
        };
        answer::to_json(&Kept {
            version: self.version,
            location: self.location.clone(),
            body,
        })
    }

    /// `None` for an answer whose secret was not kept.
    fn from_kept(kept: &KeptAnswer) -> Result<Option<Self>, ApiError> {
        let Kept {
            version,
            location,
            body,
        } = serde_json::from_slice(&kept.body).map_err(|error| unreadable(&error))?;
        let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
        Ok(body.map(|body| Self {
            status,
            body: Bytes::copy_from_slice(body.get().as_bytes()),
            version,
            location,
            keep_body: true,
        }))
    }
}

fn unreadable(error: &serde_json::Error) -> ApiError {
    ApiError::internal(format!("a kept answer can't be read: {error}"))
}

/// One lock per stripe, so that two requests with one key do not run side by side in this process.
#[derive(Debug)]
pub(super) struct KeyLocks([Mutex<()>; 64]);

impl Default for KeyLocks {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(())))
    }
}

impl KeyLocks {
    fn of(&self, key: &str) -> &Mutex<()> {
        let hash = key.bytes().fold(0_usize, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(usize::from(byte))
        });
        &self.0[hash % self.0.len()]
    }
}

/// Runs `action` unless the same keyed request was answered before; then gives that answer again.
/// For POSTs other than commands to invoices, whose actors remember keys themselves. Only
/// successes are kept: what was refused may be tried again.
pub async fn idempotent(
    app: &App,
    organization: OrganizationId,
    key: &Key,
    payload: &Payload,
    action: impl Future<Output = Result<Answer, ApiError>>,
) -> Result<Response, ApiError> {
    let Some(key) = &key.0 else {
        return action.await.map(Answer::into_response);
    };
    let (method, path) = payload.target();
    let kept_key = format!("{method} {path} {key}");
    let fingerprint = payload.fingerprint();
    let _alone = app.key_locks.of(&kept_key).lock().await;
    let directory = &app.stores.directory;
    if let Some(kept) = directory.kept_answer(organization, &kept_key).await? {
        return replay(&kept, fingerprint);
    }
    let answer = action.await?;
    let now = app.clock.now();
    let kept = KeptAnswer {
        organization,
        key: kept_key,
        fingerprint,
        status: answer.status.as_u16(),
        body: answer.to_kept()?.to_vec(),
        created_at: now,
    };
    directory
        .keep_answer(&kept, now.saturating_sub(KEPT_FOR).unwrap_or(now))
        .await?;
    Ok(answer.into_response())
}

fn replay(kept: &KeptAnswer, fingerprint: u64) -> Result<Response, ApiError> {
    if kept.fingerprint != fingerprint {
        return Err(ApiError::idempotency_key_reused());
    }
    let Some(answer) = Answer::from_kept(kept)? else {
        return Err(ApiError::conflict(
            "secret_shown_once",
            "this request was carried out before, and its secret was shown then; it is not kept",
        ));
    };
    let mut response = answer.into_response();
    mark_replayed(&mut response);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyed_create_always_means_the_same_id_and_never_another_organizations() {
        let organization = |n| OrganizationId::new(Uuid::from_u128(n));
        let key = Key(Some("k1".to_owned()));
        let id = key.new_id(organization(1), "invoice");
        assert_eq!(id, key.new_id(organization(1), "invoice"));
        assert_eq!(id.get_version_num(), 8);
        assert_ne!(id, key.new_id(organization(2), "invoice"));
        assert_ne!(id, key.new_id(organization(1), "customer"));
        assert_ne!(
            id,
            Key(Some("k2".to_owned())).new_id(organization(1), "invoice")
        );
    }

    fn kept(answer: &Answer) -> KeptAnswer {
        KeptAnswer {
            organization: OrganizationId::new(Uuid::nil()),
            key: "k".to_owned(),
            fingerprint: 7,
            status: answer.status.as_u16(),
            body: answer.to_kept().unwrap().to_vec(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_repeat_has_the_first_answers_status_and_headers() {
        let answer = Answer::json(StatusCode::CREATED, &serde_json::json!({"id": "x"})).unwrap();
        let kept = kept(&answer.at_version(1).at("/v1/customers/x".to_owned()));
        let again = replay(&kept, 7).unwrap();
        assert_eq!(again.status(), 201);
        assert_eq!(again.headers()[&REPLAYED], "true");
        assert_eq!(again.headers()[header::ETAG], "\"1\"");
        assert_eq!(again.headers()[header::LOCATION], "/v1/customers/x");
        assert_eq!(replay(&kept, 8).unwrap_err().status(), 422);
    }

    #[test]
    fn a_secret_is_neither_kept_nor_shown_twice() {
        let secret = serde_json::json!({"secret": "s3cret"});
        let kept = kept(&Answer::with_secret(StatusCode::CREATED, &secret).unwrap());
        assert!(
            !String::from_utf8(kept.body.clone())
                .unwrap()
                .contains("s3cret")
        );
        assert_eq!(replay(&kept, 7).unwrap_err().code(), "secret_shown_once");
    }
}
