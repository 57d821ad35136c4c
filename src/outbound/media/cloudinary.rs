//! Objects as raw, authenticated assets at Cloudinary.
//!
//! Uploads are signed, and so are downloads: an asset of type `authenticated` has no address that works
//! without a signature. Invoice `…`'s document is the asset `uploads/invoice-…/document-1.pdf`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{StreamExt, try_unfold};
use reqwest::header::HeaderValue;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Response, StatusCode, redirect};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::time::{Duration, Instant};

use super::address::Address;
use super::reader::Parts;
use super::{
    Bytes, MediaError, ObjectReader, StoredObject, TimeLimits, content_type, one_line, within,
};
use crate::clock::Clock;
use crate::config::Secret;

const DEFAULT_API: &str = "https://api.cloudinary.com";
/// The kind of access: no address without a signature.
const TYPE: &str = "authenticated";
/// The longest JSON answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Pings count against the Admin API's hourly allowance, so one that went well is good for a while.
const PING_AGAIN_AFTER: Duration = Duration::from_mins(1);
/// The same when an upload or download failed since.
const PING_IN_DOUBT_AFTER: Duration = Duration::from_secs(10);

/// Objects in one product environment ("cloud").
#[derive(Clone)]
pub struct CloudinaryMedia {
    client: Client,
    /// `https://api.cloudinary.com/v1_1/{cloud}`
    base: String,
    key: String,
    secret: Secret,
    clock: Clock,
    limits: TimeLimits,
    good_ping: Arc<Mutex<Option<GoodPing>>>,
}

/// The last ping, when it went well.
#[derive(Clone, Copy)]
struct GoodPing {
    at: Instant,
    /// An upload or download failed since.
    in_doubt: bool,
}

impl fmt::Debug for CloudinaryMedia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloudinaryMedia({})", self.base)
    }
}

#[derive(Deserialize)]
struct Uploaded {
    public_id: String,
    bytes: u64,
}

#[derive(Deserialize)]
struct Refused {
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    message: String,
}

impl CloudinaryMedia {
    /// The cloud that `cloudinary://key:secret@cloud` names.
    pub fn new(address: &Secret, clock: Clock, limits: TimeLimits) -> Result<Self, MediaError> {
        let address = Address::parse(address.expose(), &["api"])?;
        let api = address.server("api")?.unwrap_or(DEFAULT_API);
        let whole = [&address.host, &address.user, &address.password];
        if whole.iter().any(|part| part.is_empty()) || !address.path.is_empty() {
            return Err(MediaError::address(
                "it must read cloudinary://key:secret@cloud",
            ));
        }
        let client = Client::builder()
            .connect_timeout(limits.connect)
            // For each read: how long a whole object takes is its reader's affair.
            .read_timeout(limits.transfer)
            // The address of a download holds its signature, which is nobody else's business.
            .referer(false)
            .redirect(redirect::Policy::limited(3))
            .build()
            .map_err(|error| MediaError::unavailable(one_line(&error.to_string())))?;
        Ok(Self {
            client,
            base: format!("{api}/v1_1/{}", address.host),
            key: address.user,
            secret: Secret::new(address.password),
            clock,
            limits,
            good_ping: Arc::default(),
        })
    }

    /// Uploads under the object's one public id: a repeat overwrites.
    pub(super) async fn put(&self, name: &str, bytes: Bytes) -> Result<StoredObject, MediaError> {
        let object = StoredObject::of(&bytes);
        let uploaded = within(self.limits.transfer, self.upload(name, bytes)).await;
        let uploaded = self.heed(uploaded)?;
        if uploaded.public_id != public_id(name) || uploaded.bytes != object.bytes {
            let reason = format!(
                "Cloudinary kept {} bytes as {}",
                uploaded.bytes,
                one_line(&uploaded.public_id)
            );
            return Err(MediaError::unavailable(reason));
        }
        Ok(object)
    }

    async fn upload(&self, name: &str, bytes: Bytes) -> Result<Uploaded, MediaError> {
        let file_name = name.rsplit('/').next().unwrap_or(name).to_owned();
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert(
            reqwest::header::CONTENT_TYPE,
            HeaderValue::from_static(content_type(name)),
        );
        let file = Part::stream(bytes).file_name(file_name).headers(headers);
        let parameters = self.signed(vec![
            // Copies at the edge of what was there before are to be forgotten.
            ("invalidate", "true".to_owned()),
            ("overwrite", "true".to_owned()),
            ("public_id", public_id(name)),
            ("type", TYPE.to_owned()),
        ]);
        let form = parameters
            .into_iter()
            .fold(Form::new(), |form, (key, value)| form.text(key, value))
            .part("file", file);
        let request = self.client.post(format!("{}/raw/upload", self.base));
        let answer = request.multipart(form).send().await.map_err(lost)?;
        let answer = successful(answer).await?;
        let body = read(answer, MAX_ANSWER_BYTES).await?;
        serde_json::from_slice(&body)
            .map_err(|_| MediaError::unavailable("Cloudinary's answer can't be read"))
    }

    pub(super) async fn read(&self, name: &str, sha256: &str) -> Result<ObjectReader, MediaError> {
        let parts = within(self.limits.transfer, self.download(name)).await;
        let opened = ObjectReader::open(name, sha256, self.heed(parts)?, self.limits.transfer);
        self.heed(opened.await)
    }

    /// A call that failed casts doubt on the last ping.
    fn heed<T>(&self, called: Result<T, MediaError>) -> Result<T, MediaError> {
        let failed = matches!(
            called,
            Err(MediaError::Unavailable { .. } | MediaError::Denied { .. })
        );
        if let Some(ping) = self.good_ping().as_mut().filter(|_| failed) {
            ping.in_doubt = true;
        }
        called
    }

