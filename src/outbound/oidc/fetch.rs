//! Small JSON documents from the issuer, bounded in time and size.

use reqwest::{Client, StatusCode, Url};
use serde::de::DeserializeOwned;

use super::{ANSWER_TIME, IssuerError};

/// Far more than any issuer publishes.
const MAX_BYTES: usize = 1024 * 1024;

pub(super) fn client() -> Result<Client, IssuerError> {
    Client::builder()
        .timeout(ANSWER_TIME)
        .connect_timeout(ANSWER_TIME)
        // What is asked for stands where the issuer says, or nowhere.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| IssuerError::Unusable(words(&error)))
}

pub(super) async fn json<T: DeserializeOwned>(
    client: &Client,
    url: &Url,
) -> Result<T, IssuerError> {
    let unreachable = |error: reqwest::Error| IssuerError::Unreachable(words(&error));
    let request = client.get(url.clone());
    let mut answer = request
        .header("accept", "application/json")
        .send()
        .await
        .map_err(unreachable)?;
    let status = answer.status();
    if status != StatusCode::OK {
        let text = format!("{url} answered {status}");
        return Err(if status.is_server_error() {
            IssuerError::Unreachable(text)
        } else {
            IssuerError::Unusable(text)
        });
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(IssuerError::Unusable(format!(
                "{url} answered with more than {MAX_BYTES} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|error| {
        IssuerError::Unusable(format!(
            "{url} did not answer with what is expected: {error}"
        ))
    })
}

/// The error with its causes: the outermost says little.
fn words(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
