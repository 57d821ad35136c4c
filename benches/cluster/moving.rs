//! 10,000 live invoices move from node to node while clients go on asking for them.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::client::Connection;
use super::load::{Load, Next, Plan, drafts, edit, load, reading, scatter};
use super::nodes::Nodes;
use super::store::Place;
use super::verdict;

const INVOICES: usize = 10_000;
/// 400 requests a second, every fourth a change.
const CLIENTS: usize = 8;
const PACE: Duration = Duration::from_millis(20);
/// Enough for a move that begins with the next renewal of a lease.
const LOAD: Duration = Duration::from_secs(20);
/// Of the load, before anything happens.
const QUIET: Duration = Duration::from_secs(3);
/// When the move must be over, at the latest.
const LATEST: Duration = Duration::from_secs(15);
/// Until a node has read in the book what an operator wants: a quarter of its lease, and some.
const HEARD: Duration = Duration::from_secs(5);
/// What is asked so long before the first shard is seen elsewhere is asked while it moves.
const BEFORE_FIRST: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(15);

const MOVE_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

pub(crate) async fn moving() {
    println!("\n{INVOICES} live invoices; {CLIENTS} clients, each with a request every {PACE:?}\n");
    println!(
        "| store | what happens | shards | first seen elsewhere after | all, from then on, within | \
         limit | | p99 before, ms | p99 meanwhile, ms | limit | | longest, ms | requests | failed |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (store, place) in Place::all().await {
        let mut nodes = Nodes::cluster(place, 1).await;
        let ids = Rc::new(drafts(&nodes, &[0], INVOICES).await);

        let asking = asking(&nodes, &ids);
        let (load, seen) = tokio::join!(asking, joining(&mut nodes));
        print(store, "a second node joins", &load, &seen);
        nodes.at_rest().await;

        let (load, seen) = tokio::join!(
            self::asking(&nodes, &ids),
            giving(&nodes, 0, || nodes.drain(0, false))
        );
        print(store, "the first drains", &load, &seen);

        // All at once: from one that must have none to one that had none.
        touch_all(&nodes, &ids, 1).await;
        nodes.drain(1, false);
        sleep(HEARD).await;
        let (load, seen) = tokio::join!(
            self::asking(&nodes, &ids),
            giving(&nodes, 1, || nodes.drain(0, true))
        );
        print(store, "all go back to the first", &load, &seen);
    }
}

/// A move, as the giving node sees the book.
struct Seen {
    asked: Instant,
    first: Instant,
    last: Instant,
    shards: usize,
}

async fn joining(nodes: &mut Nodes) -> Seen {
    sleep(QUIET).await;
    let asked = Instant::now();
    nodes.launch();
    let left = nodes.share_of(0);
    let seen = moved(nodes, 0, left, asked).await;
    nodes.ready(1).await;
    seen
}

/// Until a node has nothing any more, after what makes it give.
async fn giving(nodes: &Nodes, giver: usize, begin: impl Fn()) -> Seen {
    sleep(QUIET).await;
    let asked = Instant::now();
    begin();
    moved(nodes, giver, 0, asked).await
}

/// Until the giving node owns only `left` shards.
async fn moved(nodes: &Nodes, giver: usize, left: usize, asked: Instant) -> Seen {
    let mut before = 0;
    let mut first = None;
    loop {
        let owned = nodes.owned_by(giver, giver).await;
        before = owned.max(before);
        let now = Instant::now();
        if owned < before {
            first.get_or_insert(now);
        }
        if let Some(first) = first
            && owned == left
        {
            return Seen {
                asked,
                first,
                last: now,
                shards: before - left,
            };
        }
        assert!(
            asked.elapsed() < LATEST,
            "{owned} of {before} shards are still there"
        );
        sleep(LOOK_EVERY).await;
    }
}

/// The load, spread over the nodes that there are when it begins.
fn asking(nodes: &Nodes, ids: &Rc<Vec<String>>) -> impl Future<Output = Load> + use<> {
    let (addresses, token, ids) = (nodes.addresses(), nodes.token.clone(), Rc::clone(ids));
    let count = addresses.len();
    let next: Next = Rc::new(move |client, sent| {
        let number = (client << 32) + sent;
        let id = &ids[scatter(number, ids.len())];
        let request = match sent % 4 {
            0 => edit(&token, id, number),
            _ => reading(&token, id),
        };
        (scatter(number + 1, count), request)
    });
    async move { asking_at(&addresses, &next).await }
}

async fn asking_at(addresses: &[SocketAddr], next: &Next) -> Load {
    let plan = Plan {
        clients: CLIENTS,
        until: Instant::now() + LOAD,
        pace: Some(PACE),
        may_fail: true,
    };
    load(addresses, plan, next).await
}

/// Reads every invoice once, so that all of them live at their owner.
async fn touch_all(nodes: &Nodes, ids: &Rc<Vec<String>>, by: usize) {
    let clients = (0..CLIENTS).map(|client| async move {
        let mut connection = Connection::open(nodes.nodes[by].address).await.unwrap();
        for id in ids.iter().skip(client).step_by(CLIENTS) {
            let read: Arc<[u8]> = reading(&nodes.token, id);
            let (status, _) = connection.ask(&read).await.unwrap();
            assert_eq!(status, 200);
        }
    });
    join_all(clients).await;
}

fn print(store: &str, what: &str, load: &Load, seen: &Seen) {
    let begun = seen.asked.checked_sub(QUIET).unwrap();
    let before = load.latencies_within(begun, seen.asked);
    let from = seen.first.checked_sub(BEFORE_FIRST).unwrap();
    let meanwhile = load.latencies_within(from.max(seen.asked), seen.last);
    let took = seen.last - seen.first;
    println!(
        "| {store} | {what} | {} | {:.2?} | {took:.2?} | ≤ {MOVE_WITHIN:?} | {} | {:.1} | {:.1} | \
         ≤ {ANSWER_WITHIN:?} | {} | {:.1} | {} | {} |",
        seen.shards,
        seen.first - seen.asked,
        verdict(took <= MOVE_WITHIN),
        before.ms(99),
        meanwhile.ms(99),
        verdict(meanwhile.percentile(99) <= ANSWER_WITHIN),
        meanwhile.ms(100),
        meanwhile.len(),
        load.failed,
    );
}
