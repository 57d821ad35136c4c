//! Requests that wait at one node for what happens at another.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::cluster::Setup;
use crate::site::{PATIENCE, Site, text};
use crate::turn;

const SOON: Duration = Duration::from_secs(1);
/// Usually. Without being told, a reader of the feed looks again after a second, which is 700 ms after
/// the commit here.
const TOLD: Duration = Duration::from_millis(350);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_at_one_node_hears_of_what_is_done_at_another() {
    let _turn = turn().await;
    let site = Site::start(Setup::of(3)).await;
    a_waiting_reader_of_the_feed_is_woken(&site).await;
    a_payer_waits_for_the_outcome(&site).await;
}

/// How often a node has told others of something new in the feed.
async fn told(site: &Site, node: usize) -> u64 {
    let url = format!("{}/metrics", site.base(node));
    let metrics = site.http.get(url).send().await.unwrap().text().await;
    let metrics = metrics.unwrap();
    let line = |line: &str| {
        line.strip_prefix("faktor_cluster_feed_news_total ")?
            .parse()
            .ok()
    };
    metrics.lines().find_map(line).unwrap_or(0)
}

/// Nobody has waited for longer than a node counts on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_where_nobody_waits_are_not_told_of_news() {
    let _turn = turn().await;
    let site = Site::start(Setup::of(2)).await;
    let before = [told(&site, 0).await, told(&site, 1).await];
    for node in [0, 1] {
        site.draft(node).await;
        // Who does not wait is nobody to be told.
        site.feed(node).await;
        site.draft(node).await;
    }
    sleep(Duration::from_millis(300)).await;
    assert_eq!([told(&site, 0).await, told(&site, 1).await], before);

    let last = site.feed(1).await.pop().expect("an event");
    let path = format!("/v1/events?wait=20&after={}", text(&last, "/id"));
    let writer = async {
        sleep(Duration::from_millis(300)).await;
        site.draft(0).await;
    };
    let (page, ()) = tokio::join!(site.get(1, &path), writer);
    assert_eq!(page.expect(200)["data"].as_array().unwrap().len(), 1);
    let [first, second] = [told(&site, 0).await, told(&site, 1).await];
    assert!(first > before[0], "the other node was not told");
    assert_eq!(second, before[1]);
}

async fn a_waiting_reader_of_the_feed_is_woken(site: &Site) {
    site.draft(0).await;
    let mut all_took = Vec::new();
    for reading in 0..3 {
        for writing in (0..3).filter(|writing| *writing != reading) {
            let last = site.feed(reading).await.pop().expect("an event");
            let path = format!("/v1/events?wait=20&after={}", text(&last, "/id"));
            let reader = async {
                let page = site.get(reading, &path).await.expect(200);
                (page, Instant::now())
            };
            let writer = async {
                // Until the reader waits.
                sleep(Duration::from_millis(300)).await;
                (site.draft(writing).await, Instant::now())
            };
            let ((page, told), (id, committed)) = tokio::join!(reader, writer);
            assert_eq!(page["data"][0]["subject"], json!(id), "{page}");
            let took = told.saturating_duration_since(committed);
            assert!(took < SOON, "node {reading} heard after {took:?}");
            all_took.push(took);
        }
    }
    all_took.sort();
    assert!(all_took[all_took.len() / 2] < TOLD, "{all_took:?}");
}

async fn a_payer_waits_for_the_outcome(site: &Site) {
    for (method, status, within) in [
        ("pm_ok", 200, Duration::from_secs(2)),
        ("pm_declined", 402, Duration::from_secs(2)),
        // It comes with the second attempt, after two seconds.
        ("pm_lost_reply", 200, Duration::from_secs(6)),
    ] {
        for paying in 0..3 {
            let id = site.open_invoice((paying + 1) % 3).await;
            assert_ne!(site.owner(&id).await, paying);
            let path = format!("/v1/invoices/{id}/pay");
            let began = Instant::now();
            let body = json!({"payment_method": method});
            let paid = site.post(paying, &path, body).await.expect(status);
            let took = began.elapsed();
            assert!(took < within, "{method} took {took:?}");
            if status == 200 {
                assert_eq!(paid["status"], "paid");
                assert_eq!(site.charges(paying, &id).await, 1);
            } else {
                let shown = site.until(paying, &id, PATIENCE, |it| it["status"] == "open");
                shown.await;
            }
        }
    }
}
