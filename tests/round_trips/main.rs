//! How often a request waits for each backend: proxies count what begins while it is under way.
//!
//! Kafka has no proxy: its clients go to the address that the brokers tell them. No request speaks to
//! it; the exporter does, which reads the feed.

#![expect(clippy::expect_used, reason = "a test ends where it can't go on")]

mod counting_proxy;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use counting_proxy::CountingProxy;
use faktor::clock::Clock;
use faktor::config::Secret;
use serde_json::json;
use support::backends::backend;
use support::{TestApp, profile};
use tokio::time::{Instant, sleep};

/// Requests of each kind. What a heartbeat or an expired cache adds to some is not in the median.
const REQUESTS: usize = 21;
const WARM_UP: usize = 5;

/// The node is quiet when no proxy saw anything for so long: the feed is told of a commit after 5 ms.
const QUIET: Duration = Duration::from_millis(40);
const PATIENCE: Duration = Duration::from_secs(10);

/// Round trips to each backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trips {
    postgres: u64,
    mongo: u64,
    redis: u64,
}

struct Node {
    app: TestApp,
    postgres: CountingProxy,
    mongo: CountingProxy,
    redis: CountingProxy,
}

impl Node {
    /// `None` when a server is missing: then the test is skipped.
    async fn start() -> Option<Self> {
        for server in ["POSTGRES", "MONGO", "REDIS", "KAFKA", "SMTP", "SMTP_API"] {
            backend(server)?;
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut config = support::config(&dir);
        profile::make_real(&mut config);
        // What runs by the clock is not what requests cost.
        config.actors.sweep_interval_ms = 60_000;
        profile::prepare(&config).await;
        let (postgres, relational) =
            CountingProxy::before(config.storage.relational.expose()).await;
        let (mongo, invoices) = CountingProxy::before(config.storage.invoices.expose()).await;
        let (redis, cache) = CountingProxy::before(config.cache.url.expose()).await;
        config.storage.relational = Secret::new(relational);
        // Otherwise the driver would go to the address by which the server knows itself.
        config.storage.invoices = Secret::new(format!("{invoices}?directConnection=true"));
        config.cache.url = Secret::new(cache);
        Some(Self {
            app: TestApp::start_in(dir, config, Clock::System).await,
            postgres,
            mongo,
            redis,
        })
    }

    fn begun(&self) -> Trips {
        Trips {
            postgres: self.postgres.begun(),
            mongo: self.mongo.begun(),
            redis: self.redis.begun(),
        }
    }

    /// Waits until what earlier requests left to do in the background is done.
    async fn until_quiet(&self) -> Trips {
        let deadline = Instant::now() + PATIENCE;
        let mut before = self.begun();
        loop {
            sleep(QUIET).await;
            let now = self.begun();
            if now == before {
                return now;
            }
            assert!(Instant::now() < deadline, "never quiet: {before:?} {now:?}");
            before = now;
        }
    }

    /// What began from the request's sending to its answer.
    async fn trips_of<T>(&self, request: impl Future<Output = T>) -> (Trips, T) {
        let before = self.until_quiet().await;
        let answer = request.await;
        let after = self.begun();
        let trips = Trips {
            postgres: after.postgres - before.postgres,
            mongo: after.mongo - before.mongo,
            redis: after.redis - before.redis,
        };
        (trips, answer)
    }

    async fn finalize(&self, id: &str) {
        let path = format!("/v1/invoices/{id}/finalize");
        let invoice = self.app.post(&path, json!({})).await.expect(200);
        assert!(invoice["number"].is_string(), "{invoice}");
    }
}

/// For each backend by itself.
fn median(measured: &[Trips]) -> Trips {
    let of = |count: fn(&Trips) -> u64| {
        let mut counts: Vec<u64> = measured.iter().map(count).collect();
        counts.sort_unstable();
        counts[counts.len() / 2]
    };
    Trips {
        postgres: of(|trips| trips.postgres),
        mongo: of(|trips| trips.mongo),
        redis: of(|trips| trips.redis),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_waits_once_and_a_finalize_three_times_for_backends() {
    let Some(node) = Node::start().await else {
        return;
    };
    for _ in 0..WARM_UP {
        let id = node.app.draft().await;
        node.finalize(&id).await;
    }

    let (mut creates, mut drafts) = (Vec::new(), Vec::new());
    for _ in 0..REQUESTS {
        let (trips, id) = node.trips_of(node.app.draft()).await;
        creates.push(trips);
        drafts.push(id);
    }
    let mut finalizes = Vec::new();
    for id in &drafts {
        finalizes.push(node.trips_of(node.finalize(id)).await.0);
    }
    let (create, finalize) = (median(&creates), median(&finalizes));
    println!("create {create:?}, finalize {finalize:?}");
    println!("each create: {creates:?}");
    println!("each finalize: {finalizes:?}");

    assert!(create.mongo <= 1, "{creates:?}");
    assert_eq!((create.postgres, create.redis), (0, 0), "{creates:?}");
    let all = finalize.postgres + finalize.mongo + finalize.redis;
    assert!(all <= 3, "{finalizes:?}");
    node.app.stop().await;
}