    async fn download(&self, name: &str) -> Result<Parts, MediaError> {
        let public_id = public_id(name);
        let parameters = self.signed(vec![
            ("public_id", public_id.clone()),
            ("type", TYPE.to_owned()),
        ]);
        let request = self.client.get(format!("{}/raw/download", self.base));
        let answer = request.query(&parameters).send().await.map_err(lost)?;
        if answer.status() == StatusCode::NOT_FOUND {
            let message = message(answer).await;
            return Err(if message.contains(&public_id) {
                MediaError::missing(name)
            } else {
                refused(StatusCode::NOT_FOUND, &message)
            });
        }
        let parts = try_unfold(successful(answer).await?, |mut answer| async {
            let part = answer.chunk().await.map_err(lost)?;
            Ok(part.map(|part| (part, answer)))
        });
        Ok(parts.boxed())
    }

    pub(super) async fn ping(&self) -> Result<(), MediaError> {
        let last = *self.good_ping();
        let again_after = match last {
            Some(GoodPing { in_doubt: true, .. }) => PING_IN_DOUBT_AFTER,
            _ => PING_AGAIN_AFTER,
        };
        if last.is_some_and(|ping| ping.at.elapsed() < again_after) {
            return Ok(());
        }
        within(self.limits.transfer, async {
            let request = self.client.get(format!("{}/ping", self.base));
            let request = request.basic_auth(&self.key, Some(self.secret.expose()));
            successful(request.send().await.map_err(lost)?).await?;
            Ok(())
        })
        .await?;
        *self.good_ping() = Some(GoodPing {
            at: Instant::now(),
            in_doubt: false,
        });
        Ok(())
    }

    fn good_ping(&self) -> std::sync::MutexGuard<'_, Option<GoodPing>> {
        self.good_ping
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the time, whose signature Cloudinary takes for an hour, the signature, and the key.
    fn signed(&self, mut parameters: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
        let now_s = self.clock.now().as_second();
        parameters.push(("timestamp", now_s.to_string()));
        let signature = signature(&parameters, self.secret.expose());
        parameters.push(("signature", signature));
        parameters.push(("api_key", self.key.clone()));
        parameters
    }
}

/// The signature as Cloudinary's "Generating authentication signatures" defines it, with SHA-256: all
/// parameters but file, `cloud_name`, `resource_type` and `api_key`, sorted, then the secret. No value
/// of ours has an `&`.
fn signature(parameters: &[(&str, String)], secret: &str) -> String {
    let mut pairs: Vec<_> = parameters
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.sort();
    hex::encode(Sha256::digest(format!("{}{secret}", pairs.join("&"))))
}

/// The asset of an object: `uploads/invoice-…` of an invoice's, `uploads/other/…` of any other, so that
/// each asset belongs to one name, and the name can be told from it.
fn public_id(name: &str) -> String {
    name.strip_prefix("inv_").map_or_else(
        || format!("uploads/other/{name}"),
        |of_invoice| format!("uploads/invoice-{of_invoice}"),
    )
}

async fn successful(answer: Response) -> Result<Response, MediaError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    Err(refused(status, &message(answer).await))
}

fn refused(status: StatusCode, message: &str) -> MediaError {
    let reason = one_line(&format!(
        "Cloudinary answered {}: {message}",
        status.as_u16()
    ));
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => MediaError::denied(reason),
        _ => MediaError::unavailable(reason),
    }
}

/// What Cloudinary says about an error.
async fn message(answer: Response) -> String {
    let body = read(answer, MAX_ANSWER_BYTES).await;
    let refused = body
        .ok()
        .and_then(|body| serde_json::from_slice(&body).ok());
    refused.map_or_else(
        || "no reason given".to_owned(),
        |refused: Refused| refused.error.message,
    )
}

async fn read(mut answer: Response, max_bytes: usize) -> Result<Vec<u8>, MediaError> {
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(lost)? {
        if body.len() + part.len() > max_bytes {
            return Err(MediaError::unavailable("Cloudinary's answer is too long"));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// An error on the way, told with its causes but without the address, which holds a signature.
fn lost(error: reqwest::Error) -> MediaError {
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        reason = format!("{reason}: {inner}");
        cause = inner.source();
    }
    MediaError::unavailable(one_line(&reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_cloudinarys_own_libraries_compute() {
        // The example of the documentation, whose SHA-1 there is bfd09f95…, with SHA-256.
        let documented = [
            ("timestamp", "1315060510".to_owned()),
            ("public_id", "sample_image".to_owned()),
            ("eager", "w_400,h_300,c_pad|w_260,h_200,c_crop".to_owned()),
        ];
        assert_eq!(
            signature(&documented, "abcd"),
            "cc927e1290f9e3ae4c1a741eda21a4630b4ce80f9ce0bc0296337d25cf40f91e"
        );
        // From the tests of Cloudinary's libraries for Python, PHP, JavaScript and .NET.
        let published = [
            ("cloud_name", "dn6ot3ged".to_owned()),
            ("timestamp", "1568810420".to_owned()),
            ("username", "user@cloudinary.com".to_owned()),
        ];
        assert_eq!(
            signature(&published, "hdcixPpR2iKERPwqvH6sHdK9cyac"),
            "45ddaa4fa01f0c2826f32f669d2e4514faf275fe6df053f1a150e7beae58a3bd"
        );
    }

    #[test]
    fn each_name_has_an_asset_of_its_own() {
        assert_eq!(
            public_id("inv_0197/document-1.pdf"),
            "uploads/invoice-0197/document-1.pdf"
        );
        assert_eq!(public_id("invoice-1.pdf"), "uploads/other/invoice-1.pdf");
        assert_eq!(public_id("other/a.pdf"), "uploads/other/other/a.pdf");
    }
}
