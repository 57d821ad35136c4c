//! 50,000 invoices live at one node of three: what that costs it, and that its peers do not notice.

use tokio::time::{Duration, sleep};

use super::load::drafts;
use super::nodes::Nodes;
use super::store::Place;
use super::verdict;

const INVOICES: usize = 50_000;
/// Made before the first look, so that pools, caches and connections are there.
const WARM_UP: usize = 3_000;
/// What a peer may grow by, whatever lives elsewhere: what an allocator keeps of passing work.
const PEER_MAY_GROW_KIB: f64 = 4.0 * 1024.0;
const SETTLE: Duration = Duration::from_secs(5);

pub(crate) async fn memory() {
    println!("\n| store | node | invoices made there | before, MiB | after, MiB | each, KiB | |");
    println!("|---|---|---|---|---|---|---|");
    for (store, place) in Place::all().await {
        let nodes = Nodes::cluster(place, 3).await;
        drafts(&nodes, &[0], WARM_UP).await;
        sleep(SETTLE).await;
        let resident = || -> Vec<f64> {
            let of_each = nodes.nodes.iter().map(super::nodes::Node::resident_kib);
            of_each.collect()
        };
        let before = resident();
        drafts(&nodes, &[0], INVOICES - WARM_UP).await;
        sleep(SETTLE).await;
        let after = resident();
        for (number, (before, after)) in before.iter().zip(&after).enumerate() {
            let made = if number == 0 { INVOICES - WARM_UP } else { 0 };
            let (each, judged) = if made > 0 {
                (format!("{:.2}", (after - before) / made as f64), "")
            } else {
                (String::new(), verdict(after - before <= PEER_MAY_GROW_KIB))
            };
            println!(
                "| {store} | {} | {made} | {:.1} | {:.1} | {each} | {judged} |",
                nodes.nodes[number].name,
                before / 1024.0,
                after / 1024.0,
            );
        }
    }
}
