//! What is due happens once, whichever nodes are up, and also when the one whose task it was dies.

use std::time::Duration;

use faktor::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use crate::cluster::Setup;
use crate::site::Site;
use crate::turn;

/// From the start of the nodes to midnight by their clock: time enough to make the invoices, and to
/// kill a node before they are due.
const BEFORE_MIDNIGHT: Duration = Duration::from_secs(25);
/// With a dead owner; less than what is left of its lease.
const TAKEN_OVER: Duration = Duration::from_secs(9);
/// A second alarm comes late, if at all: some sweeps, which are 200 ms apart, and a new owner's.
const LATE: Duration = Duration::from_secs(2);

/// When the test's clock will say so.
fn moment(at: Timestamp) -> Instant {
    Instant::now() + duration(at.duration_since(Clock::System.now()))
}

fn duration(of: SignedDuration) -> Duration {
    Duration::try_from(of).unwrap_or_default()
}

/// Each node owns two; the first one is killed just before they are due.
async fn two_of_each(site: &Site) -> Vec<String> {
    let mut ids = Vec::new();
    for node in [0, 1, 2, 0, 1, 2] {
        let id = site.draft(node).await;
        assert_eq!(site.owner(&id).await, node);
        ids.push(id);
    }
    ids
}

async fn assert_once(site: &Site, id: &str, kind: &str) {
    let kinds = site.kinds(1, id).await;
    let count = kinds.iter().filter(|told| *told == kind).count();
    assert_eq!(count, 1, "{id}: {kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_scheduled_is_sent_once_though_its_owner_is_killed_just_before() {
    let _turn = turn().await;
    let mut site = Site::start(Setup::of(3)).await;
    let ids = two_of_each(&site).await;
    let at = Clock::System.now() + SignedDuration::from_secs(5);
    for id in &ids {
        let path = format!("/v1/invoices/{id}/send");
        let scheduled = site.post(1, &path, json!({"at": at.to_string()})).await;
        scheduled.expect(202);
    }
    sleep_until(moment(at) - Duration::from_millis(150)).await;
    assert_eq!(site.mails().len(), 0, "it is not the time yet");
    site.cluster.kill(0);
    for id in &ids {
        let sent = site.until(1, id, TAKEN_OVER, |it| it["delivery"]["status"] == "sent");
        sent.await;
    }
    sleep(LATE).await;
    for id in &ids {
        assert_once(&site, id, "invoice.sent").await;
    }
    let mut mails = site.mails();
    mails.sort();
    mails.dedup();
    assert_eq!(mails.len(), ids.len());
    assert_eq!(site.mails().len(), ids.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invoice_becomes_overdue_once_though_its_owner_is_killed_just_before() {
    let _turn = turn().await;
    let Some(library) = libfaketime() else {
        assert!(
            std::env::var("REQUIRE_BACKENDS").is_err(),
            "the package faketime is not installed, and REQUIRE_BACKENDS is set"
        );
        eprintln!("skipped: the package faketime is not installed");
        return;
    };
    let now = Clock::System.now();
    let day = 24 * 3_600;
    let since_midnight = now.as_second().rem_euclid(day);
    let whole_second = Timestamp::from_second(now.as_second()).unwrap();
    let midnight = moment(now) + BEFORE_MIDNIGHT - duration(now.duration_since(whole_second));
    let ahead = day - since_midnight - i64::try_from(BEFORE_MIDNIGHT.as_secs()).unwrap();
    let mut site = Site::start_with(Setup::of(3), |nodes| {
        for node in nodes {
            node.set("LD_PRELOAD", library.clone());
            node.set("FAKETIME", format!("{ahead:+}s"));
            node.set("DONT_FAKE_MONOTONIC", "1");
            node.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
    })
    .await;
    let ids = two_of_each(&site).await;
    for id in &ids {
        let path = format!("/v1/invoices/{id}");
        let today = json!({"due_in_days": 0});
        site.patch(1, &path, today).await.expect(200);
        let finalized = site.post(1, &format!("{path}/finalize"), json!({})).await;
        assert_eq!(finalized.expect(200)["overdue"], false);
    }
    let killed_at = midnight - Duration::from_secs(1);
    assert!(Instant::now() < killed_at, "it took too long to get here");
    sleep_until(killed_at).await;
    site.cluster.kill(0);
    for id in &ids {
        let told = site.kinds(1, id).await;
        assert!(!told.contains(&"invoice.overdue".to_owned()), "too early");
    }
    for id in &ids {
        site.until(1, id, TAKEN_OVER, |it| it["overdue"] == true)
            .await;
    }
    sleep(LATE).await;
    for id in &ids {
        assert_once(&site, id, "invoice.overdue").await;
    }
}

fn libfaketime() -> Option<String> {
    let places = std::fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    places
        .map(|place| place.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists())
        .map(|library| library.display().to_string())
}
