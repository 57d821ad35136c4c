//! What a node says of its backends while it runs.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::support::TestApp;

/// Some are only asked about now and then: an OpenID Connect issuer that was away once a minute.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A backend as readiness shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) name: &'static str,
    /// Whether the node takes no requests without it.
    pub(crate) required: bool,
}

/// Waits until readiness names a backend that is away: with 503 if it is required, else with 200.
pub(crate) async fn names(app: &TestApp, shown: Shown) {
    let status = if shown.required { 503 } else { 200 };
    let told = until(app, &format!("{shown:?} named as not well"), |told| {
        told.status == status && told.not_well().any(|it| it == shown.name)
    })
    .await;
    let dependency = told
        .dependencies()
        .iter()
        .find(|it| it["name"] == shown.name);
    let dependency = dependency.expect("it is named");
    assert_eq!(dependency["required"], shown.required, "{dependency}");
    let detail = dependency["detail"].as_str().unwrap_or_default();
    assert!(!detail.is_empty(), "no reason: {dependency}");
}

/// Waits until readiness has nothing to say against any backend.
pub(crate) async fn is_well(app: &TestApp) {
    until(app, "well again", |told| {
        told.status == 200 && told.not_well().next().is_none()
    })
    .await;
}

#[derive(Debug)]
struct Told {
    status: u16,
    body: Value,
}

impl Told {
    fn dependencies(&self) -> &[Value] {
        self.body["dependencies"].as_array().expect("a list")
    }

    fn not_well(&self) -> impl Iterator<Item = &str> {
        let not_well = self.dependencies().iter().filter(|it| it["ok"] == false);
        not_well.filter_map(|it| it["name"].as_str())
    }
}

async fn until(app: &TestApp, what: &str, holds: impl Fn(&Told) -> bool) -> Told {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = app.get("/health/readiness").await;
        let told = Told {
            status: answer.status.as_u16(),
            body: answer.json(),
        };
        if holds(&told) {
            return told;
        }
        assert!(Instant::now() < deadline, "not {what} in time: {told:?}");
        sleep(LOOK_EVERY).await;
    }
}
