//! Every backend, one at a time, becomes slow, is cut off in mid-answer, goes away and, where it is a
//! server and no double, is killed, while 200 invoices are made, issued, mailed and paid; then it is
//! back. What was acknowledged is there, every invoice ends where it should, with one charge and one
//! number, and readiness has said what was away.

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
#[path = "../media_contract/cloudinary_double.rs"]
#[expect(dead_code, reason = "a fixture of which this suite needs a part")]
mod cloudinary_double;
#[path = "../oidc/issuer.rs"]
#[expect(dead_code, reason = "a fixture of which this suite needs a part")]
mod issuer;
mod load;
#[path = "../support/own_server.rs"]
mod own_server;
mod readiness;
#[path = "../media_contract/s3_double.rs"]
#[expect(dead_code, reason = "a fixture of which this suite needs a part")]
mod s3_double;
mod sign_on;
#[path = "../support/mod.rs"]
mod support;
mod way;

use std::time::Duration;

use check::{Books, STRIPE_KEY};
use faktor::clock::Clock;
use faktor::config::{Config, PaymentProvider, Secret};
use load::{INVOICES, Load, Made};
use readiness::Shown;
use support::fault_proxy::Fault;
use support::{TestApp, profile};
use tokio::time::{Instant, sleep};
use way::Way;

/// What the way to a server does to the node, one after the other, and how long.
const FAULTS: [(Fault, Duration); 3] = [
    (Fault::Delay(Duration::from_secs(2)), Duration::from_secs(3)),
    (Fault::CutMidAnswer, Duration::from_secs(2)),
    (Fault::Refuse, Duration::from_secs(5)),
];
/// Shorter than the longest fault: a node whose database is away loses its lease, and takes it again.
const LEASE_TTL_MS: u64 = 5_000;
/// The faults, and the server's death.
const PHASES: usize = FAULTS.len() + 1;

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

/// Which requests can't do without the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needed {
    /// None: then no request may fail while it is away.
    No,
    /// `pay` alone, which says so with 424.
    ToPay,
    Yes,
}

/// Runs the load on a node that reaches one backend by `way`.
async fn survives(way: Way, shown: Shown, needed: Needed, detour: impl FnOnce(&mut Config, &Way)) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut settings = settings(&dir);
    profile::prepare(&settings).await;
    detour(&mut settings, &way);
    let books = Books::of(&settings, &way);
    let app = TestApp::start_in(dir, settings, Clock::System).await;

    let before = resident_mib();
    let load = Load::start(&app, |number| {
        way.sign_on()
            .map_or_else(|| app.token.clone(), |sign_on| sign_on.token(number))
    });
    let most = harm(&app, &load, &way, shown).await.max(before);
    let healed = Instant::now();
    let made = load.finish().await;
    let finished = healed.elapsed();
    check::all_is_well(&app, &made, &books).await;
    readiness::is_well(&app).await;
    if let Some(sign_on) = way.sign_on() {
        sign_on.is_asked_again_when_it_is_back(&app).await;
    }
    println!(
        "{}: {} requests, {} of them answered 5xx or 424; after the last fault the clients were done in \
         {} ms, and all was checked after {} ms; {before} MiB before, {most} MiB at most",
        shown.name,
        made.requests,
        made.failures.len(),
        finished.as_millis(),
        healed.elapsed().as_millis()
    );
    assert!(
        most < before + MAX_GROWTH_MIB,
        "{before} MiB grew to {most} MiB"
    );
    only_what_needed_it_failed(&made, needed);
    app.stop().await;
}

fn settings(dir: &tempfile::TempDir) -> Config {
    let mut settings = support::config(dir);
    profile::make_real(&mut settings);
    settings.storage.connect_timeout_ms = 2_000;
    settings.storage.statement_timeout_ms = 6_000;
    settings.effects.max_attempts = 60;
    settings.effects.max_delay_ms = 1_000;
    settings.payments.timeout_ms = 5_000;
    settings
}

