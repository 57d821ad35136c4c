//! Brokers that are away, and nodes that die.

use std::collections::HashSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use faktor::clock::Clock;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::broker::{Proxy, Record, Topic, assert_in_order, told};
use crate::support::{TestApp, config};

const PATIENCE: Duration = Duration::from_mins(1);
/// Events in memory at once, at most.
const BATCH: f64 = 500.0;

async fn metric(app: &TestApp, name: &str) -> f64 {
    let text = app.get("/metrics").await.text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// Looks until it holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    let done = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(done.is_ok(), "not in time: {what}");
}

async fn one_more_failure(app: &TestApp) {
    let name = "faktor_events_failures_total";
    let before = metric(app, name).await;
    until("a failure", async || metric(app, name).await > before).await;
}

/// What readiness says of the export.
async fn events_state(app: &TestApp) -> Value {
    let ready = app.get("/health/readiness").await.expect(200);
    let dependencies = ready["dependencies"].as_array().unwrap();
    dependencies
        .iter()
        .find(|it| it["name"] == "events")
        .unwrap()
        .clone()
}

async fn edit(app: &TestApp, id: &str, times: usize) {
    for time in 0..times {
        let memo = json!({"memo": format!("edit {time}")});
        app.patch(&format!("/v1/invoices/{id}"), memo)
            .await
            .expect(200);
    }
}

fn ids_of(events: &[Value]) -> HashSet<String> {
    let ids = events
        .iter()
        .map(|event| event["id"].as_str().unwrap().to_owned());
    ids.collect()
}

fn distinct(records: &[Record]) -> HashSet<String> {
    let ids = records.iter().map(|record| record.headers["ce_id"].clone());
    ids.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn invoices_go_on_without_the_broker_and_all_arrives_in_order_when_it_is_back() {
    let Some(topic) = Topic::through_proxy() else {
        return;
    };
    let proxy = Proxy::take().await.unwrap();
    let app = TestApp::start_with(|config| {
        topic.set(config);
        config.events.timeout_ms = 2_000;
    })
    .await;
    let first = app.open_invoice().await;
    topic.read(2).await;

    proxy.cut();
    let others: Vec<_> = join_all((0..8).map(|_| app.draft())).await;
    join_all(others.iter().map(|id| edit(&app, id, 99))).await;
    app.post(&format!("/v1/invoices/{first}/void"), json!({}))
        .await
        .expect(200);
    // The batch that failed first may have been a small one.
    until("known how many wait", async || {
        let state = events_state(&app).await;
        state["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("500 events or more wait"))
    })
    .await;
    let state = events_state(&app).await;
    assert_eq!(
        (&state["ok"], &state["required"]),
        (&json!(false), &json!(false))
    );
    let detail = state["detail"].as_str().unwrap();
    assert!(detail.contains("refused"), "{detail}");
    for _ in 0..2 {
        one_more_failure(&app).await;
        for gauge in ["faktor_events_waiting", "faktor_events_buffered"] {
            let value = metric(&app, gauge).await;
            assert!(value <= BATCH, "{gauge} {value}");
        }
    }
    assert!(metric(&app, "faktor_events_lag_seconds").await > 0.0);

    proxy.mend();
    let expected = told(&app).await;
    assert!(expected.len() > 800, "{}", expected.len());
    let enough = |records: &[Record]| distinct(records).len() == expected.len();
    let records = topic.read_until(enough).await;
    assert_in_order(&records);
    assert_eq!(distinct(&records), ids_of(&expected));
    until("well again", async || {
        events_state(&app).await["ok"] == true
    })
    .await;
    app.stop().await;
    topic.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_of_a_hundred_invoices_arrive_in_order_over_five_cuts() {
    let Some(topic) = Topic::through_proxy() else {
        return;
    };
    let proxy = Proxy::take().await.unwrap();
    let app = TestApp::start_with(|config| {
        topic.set(config);
        config.events.timeout_ms = 2_000;
    })
    .await;
    let ids: Vec<_> = join_all((0..100).map(|_| app.draft())).await;
    let writing = join_all(ids.iter().map(|id| edit(&app, id, 99)));
    let cutting = async {
        for cut in 0..5 {
            let name = "faktor_events_published_total";
            let before = metric(&app, name).await;
            until("some were published", async || {
                metric(&app, name).await > before
            })
            .await;
            proxy.cut();
            // Now and then longer than a batch may take.
            if cut % 2 == 0 {
                one_more_failure(&app).await;
            }
            proxy.mend();
        }
    };
    tokio::join!(writing, cutting);
    let expected = told(&app).await;
    assert_eq!(expected.len(), 10_000);
    let enough = |records: &[Record]| records.len() >= 10_000 && distinct(records).len() == 10_000;
    let records = topic.read_until(enough).await;
    assert_in_order(&records);
    assert_eq!(distinct(&records), ids_of(&expected));
    eprintln!(
        "{} repeats among {} records",
        records.len() - 10_000,
        records.len()
    );
    app.stop().await;
    topic.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_the_broker_refuses_wait_and_arrive_in_order_once_it_takes_them() {
    let Some(topic) = Topic::new() else { return };
    topic.create("100").await;
    let app = TestApp::start_with(|config| topic.set(config)).await;
    let ids: Vec<_> = join_all((0..5).map(|_| app.draft())).await;
    join_all(ids.iter().map(|id| edit(&app, id, 20))).await;
    until("told of", async || events_state(&app).await["ok"] == false).await;
    let state = events_state(&app).await;
    assert!(
        state["detail"].as_str().unwrap().contains("too large"),
        "{state}"
    );
    assert_eq!(topic.count(), 0);
    topic.allow("1048588").await;
    let records = topic.read(5 * 21).await;
    assert_in_order(&records);
    assert_eq!(distinct(&records), ids_of(&told(&app).await));
    app.stop().await;
    topic.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_between_delivery_and_its_note_repeats_the_same_events() {
    let Some(topic) = Topic::new() else { return };
    let quiet = TestApp::start().await;
    let id = quiet.open_invoice().await;
    quiet
        .until(&id, "quiet", |invoice| invoice["pending"] == json!([]))
        .await;
    let expected = told(&quiet).await;
    let TestApp { app, dir, .. } = quiet;
    app.stop().await;

    let mut dying = Command::new(env!("CARGO_BIN_EXE_faktor"))
        .arg("serve")
        .current_dir(dir.path())
        .env("FAKTOR__SERVER__LISTEN", "127.0.0.1:0")
        .env("FAKTOR__STORAGE__DATA_DIR", dir.path().join("data"))
        .env("FAKTOR__EVENTS__URL", &topic.url)
        .env("FAKTOR__EVENTS__TOPIC_PREFIX", &topic.prefix)
        .env("FAKTOR_CRASH_AT", "after_export:kafka")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("its end", async || dying.try_wait().unwrap().is_some()).await;
    assert!(!dying.wait().unwrap().success());
    assert_eq!(topic.read(expected.len()).await.len(), expected.len());

    let mut config = config(&dir);
    topic.set(&mut config);
    let app = TestApp::start_in(dir, config, Clock::System).await;
    let records = topic.read(2 * expected.len()).await;
    assert_in_order(&records);
    assert_eq!(distinct(&records), ids_of(&expected));
    assert_eq!(topic.count(), i64::try_from(2 * expected.len()).unwrap());
    app.stop().await;
    topic.remove().await;
}
