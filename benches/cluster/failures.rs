//! Under load one of three nodes is killed, or stopped without a word: how long until the invoices that
//! it owned are written again.

use std::rc::Rc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use super::load::{Latencies, Next, Plan, creation, drafts, edit, load, reading, scatter};
use super::nodes::{Nodes, owner_of};
use super::probes::Probes;
use super::store::Place;
use super::verdict;

const KILLS: usize = 6;
const STOPS: usize = 2;
/// Drafts before each fault, about a third of them at the victim.
const DRAFTS: usize = 360;
/// The load meanwhile: 600 requests a second.
const CLIENTS: usize = 12;
const PACE: Duration = Duration::from_millis(20);
/// Load before the fault, and after the probes are back.
const AROUND: Duration = Duration::from_millis(500);

#[derive(Clone, Copy)]
enum Fault {
    Kill,
    Stop,
}

pub(crate) async fn kill() {
    for (store, place) in Place::all().await {
        let mut nodes = Nodes::cluster(place, 3).await;
        let mut all = Vec::new();
        for turn in 0..KILLS {
            all.extend(trial(&mut nodes, Fault::Kill, turn % 3).await);
        }
        print(
            "kill -9",
            store,
            KILLS,
            &Latencies::of(all),
            Duration::from_secs(1),
        );
    }
}

pub(crate) async fn stop() {
    for (store, place) in Place::all().await {
        let mut nodes = Nodes::cluster(place, 3).await;
        let mut all = Vec::new();
        for turn in 0..STOPS {
            all.extend(trial(&mut nodes, Fault::Stop, turn % 3).await);
        }
        print(
            "SIGSTOP",
            store,
            STOPS,
            &Latencies::of(all),
            Duration::from_secs(20),
        );
    }
}

fn print(fault: &str, store: &str, times: usize, all: &Latencies, limit: Duration) {
    println!(
        "\n{fault}, {store}: {times} times, {} invoices of the victims: written again after p50 {:.0} ms, \
         p99 {:.0} ms, at most {:.0} ms; limit {limit:?}: {}",
        all.len(),
        all.ms(50),
        all.ms(99),
        all.ms(100),
        verdict(all.percentile(99) <= limit)
    );
}

/// One fault; ends with all nodes back, and every shard in its place.
async fn trial(nodes: &mut Nodes, fault: Fault, victim: usize) -> Vec<Duration> {
    let everybody: Vec<usize> = (0..nodes.nodes.len()).collect();
    let survivors: Vec<usize> = everybody
        .iter()
        .copied()
        .filter(|node| *node != victim)
        .collect();
    let ids = drafts(nodes, &everybody, DRAFTS).await;
    let owners = nodes.owners(survivors[0]).await;
    let (lost, others): (Vec<String>, Vec<String>) = ids
        .into_iter()
        .partition(|id| owner_of(&owners, id) == Some(victim));
    let probes = Probes::new(nodes, lost, &survivors).await;
    let addresses = nodes.addresses();
    // A stopped node takes connections and never answers.
    let asked = match fault {
        Fault::Kill => everybody,
        Fault::Stop => survivors.clone(),
    };
    let requests = mix(nodes, others, asked);
    let plan = |time| Plan {
        clients: CLIENTS,
        until: Instant::now() + time,
        pace: Some(PACE),
        may_fail: true,
    };
    load(&addresses, plan(AROUND), &requests).await;
    let probing = async {
        let begun = Instant::now();
        match fault {
            Fault::Kill => nodes.nodes[victim].kill(),
            Fault::Stop => nodes.pause(victim).await,
        }
        probes.first_writes(begun).await
    };
    let background = load(&addresses, plan(Duration::from_mins(2)), &requests);
    // The load ends with the probes: it is dropped.
    let back = tokio::select! {
        back = probing => back,
        _ = background => panic!("the probes took too long"),
    };
    load(&addresses, plan(AROUND), &requests).await;
    match fault {
        Fault::Kill => nodes.start_again(victim).await,
        Fault::Stop => nodes.nodes[victim].signal(Signal::CONT),
    }
    nodes.at_rest().await;
    back.into_all()
}

/// Reads, creates and edits at these nodes, dead or alive.
fn mix(nodes: &Nodes, ids: Vec<String>, by: Vec<usize>) -> Next {
    let token = nodes.token.clone();
    let creation = creation(&token);
    Rc::new(move |client, sent| {
        let number = (client << 32) + sent;
        let id = &ids[scatter(number, ids.len())];
        let request = match scatter(number + 1, 10) {
            0..6 => reading(&token, id),
            6..8 => creation.clone(),
            _ => edit(&token, id, number),
        };
        (by[scatter(number + 2, by.len())], request)
    })
}
