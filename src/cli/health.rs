//! `faktor health`: asks a node whether it takes requests, for health checks where there is no curl.

use std::time::Duration;

use reqwest::redirect::Policy;
use serde::Deserialize;

use super::Failure;
use crate::config::Config;

/// A node that does not answer within this time is not well.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most that is read of an answer, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// What `GET /health/readiness` says, as far as it is shown here.
#[derive(Deserialize)]
struct Readiness {
    status: String,
    #[serde(default)]
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    ok: bool,
}

/// The status of the node at `url`, or at the configured address; an error unless it takes requests.
pub(super) async fn run(url: Option<&str>, config: &Config) -> Result<String, Failure> {
    let url = match url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{}", crate::app::reachable(config.server.listen)),
    };
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(Policy::none())
        .no_proxy()
        .build()?;
    let asked = client.get(format!("{url}/health/readiness")).send().await;
    let mut response = asked.map_err(|error| {
        if error.is_builder() {
            format!("{url} is no web address such as http://127.0.0.1:3300")
        } else if error.is_timeout() {
            format!("{url} does not answer within {} s", PATIENCE.as_secs())
        } else {
            format!("{url} does not answer: {}", innermost(&error))
        }
    })?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST_ANSWER {
            return Err(format!("{url} is no node of Faktor: its answer is too long").into());
        }
    }
    let readiness: Readiness = serde_json::from_slice(&body).map_err(|_| {
        format!(
            "{url} is no node of Faktor: it answered {}",
            response.status()
        )
    })?;
    let shown = shown(&readiness);
    if response.status().is_success() {
        Ok(shown)
    } else {
        Err(format!("{url} takes no requests: {shown}").into())
    }
}

/// `ok`, or `unavailable (down: store, mail)`.
fn shown(readiness: &Readiness) -> String {
    let down: Vec<_> = readiness
        .dependencies
        .iter()
        .filter(|dependency| !dependency.ok)
        .map(|dependency| dependency.name.as_str())
        .collect();
    if down.is_empty() {
        readiness.status.clone()
    } else {
        format!("{} (down: {})", readiness.status, down.join(", "))
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => innermost(source),
        None => error.to_string(),
    }
}