/// One fault after the other, each in the middle of invoices; the most memory meanwhile, in MiB.
async fn harm(app: &TestApp, load: &Load, way: &Way, shown: Shown) -> u64 {
    let mut most = 0;
    if let Some(own) = way.own() {
        in_the_middle(app, load).await;
        own.kill().await;
        own.start_again().await;
        most = most.max(resident_mib());
    }
    for (fault, lasts) in FAULTS {
        in_the_middle(app, load).await;
        way.proxy.set(fault);
        tokio::join!(sleep(lasts), async {
            if fault == Fault::Refuse {
                what_is_away_is_told(app, way, shown).await;
            }
        });
        most = most.max(resident_mib());
        way.proxy.set(Fault::Pass);
    }
    most
}

/// Waits until every backend does its work again, and then until invoices are under way.
async fn in_the_middle(app: &TestApp, load: &Load) {
    let id = load.next_one().await;
    check::at_its_end(app, &id).await;
    load.get_under_way(INVOICES / PHASES - 1).await;
}

async fn what_is_away_is_told(app: &TestApp, way: &Way, shown: Shown) {
    if let Some(sign_on) = way.sign_on() {
        sign_on.nothing_opens_while_it_is_away(app).await;
    }
    readiness::names(app, shown).await;
}

fn only_what_needed_it_failed(made: &Made, needed: Needed) {
    for failure in &made.failures {
        // The sandbox's books are in PostgreSQL.
        let no_provider = failure.status == 424 && failure.path.ends_with("/pay");
        let may_fail = match needed {
            Needed::No => false,
            Needed::ToPay => no_provider,
            Needed::Yes => failure.status == 503 || no_provider,
        };
        assert!(may_fail, "{needed:?}, and yet {failure:?}");
    }
}

macro_rules! comes_and_goes {
    ($($test:ident: $server:literal, $shown:expr, $needed:expr, $detour:expr;)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            if let Some(way) = Way::to($server).await {
                survives(way, $shown, $needed, $detour).await;
            }
        })+
    };
}

/// A node answers 503 to readiness while this is away.
const fn required(name: &'static str) -> Shown {
    let required = true;
    Shown { name, required }
}

/// A node stays ready while this is away, and names it.
const fn optional(name: &'static str) -> Shown {
    let required = false;
    Shown { name, required }
}

comes_and_goes! {
    mongodb_with_the_invoices: "MONGO", required("invoices"), Needed::Yes, |config, way| {
        config.storage.invoices = way.secret();
    };
    postgresql_with_users_and_numbers: "POSTGRES", required("store"), Needed::Yes, |config, way| {
        config.storage.relational = way.secret();
        config.cluster.lease_ttl_ms = LEASE_TTL_MS;
    };
    postgresql_with_everything: "POSTGRES", required("store"), Needed::Yes, |config, way| {
        config.storage.relational = way.secret();
        config.storage.invoices = Secret::default();
        config.cluster.lease_ttl_ms = LEASE_TTL_MS;
    };
    gridfs_with_the_documents: "MONGO", optional("media"), Needed::No, |config, way| {
        config.storage.documents = way.secret();
    };
    s3_with_the_documents: "S3", optional("media"), Needed::No, |config, way| {
        config.storage.documents = way.secret();
    };
    cloudinary_with_the_documents: "CLOUDINARY", optional("media"), Needed::No, |config, way| {
        config.storage.documents = way.secret();
    };
    redis: "REDIS", optional("cache"), Needed::No, |config, way| {
        config.cache.url = way.secret();
    };
    kafka: "KAFKA", optional("events"), Needed::No, |config, way| {
        config.events.url = way.secret();
    };
    smtp: "SMTP", optional("mail"), Needed::No, |config, way| {
        config.mail.url = Secret::new(format!("{}?tls=none", way.url));
    };
    stripe: "STRIPE", optional("payments"), Needed::ToPay, |config, way| {
        config.payments.provider = PaymentProvider::Stripe;
        config.payments.api_url.clone_from(&way.url);
        config.payments.secret_key = Secret::new(STRIPE_KEY.to_owned());
        config.payments.webhook_secret = Secret::new("whsec_faults_0123456789".to_owned());
    };
    openid_connect: "OIDC", optional("oidc"), Needed::No, |config, way| {
        config.oidc.issuer.clone_from(&way.url);
        issuer::AUDIENCE.clone_into(&mut config.oidc.audience);
    };
}
