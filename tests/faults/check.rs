//! What must hold once everything is back.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Value, json};

use crate::load::Made;
use crate::support::TestApp;
use crate::support::backends::backend;

pub(crate) async fn all_is_well(app: &TestApp, made: &Made) {
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
        assert_eq!(charges(app, id).await, 1, "{id}");
        let document = app
            .get(&format!("/v1/invoices/{id}/document?format=pdf"))
            .await;
        assert_eq!(document.status.as_u16(), 200);
        assert!(document.bytes.starts_with(b"%PDF"));
    }
    numbers_have_no_gap(made);
    each_change_was_told_once_and_in_order(app, made).await;
    each_mail_arrived(app, made).await;
}

async fn charges(app: &TestApp, id: &str) -> usize {
    if app.app.services.payments.name() != "stripe" {
        return app.charges(id).await.len();
    }
    // Stripe's books: the intents of this invoice that took money.
    let stripe = backend("STRIPE").expect("Stripe");
    let url = format!("{stripe}/v1/payment_intents?limit=100");
    let mut after = String::new();
    let mut paid = 0;
    loop {
        let page: Value = app
            .client
            .get(format!("{url}{after}"))
            .bearer_auth("sk_test_faults_0123456789")
            .send()
            .await
            .expect("Stripe's answer")
            .json()
            .await
            .expect("a list");
        let intents = page["data"].as_array().expect("a list");
        paid += intents
            .iter()
            .filter(|intent| intent["metadata"]["invoice"] == id && intent["status"] == "succeeded")
            .count();
        match intents.last() {
            Some(last) if page["has_more"] == true => {
                after = format!("&starting_after={}", last["id"].as_str().expect("an id"));
            }
            _ => return paid,
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

async fn each_change_was_told_once_and_in_order(app: &TestApp, made: &Made) {
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
            assert!(ids.insert(event["id"].to_string()), "told twice: {event}");
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
