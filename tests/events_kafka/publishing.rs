//! What is published, and where.

use std::collections::HashSet;

use faktor::app::App;
use faktor::clock::Clock;
use faktor::config::Secret;
use faktor::domain::invoice::event::KINDS;
use serde_json::{Value, json};

use crate::broker::{Record, Topic, assert_in_order, told};
use crate::support::{TestApp, config};

/// An invoice from its draft until all is done; its id.
async fn send_and_pay(app: &TestApp) -> String {
    let id = app.draft().await;
    app.post(&format!("/v1/invoices/{id}/send"), json!({}))
        .await
        .expect(202);
    app.until(&id, "sent", |invoice| {
        invoice["delivery"]["status"] == "sent"
    })
    .await;
    let pay = json!({"payment_method": "pm_ok"});
    app.post(&format!("/v1/invoices/{id}/pay"), pay)
        .await
        .expect(200);
    app.until(&id, "quiet", |invoice| {
        invoice["status"] == "paid" && invoice["pending"] == json!([])
    })
    .await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn every_public_event_arrives_as_the_api_tells_it_in_order_and_nothing_else() {
    let Some(topic) = Topic::new() else { return };
    let app = TestApp::start_with(|config| topic.set(config)).await;
    let ids = [send_and_pay(&app).await, send_and_pay(&app).await];
    let events = told(&app).await;
    let raw = app.get("/v1/events?limit=100").await.text();
    let records = topic.read(events.len()).await;
    assert_in_order(&records);
    for id in &ids {
        let of = |event: &&Value| event["subject"] == json!(id);
        let expected: Vec<_> = events.iter().filter(of).cloned().collect();
        let found: Vec<_> = records.iter().filter(|record| record.key == *id).collect();
        assert!(expected.len() >= 6, "{expected:?}");
        let partitions: HashSet<_> = found.iter().map(|record| record.partition).collect();
        assert_eq!(partitions.len(), 1);
        assert_eq!(
            found.iter().map(|it| it.json()).collect::<Vec<_>>(),
            expected
        );
        // The history knows more than the outside is told.
        let history = app
            .get(&format!("/v1/invoices/{id}/history?limit=100"))
            .await;
        let history = history.expect(200)["data"].as_array().unwrap().len();
        assert!(history > found.len(), "{history}");
    }
    for record in &records {
        assert!(raw.contains(&record.text), "{} not in {raw}", record.text);
        let event = record.json();
        assert!(KINDS.contains(&event["type"].as_str().unwrap()), "{event}");
        let headers = &record.headers;
        assert_eq!(
            headers["content-type"],
            "application/cloudevents+json; charset=utf-8"
        );
        let attributes = ["specversion", "id", "source", "type", "subject", "time"];
        for attribute in attributes {
            assert_eq!(headers[&format!("ce_{attribute}")], event[attribute]);
        }
        assert_eq!(headers.len(), 1 + attributes.len(), "{headers:?}");
        assert_eq!(event["subject"], json!(record.key));
    }
    assert_eq!(topic.count(), i64::try_from(events.len()).unwrap());
    assert_eq!(topic.partitions(), 5);
    let ready = app.get("/health/readiness").await.expect(200);
    let ours = |it: &&Value| it["name"] == "events";
    let found = ready["dependencies"].as_array().unwrap().iter().find(ours);
    assert_eq!(
        found.unwrap(),
        &json!({"name": "events", "ok": true, "required": false})
    );
    let tree = app.get("/v1/node").await.expect(200).to_string();
    assert!(tree.contains("\"exporter\""), "{tree}");
    app.stop().await;
    topic.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_before_kafka_was_configured_is_published_from_the_beginning() {
    let Some(topic) = Topic::new() else { return };
    let before = TestApp::start().await;
    send_and_pay(&before).await;
    let expected = told(&before).await;
    let TestApp { app, dir, .. } = before;
    app.stop().await;
    let mut config = config(&dir);
    topic.set(&mut config);
    let app = TestApp::start_in(dir, config, Clock::System).await;
    let found = topic.read(expected.len()).await;
    assert_eq!(
        found.iter().map(Record::sequence).max(),
        Some(version(&expected))
    );
    assert_in_order(&found);
    app.stop().await;
    topic.remove().await;
}

fn version(events: &[Value]) -> u64 {
    let last = events.last().unwrap()["sequence"].as_str().unwrap();
    last.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_two_prefixes_know_nothing_of_each_other() {
    let (Some(mine), Some(other)) = (Topic::new(), Topic::new()) else {
        return;
    };
    let my_app = TestApp::start_with(|config| mine.set(config)).await;
    let other_app = TestApp::start_with(|config| other.set(config)).await;
    for (topic, app) in [(&mine, &my_app), (&other, &other_app)] {
        let id = app.open_invoice().await;
        app.until(&id, "quiet", |invoice| invoice["pending"] == json!([]))
            .await;
        let count = told(app).await.len();
        let records = topic.read(count).await;
        assert!(records.iter().all(|record| record.key == id), "{records:?}");
        assert_eq!(topic.count(), i64::try_from(count).unwrap());
    }
    my_app.stop().await;
    other_app.stop().await;
    mine.remove().await;
    other.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_that_may_not_be_created_ends_the_start_with_its_name() {
    let Some(topic) = Topic::new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir);
    topic.set(&mut config);
    config.events.create_topics = false;
    let error = App::start(config, Clock::System).await.err();
    let (error, name) = (error.expect("it does not start").to_string(), topic.name());
    assert!(error.contains("events (Kafka) at kafka://"), "{error}");
    let said = format!("the topic {name} is missing, and events.create_topics does not allow");
    assert!(error.contains(&said), "{error}");
    assert_eq!(topic.partitions(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_do_not_answer_end_the_start_with_their_address_and_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir);
    config.events.url = Secret::new("kafka://127.0.0.1:1".to_owned());
    config.server.start_timeout_s = 0;
    let error = App::start(config, Clock::System).await.err();
    let error = error.expect("it does not start").to_string();
    for part in [
        "events (Kafka) at kafka://127.0.0.1:1: the brokers don't answer",
        "refused",
    ] {
        assert!(error.contains(part), "{error}");
    }
}
