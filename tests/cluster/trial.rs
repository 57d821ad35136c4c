//! A trial: a cluster under load, faults by whoever runs it, and the verdict in the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use faktor::domain::ids::InvoiceId;
use futures_util::StreamExt as _;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::checker;
use crate::cluster::{Cluster, Setup};
use crate::evidence;
use crate::load::Load;
use crate::node::Node;
use crate::reader::Reader;
use crate::recording::{Operation, Visit};
use crate::report::Report;
use crate::visitors::Visitors;

/// Clients at the same time; on two cores more would only wait for each other.
pub(crate) const CLIENTS: u64 = 10;
/// How long effects may take to come to their end once all faults are over.
const SETTLING: Duration = Duration::from_mins(2);
/// Looks at invoices at the same time, while waiting for them.
const LOOKS: usize = 4;

/// A cluster with clients at work.
pub(crate) struct Trial {
    pub(crate) cluster: Cluster,
    pub(crate) load: Load,
    reader: Reader,
    visitors: Visitors,
    /// Series of probes so far: each has keys of its own.
    pub(crate) probes: usize,
    name: String,
    seed: u64,
    faults: Vec<String>,
}

impl Trial {
    pub(crate) async fn begin(name: &str, seed: u64, setup: Setup) -> Self {
        Self::begin_with(name, seed, setup, |_| {}).await
    }

    pub(crate) async fn begin_with(
        name: &str,
        seed: u64,
        setup: Setup,
        arrange: impl FnOnce(&mut [Node]),
    ) -> Self {
        let cluster = Cluster::start_with(setup, arrange).await;
        cluster.ready().await;
        let load = Load::start(&cluster, seed, CLIENTS);
        let reader = Reader::start(Arc::clone(&load.clients));
        let visitors = Visitors::start(&load, seed);
        Self {
            cluster,
            load,
            reader,
            visitors,
            probes: 0,
            name: name.to_owned(),
            seed,
            faults: Vec::new(),
        }
    }

    /// Writes down what was done, with when.
    pub(crate) fn note(&mut self, fault: &str) {
        let at = self.load.clients.now();
        self.faults
            .push(format!("{:.1} s {fault}", at.as_secs_f64()));
    }

    pub(crate) async fn run_for(&self, time: Duration) {
        sleep(time).await;
    }

    /// Ends the load, lets everything settle, stops the nodes, and compares the books. Fails when a
    /// rule was broken.
    pub(crate) async fn conclude(mut self) -> Report {
        let (recording, visits) = tokio::join!(self.load.finish(), self.visitors.finish());
        self.cluster.ready().await;
        settle(&self.cluster, &recording, &visits).await;
        let read = self.reader.finish().await;
        self.cluster.stop_all().await;
        let mut evidence = evidence::gather(&self.cluster, &recording).await;
        evidence.read = read;
        evidence.visits = visits;
        let violations = checker::check(&recording, &evidence);
        let report = Report::of(
            &self.name,
            self.seed,
            &recording,
            &evidence,
            self.faults,
            &violations,
        );
        println!("{report}");
        write_recording(&self.cluster, &recording, &evidence.visits, &report);
        assert!(
            violations.is_empty(),
            "{}: {} rules were broken (seed {}), such as\n{}",
            self.name,
            violations.len(),
            self.seed,
            violations
                .iter()
                .take(10)
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        );
        report
    }
}

/// For whoever looks into a failure.
fn write_recording(cluster: &Cluster, recording: &[Operation], visits: &[Visit], report: &Report) {
    let directory = cluster.directory();
    let operations = recording.iter().map(ToString::to_string);
    let lines: Vec<String> = operations
        .chain(visits.iter().map(ToString::to_string))
        .collect();
    let _ = std::fs::write(directory.join("recording.txt"), lines.join("\n"));
    let _ = std::fs::write(directory.join("report.txt"), report.to_string());
}

/// Waits until no invoice has anything pending that could still come to an end, and what was paid on
/// pages has come in.
async fn settle(cluster: &Cluster, recording: &[Operation], visits: &[Visit]) {
    let client = Client::new();
    let deadline = Instant::now() + SETTLING;
    let mut waiting: BTreeSet<InvoiceId> = recording
        .iter()
        .filter_map(|operation| operation.invoice)
        .collect();
    let visited: BTreeSet<InvoiceId> = visits.iter().map(|visit| visit.invoice).collect();
    let nodes = cluster.running();
    for turn in 0.. {
        let node = nodes[turn % nodes.len()];
        let base = cluster.address(node).expect("an address");
        let looks = waiting.iter().map(|id| {
            let request = client
                .get(format!("{base}/v1/invoices/{id}"))
                .bearer_auth(&cluster.token);
            let charges = visited.contains(id).then(|| {
                let charges = client.get(format!("{base}/sandbox/charges"));
                charges.query(&[("invoice", id.to_string())])
            });
            async move { (*id, look(request, charges).await) }
        });
        let seen: Vec<(InvoiceId, Result<(), String>)> =
            futures_util::stream::iter(looks.collect::<Vec<_>>())
                .buffer_unordered(LOOKS)
                .collect()
                .await;
        let busy: Vec<_> = seen
            .into_iter()
            .filter_map(|(id, seen)| Some((id, seen.err()?)))
            .collect();
        // What is stuck is the checker's to tell, with its history.
        if busy.is_empty() || Instant::now() >= deadline {
            for (id, why) in busy.iter().take(5) {
                println!("{id} does not settle: {why}");
            }
            return;
        }
        waiting = busy.into_iter().map(|(id, _)| id).collect();
        sleep(Duration::from_millis(200)).await;
    }
}

/// The reason why an invoice has to be waited for. `charges`: asks for its charges, which nothing else
/// waits for when they were made on a page.
async fn look(request: RequestBuilder, charges: Option<RequestBuilder>) -> Result<(), String> {
    let invoice = answer(request).await?;
    if let Some(charges) = charges {
        let charges = answer(charges).await?;
        comes_in(&charges, &invoice)?;
    }
    let pending = invoice["pending"].as_array().cloned().unwrap_or_default();
    // The sandbox's bank that can't be reached.
    let endless = |effect: &Value| {
        effect["kind"] == "charge" && effect["last_error"]["code"] == "provider_unavailable"
    };
    match pending.iter().find(|effect| !endless(effect)) {
        None => Ok(()),
        Some(effect) => Err(effect.to_string()),
    }
}

/// Whether all that the provider took is booked.
fn comes_in(charges: &Value, invoice: &Value) -> Result<(), String> {
    let charges = charges["data"].as_array().ok_or("no charges")?;
    let received = invoice["payment"]["received"].as_array();
    let received = received.ok_or("no payments")?;
    let is_booked = |charge: &Value| {
        let mut payments = received.iter();
        payments.any(|payment| payment["provider_payment"] == charge["id"])
    };
    let mut taken = charges
        .iter()
        .filter(|charge| charge["status"] == "succeeded");
    match taken.find(|charge| !is_booked(charge)) {
        None => Ok(()),
        Some(charge) => Err(format!("not booked: {charge}")),
    }
}

async fn answer(request: RequestBuilder) -> Result<Value, String> {
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let body: Value = answer.json().await.map_err(|error| error.to_string())?;
    if status.is_success() {
        Ok(body)
    } else {
        Err(format!("{status} {body}"))
    }
}
