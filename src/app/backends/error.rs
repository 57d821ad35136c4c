//! Why a backend can't be used, and the patience before that is said.

use std::fmt;

use tokio::time::{Duration, Instant, sleep};

use crate::config::Config;

/// How long to wait before a backend that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A backend that can't be used, in a line for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendError {
    /// What it is for, and what it is: `invoices (MongoDB)`.
    pub backend: &'static str,
    /// Where it should be; without a password.
    pub address: String,
    pub reason: String,
}

impl std::error::Error for BackendError {}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            backend,
            address,
            reason,
        } = self;
        write!(f, "{backend} at {address}: {reason}")
    }
}

/// Every backend that can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendErrors(pub Vec<BackendError>);

impl std::error::Error for BackendErrors {}

impl fmt::Display for BackendErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a backend can't be used:")?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

/// Tries to reach a backend until it answers or the patience is over; then with its last words.
pub(super) async fn patiently<T, E, F>(
    config: &Config,
    backend: &'static str,
    address: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, BackendError>
where
    E: fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + Duration::from_secs(config.server.start_timeout_s);
    loop {
        let error = match attempt().await {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        if Instant::now() + ASK_AGAIN >= deadline {
            return Err(BackendError {
                backend,
                address: address.to_owned(),
                reason: error.to_string(),
            });
        }
        tracing::warn!(backend, address, %error, "a backend does not answer yet");
        sleep(ASK_AGAIN).await;
    }
}

/// A backend's address without user, password and options, of which some are secrets.
pub(super) fn shown(url: &str) -> String {
    let url = url.split('?').next().unwrap_or(url);
    match (url.split_once("://"), url.rfind('@')) {
        (Some((scheme, _)), Some(at)) => format!("{scheme}://{}", &url[at + 1..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_is_secret() {
        assert_eq!(shown("postgres://u:p@h:5/d?x=1"), "postgres://h:5/d");
        assert_eq!(
            shown("postgres://h/d?user=u&password=p@q"),
            "postgres://h/d"
        );
        assert_eq!(shown("kafka://h:1,i:2"), "kafka://h:1,i:2");
        assert_eq!(shown("smtp://u@x:p@h:25"), "smtp://h:25");
    }
}
