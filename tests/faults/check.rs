//! What must hold once everything is back.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Value, json};

use crate::broker::{Topic, assert_in_order};
use crate::load::Made;
use crate::support::TestApp;
use crate::support::backends::backend;

pub(crate) async fn all_is_well(app: &TestApp, made: &Made, topic: &Topic) {
    for (id, number) in &made.invoices {
        let invoice = app
            .until(id, "paid, sent and quiet", |invoice| {
                invoice["status"] == "paid"
                    && invoice["delivery"]["status"] == "sent"
                    && invoice["document"]["status"] == "ready"
                    && invoice["pending"] == json!([])
            })
            .await;
        assert_eq!(invoice["number"], *number);
        assert_eq!(invoice["totals"]["paid"], invoice["totals"]["total"]);
        let document = app
            .get(&format!("/v1/invoices/{id}/document?format=pdf"))
            .await;
        assert_eq!(document.status.as_u16(), 200);
        assert!(document.bytes.starts_with(b"%PDF"));
    }
    let charges = charges(app, made).await;
    for (id, _) in &made.invoices {
        assert_eq!(charges.get(id), Some(&1), "charges of {id}");
    }
    numbers_have_no_gap(made);
    let told = each_change_was_told_once_and_in_order(app, made).await;
    let records = topic
        .read_until(|records| {
            let seen: HashSet<_> = records
                .iter()
                .map(|record| record.headers["ce_id"].clone())
                .collect();
            seen.len() >= told.len()
        })
        .await;
    assert_in_order(&records);
    let seen: HashSet<_> = records
        .into_iter()
        .map(|mut record| record.headers.remove("ce_id").unwrap_or_default())
        .collect();
    assert_eq!(seen, told, "the events in Kafka are those of the feed");
    each_mail_arrived(app, made).await;
}

/// How often each invoice was charged, by the provider's own books.
async fn charges(app: &TestApp, made: &Made) -> HashMap<String, usize> {
    let mut charges = HashMap::new();
    if app.app.services.payments.name() != "stripe" {
        for (id, _) in &made.invoices {
            charges.insert(id.clone(), app.charges(id).await.len());
        }
        return charges;
    }
    let url = format!(
        "{}/v1/payment_intents?limit=100",
        backend("STRIPE").expect("Stripe")
    );
    let mut after = String::new();
    loop {
        let request = app.client.get(format!("{url}{after}"));
        let request = request.bearer_auth("sk_test_faults_0123456789");
        let answer = request.send().await.expect("Stripe's answer");
        let page: Value = answer.json().await.expect("a list");
        let intents = page["data"].as_array().expect("a list");
        for intent in intents.iter().filter(|it| it["status"] == "succeeded") {
            let invoice = intent["metadata"]["invoice"].as_str().unwrap_or_default();
            *charges.entry(invoice.to_owned()).or_default() += 1;
        }
        match intents.last() {
            Some(last) if page["has_more"] == true => {
                after = format!("&starting_after={}", last["id"].as_str().expect("an id"));
            }
            _ => return charges,
        }
    }
}

fn numbers_have_no_gap(made: &Made) {
    let mut positions: Vec<u32> = made
        .invoices
        .iter()
        .map(|(_, number)| {
            number
                .rsplit('-')
                .next()
                .expect("a position")
                .parse()
                .expect("a number")
        })
        .collect();
    positions.sort_unstable();
    let expected: Vec<u32> = (1..).take(made.invoices.len()).collect();
    assert_eq!(positions, expected);
}

/// The ids of all events.
async fn each_change_was_told_once_and_in_order(app: &TestApp, made: &Made) -> HashSet<String> {
    let mut told: HashMap<String, Vec<(u64, String)>> = HashMap::new();
    let mut ids = HashSet::new();
    let mut after = String::new();
    loop {
        let page = app
            .get(&format!("/v1/events?limit=100{after}"))
            .await
            .expect(200);
        let events = page["data"].as_array().expect("events");
        let Some(last) = events.last() else { break };
        after = format!("&after={}", last["id"].as_str().expect("an id"));
        for event in events {
            let event_id = event["id"].as_str().expect("an id").to_owned();
            assert!(ids.insert(event_id), "told twice: {event}");
            let subject = event["subject"].as_str().expect("a subject").to_owned();
            let version = event["data"]["version"].as_u64().unwrap_or_default();
            let kind = event["type"].as_str().expect("a type").to_owned();
            told.entry(subject).or_default().push((version, kind));
        }
    }
    for (id, _) in &made.invoices {
        let events = &told[id];
        assert!(
            events.is_sorted_by(|one, next| one.0 <= next.0),
            "{events:?}"
        );
        for kind in [
            "invoice.created",
            "invoice.finalized",
            "invoice.sent",
            "invoice.paid",
        ] {
            let times = events.iter().filter(|(_, told)| told == kind).count();
            assert_eq!(times, 1, "{kind} of {id}: {events:?}");
        }
    }
    ids
}

/// At least once, and all attempts of one invoice's mail under one Message-ID.
async fn each_mail_arrived(app: &TestApp, made: &Made) {
    let ids: Vec<String> = app
        .mails()
        .await
        .iter()
        .filter_map(|mail| {
            mail.lines()
                .find_map(|line| line.strip_prefix("Message-ID: "))
        })
        .map(|id| id.trim().to_owned())
        .collect();
    let distinct: BTreeSet<_> = ids.iter().collect();
    println!(
        "{} mails, {} of them repeats",
        ids.len(),
        ids.len() - distinct.len()
    );
    assert_eq!(distinct.len(), made.invoices.len());
}
