//! One process against three: the same requests at one node alone, at random nodes of a cluster, and at
//! the owners' nodes. Beside them three nodes that know nothing of each other, each with a store of its
//! own, which says what part of a cluster's cost is that of three processes. In turns, so that the
//! ratios hold on a machine that others use, too.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::load::{Next, Plan, creation, drafts, edit, load, reading, scatter};
use super::measure::median;
use super::nodes::{Nodes, owner_of};
use super::store::Place;
use super::verdict;

/// For each process: what one commit carries depends on how many ask at once.
const CLIENTS: usize = 32;
/// What all clients ask together in a second when they don't ask as fast as they can.
const STEADY_RATE: f64 = 2_000.0;
const STEADY_CLIENTS: usize = 96;
const ROUND: Duration = Duration::from_millis(1_500);
const ROUNDS: usize = 5;
/// Drafts that are read and changed, again and again.
const DRAFTS: usize = 512;
/// So many that a node which is not their owner has mostly forgotten what it saw of them.
const MANY_DRAFTS: usize = 6_000;
/// Node clocks count in 10 ms: what idle nodes cost is seen over a longer time.
const IDLE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    ReadMany,
    Create,
    Edit,
    /// 60 % reads, 20 % creates, 20 % edits.
    Mix,
    /// The mix at a rate that leaves every node time: the same for one process and for three.
    Steady,
}

const KINDS: [(Kind, &str); 6] = [
    (Kind::Read, "read of 512"),
    (Kind::ReadMany, "read of 6,000"),
    (Kind::Create, "create"),
    (Kind::Edit, "edit"),
    (Kind::Mix, "mix"),
    (Kind::Steady, "mix at 2,000/s"),
];

/// Who is asked, and how the node is chosen.
struct Way {
    name: &'static str,
    /// Of the CPU per request of one node alone.
    limit: f64,
    /// A cluster, or nodes without one.
    sides: Vec<Rc<Nodes>>,
    /// Of every node, with the token it takes.
    addresses: Vec<SocketAddr>,
    tokens: Rc<Vec<String>>,
    drafts: Rc<Vec<Draft>>,
    many: Rc<Vec<Draft>>,
}

struct Draft {
    id: String,
    /// The node to ask; none: any.
    node: Option<usize>,
}

