//! Objects in a bucket of S3, or of a server that speaks its protocol.

use std::fmt;

use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, BackoffConfig, ClientOptions, Error, GetOptions, ObjectStore,
    PutOptions, RetryConfig,
};
use tokio::time::Duration;

use super::address::Address;
use super::reader::Parts;
use super::{
    Bytes, MediaError, ObjectReader, StoredObject, TimeLimits, content_type, one_line, within,
};
use crate::config::Secret;

/// What an address may have after its `?`.
const OPTIONS: &[&str] = &[
    "endpoint",
    "region",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "path_style",
];
const DEFAULT_REGION: &str = "us-east-1";
/// Written at the start and read by every ping. No object of ours begins with a dot.
const PING: &str = ".ping";
/// Repeats of one request that the server was too busy for.
const MAX_RETRIES: usize = 5;

/// Objects in a bucket, under a prefix.
#[derive(Clone)]
pub struct S3Media {
    store: AmazonS3,
    prefix: String,
    limits: TimeLimits,
}

impl fmt::Debug for S3Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("S3Media")
    }
}

impl S3Media {
    /// The bucket that `s3://bucket/prefix?endpoint=…&region=…&access_key_id=…&secret_access_key=…`
    /// names. Without a key in it, the environment is asked as Amazon's own tools do it (`AWS_…`).
    pub fn new(address: &Secret, limits: TimeLimits) -> Result<Self, MediaError> {
        let address = Address::parse(address.expose(), OPTIONS)?;
        let key = address.option("access_key_id");
        let secret = address.option("secret_access_key");
        let mut builder = match (key, secret) {
            (Some(key), Some(secret)) => AmazonS3Builder::new()
                .with_region(DEFAULT_REGION)
                .with_access_key_id(key)
                .with_secret_access_key(secret),
            (None, None) => AmazonS3Builder::from_env(),
            _ => {
                return Err(MediaError::address(
                    "it has one of access_key_id and secret_access_key, and needs both or none",
                ));
            }
        };
        if let Some(token) = address.option("session_token") {
            builder = builder.with_token(token);
        }
        if let Some(region) = address.option("region") {
            builder = builder.with_region(region);
        }
        let client = ClientOptions::new()
            .with_connect_timeout(limits.connect)
            // For each read: how long a whole object takes is its reader's affair.
            .with_timeout_disabled()
            .with_read_timeout(limits.transfer);
        builder = located(builder, &address, client)?
            .with_bucket_name(&address.host)
            // The server compares it with what arrived before it keeps it.
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(retries(limits));
        let store = builder
            .build()
            .map_err(|error| MediaError::address(one_line(&error.to_string())))?;
        Ok(Self {
            store,
            prefix: address.path,
            limits,
        })
    }

    fn path(&self, name: &str) -> Path {
        Path::from(format!("{}/{name}", self.prefix))
    }

    pub(super) async fn put(&self, name: &str, bytes: Bytes) -> Result<StoredObject, MediaError> {
        let kind = [(Attribute::ContentType, content_type(name))];
        let options = PutOptions::from(Attributes::from_iter(kind));
        let (path, object) = (self.path(name), StoredObject::of(&bytes));
        within(self.limits.transfer, async {
            let put = self.store.put_opts(&path, bytes.into(), options).await;
            put.map_err(|error| failed(&error))?;
            Ok(object)
        })
        .await
    }

    pub(super) async fn read(&self, name: &str, sha256: &str) -> Result<ObjectReader, MediaError> {
        let parts = within(self.limits.transfer, self.parts(name)).await?;
        ObjectReader::open(name, sha256, parts, self.limits.transfer).await
    }

    /// As the server sends them; the library reads on where a connection was cut.
    async fn parts(&self, name: &str) -> Result<Parts, MediaError> {
        let found = self
            .store
            .get_opts(&self.path(name), GetOptions::default())
            .await
            .map_err(|error| not_found(name, &error))?;
        Ok(found.into_stream().map_err(|error| failed(&error)).boxed())
    }

    /// Writes what the pings read, so that a missing right to write is known before the first invoice.
    pub(super) async fn open(&self) -> Result<(), MediaError> {
        self.put(PING, Bytes::new()).await?;
        self.ping().await
    }

    pub(super) async fn ping(&self) -> Result<(), MediaError> {
        match within(self.limits.transfer, self.parts(PING)).await {
            Err(MediaError::Missing { .. }) => Err(MediaError::unavailable(format!(
                "the object {PING}, which the start wrote, is gone"
            ))),
            read => read.map(drop),
        }
    }
}

/// Where the bucket is. With `path_style=false` its name is the first part of the host's.
fn located(
    builder: AmazonS3Builder,
    address: &Address,
    client: ClientOptions,
) -> Result<AmazonS3Builder, MediaError> {
    let hosted = match address.option("path_style") {
        None | Some("true") => false,
        Some("false") => true,
        Some(_) => {
            return Err(MediaError::address(
                "its option path_style is true or false",
            ));
        }
    };
    let builder = builder.with_virtual_hosted_style_request(hosted);
    let Some(endpoint) = address.server("endpoint")? else {
        return Ok(builder.with_client_options(client));
    };
    let endpoint = match endpoint.split_once("://") {
        Some((scheme, host)) if hosted => format!("{scheme}://{}.{host}", address.host),
        _ => endpoint.to_owned(),
    };
    let client = client.with_allow_http(endpoint.starts_with("http://"));
    Ok(builder.with_client_options(client).with_endpoint(endpoint))
}

fn retries(limits: TimeLimits) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(3),
            base: 2.0,
        },
        max_retries: MAX_RETRIES,
        retry_timeout: limits.transfer,
    }
}

fn not_found(name: &str, error: &Error) -> MediaError {
    match error {
        Error::NotFound { .. } if code(&error.to_string()) != Some("NoSuchBucket") => {
            MediaError::missing(name)
        }
        _ => failed(error),
    }
}

fn failed(error: &Error) -> MediaError {
    let text = error.to_string();
    // The whole answer to a refused signature repeats the request, so only its code is told.
    let said = code(&text).map(|code| format!("S3 answered {}", one_line(code)));
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            MediaError::denied(said.unwrap_or_else(|| "S3 refused the credentials".to_owned()))
        }
        _ => MediaError::unavailable(said.unwrap_or_else(|| one_line(&text))),
    }
}

/// The code of an S3 error, such as `NoSuchBucket`.
fn code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(code, _)| code)
}

#[cfg(test)]
mod tests {
    use object_store::aws::AmazonS3ConfigKey;

    use super::*;

    #[test]
    fn the_buckets_name_is_in_the_path_or_in_the_host() {
        let located_at = |options: &str| {
            let address = Address::parse(&format!("s3://bucket/p?{options}"), OPTIONS).unwrap();
            let builder = located(AmazonS3Builder::new(), &address, ClientOptions::new()).unwrap();
            [
                AmazonS3ConfigKey::Endpoint,
                AmazonS3ConfigKey::VirtualHostedStyleRequest,
            ]
            .map(|key| builder.get_config_value(&key).unwrap_or_default())
        };
        let at = "endpoint=https://s3.example.com:9000/";
        assert_eq!(located_at(at), ["https://s3.example.com:9000", "false"]);
        assert_eq!(
            located_at(&format!("{at}&path_style=false")),
            ["https://bucket.s3.example.com:9000", "true"]
        );
        assert_eq!(located_at("path_style=false"), ["", "true"]);
        assert_eq!(located_at("region=eu-central-1"), ["", "false"]);
    }
}
