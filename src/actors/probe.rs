//! What a node depends on, and how it asks whether that is there.

use std::fmt;
use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use serde::Serialize;
use tokio::time::{Duration, timeout};

/// A backend that does not say how it is within this time is not well. Balancers often wait 2 s for
/// an answer, and what requests can do without must not look like a node that hangs.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// The state of one thing this node depends on.
#[derive(Debug, Clone, Serialize)]
pub struct Dependency {
    pub name: String,
    pub ok: bool,
    /// Without it no request can be answered; without another, requests go on and what it does is
    /// made up for later.
    pub required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

type Check = dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync;

/// A way to ask after one backend. Cheap to clone.
#[derive(Clone)]
pub struct Probe {
    name: &'static str,
    required: bool,
    check: Arc<Check>,
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Probe({})", self.name)
    }
}

impl Probe {
    /// Asks after what no request can do without.
    pub fn required<F, E>(name: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        Self::new(name, true, check)
    }

    /// Asks after what requests can do without for a while.
    pub fn optional<F, E>(name: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        Self::new(name, false, check)
    }

    fn new<F, E>(
        name: &'static str,
        required: bool,
        check: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        let check = Arc::new(move || -> BoxFuture<'static, Result<(), String>> {
            let state = check();
            Box::pin(async move { state.await.map_err(|error| error.to_string()) })
        });
        Self {
            name,
            required,
            check,
        }
    }

    async fn ask(&self) -> Dependency {
        let state = timeout(PATIENCE, (self.check)()).await;
        let state =
            state.unwrap_or_else(|_| Err(format!("no answer within {} ms", PATIENCE.as_millis())));
        dependency(self.name, self.required, state)
    }
}

/// Asks after all at once.
pub(super) async fn ask_all(probes: &[Probe]) -> Vec<Dependency> {
    join_all(probes.iter().map(Probe::ask)).await
}

pub(super) fn dependency(name: &str, required: bool, state: Result<(), String>) -> Dependency {
    Dependency {
        name: name.to_owned(),
        ok: state.is_ok(),
        required,
        detail: state.err(),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn what_hangs_is_named_before_a_balancer_has_lost_its_patience() {
        let silent = Probe::optional("mail", pending::<Result<(), String>>);
        let well = Probe::required("store", async || Ok::<(), String>(()));
        let begun = Instant::now();
        let states = ask_all(&[silent, well]).await;
        assert!(begun.elapsed() < Duration::from_secs(2));
        let told: Vec<_> = states
            .iter()
            .map(|state| (state.name.as_str(), state.ok, state.detail.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("mail", false, Some("no answer within 1500 ms")),
                ("store", true, None)
            ]
        );
    }
}
