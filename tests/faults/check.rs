//! What must hold once everything is back.

use std::collections::{BTreeSet, HashMap, HashSet};

use faktor::config::Config;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::{Duration, Instant, sleep};

use crate::broker::{Topic, assert_in_order};
use crate::load::{INVOICES, Made};
use crate::support::backends::backend;
use crate::support::{TestApp, profile};
use crate::way::{Server, Way};

/// Mail that met no server goes out within two minutes of the server's return.
const PATIENCE: Duration = Duration::from_secs(150);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(crate) const STRIPE_KEY: &str = "sk_test_faults_0123456789";

/// Where the servers keep what a node gave them.
pub(crate) struct Books<'a> {
    way: &'a Way,
    topic: Topic,
    mail_api: String,
    mail_from: String,
}

impl<'a> Books<'a> {
    /// On the servers that all tests share, save where the way leads to one of the test's own.
    pub(crate) fn of(settings: &Config, way: &'a Way) -> Self {
        let address = |name: &str, of: &str| match way.own().filter(|own| own.name() == of) {
            Some(own) => own.address(name),
            None => backend(name).expect("a server"),
        };
        Self {
            way,
            topic: Topic {
                prefix: settings.events.topic_prefix.clone(),
                brokers: address("KAFKA", "KAFKA"),
                url: settings.events.url.expose().to_owned(),
            },
            mail_api: address("SMTP_API", "SMTP"),
            mail_from: settings.mail.from.clone(),
        }
    }
}

pub(crate) async fn all_is_well(app: &TestApp, made: &Made, books: &Books<'_>) {
    assert_eq!(made.invoices.len(), INVOICES);
    invoices_ended_where_they_should(app, made).await;
    each_was_charged_once(app, made, books.way).await;
    numbers_have_no_gap(made);
    let told = each_change_was_told_once_and_in_order(app, made).await;
    events_are_in_kafka(&books.topic, told).await;
    each_mail_arrived(made, books).await;
    documents_are_where_they_should_be(books.way);
}

async fn invoices_ended_where_they_should(app: &TestApp, made: &Made) {
    for (id, number) in &made.invoices {
        let invoice = at_its_end(app, id).await;
        assert_eq!(invoice["number"], *number);
        assert_eq!(invoice["totals"]["paid"], invoice["totals"]["total"]);
        let document = app
            .get(&format!("/v1/invoices/{id}/document?format=pdf"))
            .await;
        assert_eq!(document.status.as_u16(), 200);
        assert!(document.bytes.starts_with(b"%PDF"));
        let sha256 = hex::encode(Sha256::digest(&document.bytes));
        assert_eq!(invoice["document"]["pdf"]["sha256"], sha256);
    }
}

/// An invoice, once everything about it is done: then every server has acknowledged its part.
pub(crate) async fn at_its_end(app: &TestApp, id: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let invoice = app.invoice(id).await;
        if invoice["status"] == "paid"
            && invoice["delivery"]["status"] == "sent"
            && invoice["document"]["status"] == "ready"
            && invoice["pending"] == json!([])
        {
            return invoice;
        }
        assert!(
            Instant::now() < deadline,
            "not paid, sent and quiet in time: {invoice:#}"
        );
        sleep(LOOK_EVERY).await;
    }
}

async fn each_was_charged_once(app: &TestApp, made: &Made, way: &Way) {
    let charges = match way.own() {
        Some(own) if own.name() == "STRIPE" => stripes_charges(app, &own.address("STRIPE")).await,
        _ => sandbox_charges(app, made).await,
    };
    for (id, _) in &made.invoices {
        assert_eq!(charges.get(id), Some(&1), "charges of {id}");
    }
    assert_eq!(charges.len(), made.invoices.len());
}

async fn sandbox_charges(app: &TestApp, made: &Made) -> HashMap<String, usize> {
    let mut charges = HashMap::new();
    for (id, _) in &made.invoices {
        charges.insert(id.clone(), app.charges(id).await.len());
    }
    charges
}

/// How often each invoice was charged, by Stripe's own books.
async fn stripes_charges(app: &TestApp, server: &str) -> HashMap<String, usize> {
    let mut charges = HashMap::new();
    let url = format!("{server}/v1/payment_intents?limit=100");
    let mut after = String::new();
    loop {
        let request = app.client.get(format!("{url}{after}"));
        let request = request.bearer_auth(STRIPE_KEY);
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

async fn events_are_in_kafka(topic: &Topic, told: HashSet<String>) {
    let records = topic
        .read_until(|records| {
            let seen: HashSet<_> = records.iter().map(|it| &it.headers["ce_id"]).collect();
            seen.len() >= told.len()
        })
        .await;
    assert_in_order(&records);
    let seen: HashSet<_> = records
        .into_iter()
        .map(|mut record| record.headers.remove("ce_id").unwrap_or_default())
        .collect();
    assert_eq!(seen, told, "the events in Kafka are those of the feed");
}

/// At least once, and all attempts of one invoice's mail under one Message-ID.
async fn each_mail_arrived(made: &Made, books: &Books<'_>) {
    let mails = profile::mails_caught_at(&books.mail_api, &books.mail_from).await;
    let ids: Vec<&str> = mails
        .iter()
        .filter_map(|mail| {
            mail.lines()
                .find_map(|line| line.strip_prefix("Message-ID: "))
        })
        .map(str::trim)
        .collect();
    let distinct: BTreeSet<_> = ids.iter().collect();
    let repeats = ids.len() - distinct.len();
    println!("{} mails, {repeats} of them repeats", ids.len());
    assert_eq!(distinct.len(), made.invoices.len());
}

/// An attempt whose answer was lost may have left one more: a document shows how its invoice stands then.
fn documents_are_where_they_should_be(way: &Way) {
    let documents = match &way.server {
        Server::S3(double) => count_documents(double.objects.lock().unwrap().keys()),
        Server::Cloudinary(double) => count_documents(double.assets.lock().unwrap().keys()),
        Server::Own(_) | Server::SignOn(_) => return,
    };
    assert!(documents >= INVOICES, "{documents} documents");
    println!("{documents} documents");
}

fn count_documents<'a>(names: impl Iterator<Item = &'a String>) -> usize {
    names.filter(|name| name.contains("/document-")).count()
}
