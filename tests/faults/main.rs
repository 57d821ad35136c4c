//! Every backend, one at a time, becomes slow, is cut off in mid-answer, goes away and, where it is a
//! server that keeps what it is given, is killed, while 200 invoices are made, issued, mailed and paid;
//! then it is back. What was acknowledged is there, every
//! invoice ends where it should, with one charge and one number.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test ends where it can't go on, and says what it saw"
)]

#[path = "../events_kafka/broker.rs"]
#[expect(dead_code, reason = "a fixture of which this suite needs a part")]
mod broker;
mod check;
mod load;
mod own_server;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use faktor::clock::Clock;
use faktor::config::{Config, Secret};
use load::Load;
use own_server::OwnServer;
use support::backends::backend;
use support::fault_proxy::{Fault, FaultProxy, host_of};
use support::{TestApp, profile};
use tokio::time::{Instant, sleep};

/// What the way to a server does to the node, one after the other.
const FAULTS: [Fault; 3] = [
    Fault::Delay(Duration::from_secs(2)),
    Fault::CutMidAnswer,
    Fault::Refuse,
];
/// How long each fault lasts.
const FAULT: Duration = Duration::from_secs(4);

/// What a node and its clients may take up besides, in the unoptimized build.
const MAX_GROWTH_MIB: u64 = 256;

/// Memory of this process, in MiB.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .expect("a number")
        / 1024
}

/// Whether requests can do without the backend.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needed {
    /// Then no request may fail while it is away.
    No,
    Yes,
}

/// A server with a proxy in front of it.
struct Way {
    server: String,
    proxy: FaultProxy,
    /// The server itself, when the test may kill it.
    own: Option<OwnServer>,
}

impl Way {
    /// None when a server is missing: then the test is skipped.
    async fn to(name: &str) -> Option<Self> {
        for other in ["POSTGRES", "MONGO", "REDIS", "KAFKA", "SMTP", "SMTP_API"] {
            backend(other)?;
        }
        let mut server = backend(name)?;
        if name == "KAFKA" {
            let (listen, behind) = (backend("KAFKA_FAULT")?, backend("KAFKA_BEHIND_FAULT")?);
            let proxy = FaultProxy::at(&listen, &behind).await;
            let own = None;
            return Some(Self { server, proxy, own });
        }
        let mut own = None;
        if matches!(name, "POSTGRES" | "MONGO" | "REDIS") {
            let started = OwnServer::start(name).await;
            server = started.url();
            own = Some(started);
        }
        let proxy = FaultProxy::before(host_of(&server)).await;
        Some(Self { server, proxy, own })
    }

    fn url(&self) -> String {
        self.proxy.url(&self.server)
    }

    fn secret(&self) -> Secret {
        Secret::new(self.url())
    }
}

/// Runs the load on a node that reaches one backend by `way`.
async fn survives(way: Way, needed: Needed, detour: impl FnOnce(&mut Config, &Way)) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut settings = support::config(&dir);
    profile::make_real(&mut settings);
    settings.storage.connect_timeout_ms = 2_000;
    settings.storage.statement_timeout_ms = 6_000;
    settings.effects.max_attempts = 60;
    settings.effects.max_delay_ms = 1_000;
    settings.payments.timeout_ms = 5_000;
    profile::prepare(&settings).await;
    detour(&mut settings, &way);
    let topic = broker::Topic {
        prefix: settings.events.topic_prefix.clone(),
        ..broker::Topic::new().expect("Kafka")
    };
    let app = TestApp::start_in(dir, settings, Clock::System).await;

    let before = resident_mib();
    let mut most = before;
    let load = Load::start(&app);
    for fault in FAULTS {
        load.until_some_are_under_way().await;
        way.proxy.set(fault);
        sleep(FAULT).await;
        most = most.max(resident_mib());
        if needed == Needed::No && fault == Fault::Refuse {
            let health = app.get("/health/readiness").await.expect(200);
            println!("readiness meanwhile: {health}");
        }
        way.proxy.set(Fault::Pass);
    }
    if let Some(own) = &way.own {
        load.until_some_are_under_way().await;
        own.kill().await;
        own.start_again().await;
    }
    let healed = Instant::now();
    let outcome = load.finish().await;
    check::all_is_well(&app, &outcome, &topic).await;
    println!(
        "{} requests, {} of them answered 5xx or 424; well {} ms after the last fault; \
         {before} MiB before, {most} MiB at most",
        outcome.requests,
        outcome.failures,
        healed.elapsed().as_millis()
    );
    assert!(
        most < before + MAX_GROWTH_MIB,
        "{before} MiB grew to {most} MiB"
    );
    if needed == Needed::No {
        assert_eq!(
            outcome.failures, 0,
            "requests failed that can do without it"
        );
    }
    app.stop().await;
}

macro_rules! comes_and_goes {
    ($($test:ident: $name:literal, $needed:expr, $detour:expr;)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            if let Some(way) = Way::to($name).await {
                survives(way, $needed, $detour).await;
            }
        })+
    };
}

comes_and_goes! {
    mongodb_with_the_invoices: "MONGO", Needed::Yes, |config, way| {
        config.storage.invoices = way.secret();
    };
    postgresql_with_users_and_numbers: "POSTGRES", Needed::Yes, |config, way| {
        config.storage.relational = way.secret();
    };
    postgresql_with_everything: "POSTGRES", Needed::Yes, |config, way| {
        config.storage.relational = way.secret();
        config.storage.invoices = Secret::default();
    };
    gridfs_with_the_documents: "MONGO", Needed::No, |config, way| {
        config.storage.documents = way.secret();
    };
    redis: "REDIS", Needed::No, |config, way| {
        config.cache.url = way.secret();
    };
    kafka: "KAFKA", Needed::No, |config, way| {
        config.events.url = Secret::new(format!("kafka://{}", way.proxy.address()));
    };
    smtp: "SMTP", Needed::No, |config, way| {
        config.mail.url = Secret::new(format!("{}?tls=none", way.url()));
    };
    stripe: "STRIPE", Needed::Yes, |config, way| {
        // `pay` itself needs Stripe, and says so with 424.
        config.payments.provider = faktor::config::PaymentProvider::Stripe;
        config.payments.api_url = way.url();
        config.payments.secret_key = Secret::new("sk_test_faults_0123456789".to_owned());
        config.payments.webhook_secret = Secret::new("whsec_faults_0123456789".to_owned());
    };
}