#[derive(Clone, Copy)]
struct Round {
    cpu_us: f64,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Way {
    async fn new(name: &'static str, limit: f64, sides: &[&Rc<Nodes>], to_owner: bool) -> Self {
        let of_all = |side: &&Rc<Nodes>| vec![side.token.clone(); side.nodes.len()];
        Self {
            name,
            limit,
            sides: sides.iter().map(|side| Rc::clone(side)).collect(),
            addresses: sides.iter().flat_map(|side| side.addresses()).collect(),
            tokens: Rc::new(sides.iter().flat_map(of_all).collect()),
            drafts: Rc::new(made(sides, DRAFTS, to_owner).await),
            many: Rc::new(made(sides, MANY_DRAFTS, to_owner).await),
        }
    }

    fn requests(&self, kind: Kind, turn: usize) -> Next {
        let drafts = Rc::clone(match kind {
            Kind::ReadMany => &self.many,
            Kind::Read | Kind::Create | Kind::Edit | Kind::Mix | Kind::Steady => &self.drafts,
        });
        let tokens = Rc::clone(&self.tokens);
        let creations: Vec<_> = tokens.iter().map(|token| creation(token)).collect();
        Rc::new(move |client, sent| {
            let number = (turn << 40) + (client << 32) + sent;
            let any = scatter(number, tokens.len());
            let kind = match (kind, scatter(number + 1, 10)) {
                (Kind::Mix | Kind::Steady, 0..6) => Kind::Read,
                (Kind::Mix | Kind::Steady, 6..8) => Kind::Create,
                (Kind::Mix | Kind::Steady, _) => Kind::Edit,
                (kind, _) => kind,
            };
            let draft = &drafts[scatter(number + 2, drafts.len())];
            let node = draft.node.unwrap_or(any);
            match kind {
                Kind::Read | Kind::ReadMany => (node, reading(&tokens[node], &draft.id)),
                Kind::Edit => (node, edit(&tokens[node], &draft.id, number)),
                Kind::Create | Kind::Mix | Kind::Steady => (any, Arc::clone(&creations[any])),
            }
        })
    }

    fn cpu_seconds(&self) -> f64 {
        self.sides.iter().map(|side| side.cpu_seconds()).sum()
    }

    async fn round(&self, kind: Kind, turn: usize) -> Round {
        let cpu = self.cpu_seconds();
        let begun = Instant::now();
        let (clients, pace) = if kind == Kind::Steady {
            let pace = STEADY_CLIENTS as f64 / STEADY_RATE;
            (STEADY_CLIENTS, Some(Duration::from_secs_f64(pace)))
        } else {
            (CLIENTS * self.addresses.len(), None)
        };
        let plan = Plan {
            clients,
            until: begun + ROUND,
            pace,
            may_fail: false,
        };
        let load = load(&self.addresses, plan, &self.requests(kind, turn)).await;
        let latencies = load.latencies();
        let answered = latencies.len() as f64;
        Round {
            cpu_us: (self.cpu_seconds() - cpu) / answered * 1e6,
            per_second: answered / begun.elapsed().as_secs_f64(),
            p50_ms: latencies.ms(50),
            p99_ms: latencies.ms(99),
        }
    }
}

/// New drafts with the node to ask for each.
async fn made(sides: &[&Rc<Nodes>], count: usize, to_owner: bool) -> Vec<Draft> {
    let mut all = Vec::new();
    let mut nodes_before = 0;
    for side in sides {
        let nodes: Vec<usize> = (0..side.nodes.len()).collect();
        let owners = side.owners(0).await;
        for id in drafts(side, &nodes, count / sides.len()).await {
            let node = to_owner.then(|| nodes_before + owner_of(&owners, &id).unwrap());
            all.push(Draft { id, node });
        }
        nodes_before += nodes.len();
    }
    all
}

/// Only the stores and the requests that are named, if any are.
pub(crate) async fn routing(named: &[&String]) {
    let picked = |name: &str, of: &[&str]| {
        let is_named = |name: &str| named.iter().any(|named| *named == name);
        is_named(name) || !of.iter().any(|name| is_named(name))
    };
    let all = KINDS.map(|(_, name)| name);
    let kinds = KINDS.into_iter().filter(|(_, name)| picked(name, &all));
    let kinds: Vec<_> = kinds.collect();
    for (name, place) in Place::all().await {
        if picked(name, &["SQLite", "PostgreSQL"]) {
            over(name, place, &kinds).await;
        }
    }
}

async fn over(store: &str, place: Place, kinds: &[(Kind, &str)]) {
    let mut strangers = Vec::new();
    for _ in 0..3 {
        strangers.push(Rc::new(Nodes::alone(place.another().await).await));
    }
    let cluster = Rc::new(Nodes::cluster(place.another().await, 3).await);
    let alone = Rc::new(Nodes::alone(place).await);
    let ways = [
        Way::new("1 process", f64::INFINITY, &[&alone], true).await,
        Way::new(
            "3 without a cluster",
            f64::INFINITY,
            &strangers.iter().collect::<Vec<_>>(),
            true,
        )
        .await,
        Way::new("3, at random", 1.5, &[&cluster], false).await,
        Way::new("3, at the owner", 1.1, &[&cluster], true).await,
    ];
    println!(
        "\n{store}: {CLIENTS} clients for each process, medians of {ROUNDS} rounds of {ROUND:?}\n"
    );
    println!(
        "| request | nodes | CPU of all nodes, µs | of one process | limit | | of three without a cluster | requests/s | p50, ms | p99, ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for &(kind, name) in kinds {
        let mut rounds: Vec<Vec<Round>> = ways.iter().map(|_| Vec::new()).collect();
        for turn in 0..=ROUNDS {
            for (way, rounds) in ways.iter().zip(&mut rounds) {
                let round = way.round(kind, turn).await;
                // The first one is the warm-up.
                if turn > 0 {
                    rounds.push(round);
                }
            }
        }
        print(name, &ways, &rounds);
    }
    idle(&alone, &cluster).await;
}

fn print(request: &str, ways: &[Way], rounds: &[Vec<Round>]) {
    let middle = |rounds: &[Round], of: fn(&Round) -> f64| median(rounds.iter().map(of).collect());
    for (way, mine) in ways.iter().zip(rounds) {
        let to = |others: &[Round]| {
            let ratios = mine.iter().zip(others);
            median(
                ratios
                    .map(|(mine, other)| mine.cpu_us / other.cpu_us)
                    .collect(),
            )
        };
        let (ratio, to_strangers) = (to(&rounds[0]), to(&rounds[1]));
        let (limit, verdict) = if way.limit.is_finite() {
            (format!("≤ {}", way.limit), verdict(ratio <= way.limit))
        } else {
            (String::new(), "")
        };
        println!(
            "| {request} | {} | {:.0} | {ratio:.2} | {limit} | {verdict} | {to_strangers:.2} | {:.0} | {:.1} | {:.1} |",
            way.name,
            middle(mine, |round| round.cpu_us),
            middle(mine, |round| round.per_second),
            middle(mine, |round| round.p50_ms),
            middle(mine, |round| round.p99_ms),
        );
    }
}

/// What nodes cost when nobody asks them anything.
async fn idle(alone: &Nodes, cluster: &Nodes) {
    let (one, three) = (alone.cpu_seconds(), cluster.cpu_seconds());
    tokio::time::sleep(IDLE).await;
    let share = |spent: f64| spent / IDLE.as_secs_f64() * 1e3;
    println!(
        "\nidle: one process {:.1} ms of CPU a second, three together {:.1}",
        share(alone.cpu_seconds() - one),
        share(cluster.cpu_seconds() - three)
    );
}
