//! One process against three: the same requests at one node alone, at random nodes of a cluster, and at
//! the owners' nodes. Beside them three nodes that know nothing of each other, each with a store of its
//! own, which says what part of a cluster's cost is that of three processes. In turns, so that the
//! ratios hold on a machine that others use, too.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::life::{self, lives};
use super::load::{Next, Plan, creation, drafts, edit, load, reading, scatter};
use super::measure::median;
use super::nodes::Nodes;
use super::store::Place;
use super::verdict;
use super::ways::{Round, Way};

/// For each process: what one commit carries depends on how many ask at once.
const CLIENTS: usize = 32;
const ROUND: Duration = Duration::from_millis(1_500);
/// Node clocks count in 10 ms, and these rounds have fewer requests.
const STEADY_ROUND: Duration = Duration::from_secs(5);
/// Where five lives begin in a second, each client's turn comes once in this time.
const STEADY_ROUND_OF_LIVES: Duration = Duration::from_secs(13);
const ROUNDS: usize = 5;
/// Drafts that are read and changed, again and again.
const DRAFTS: usize = 512;
/// So many that a node which is not their owner has mostly forgotten what it saw of them.
const MANY_DRAFTS: usize = 6_000;
/// What idle nodes cost is seen over a longer time.
const IDLE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    ReadMany,
    Create,
    Edit,
    /// 60 % reads, 20 % creates, 20 % edits.
    Mix,
    /// Where every node has as much to do as the one alone, and time for it: so many begin in a second
    /// at each.
    SteadyMix(usize),
    /// From draft to paid, with all that comes of it.
    Life,
    SteadyLife(usize),
}

impl Kind {
    fn is_of_lives(self) -> bool {
        matches!(self, Self::Life | Self::SteadyLife(_))
    }
}

const KINDS: [(Kind, &str); 13] = [
    (Kind::Read, "read of 512"),
    (Kind::ReadMany, "read of 6,000"),
    (Kind::Create, "create"),
    (Kind::Edit, "edit"),
    (Kind::Mix, "mix"),
    (Kind::SteadyMix(100), "mix, 100/s a node"),
    (Kind::SteadyMix(350), "mix, 350/s a node"),
    (Kind::SteadyMix(700), "mix, 700/s a node"),
    (Kind::SteadyMix(1_400), "mix, 1,400/s a node"),
    (Kind::SteadyMix(2_000), "mix, 2,000/s a node"),
    (Kind::Life, "whole life"),
    (Kind::SteadyLife(5), "whole life, 5/s a node"),
    (Kind::SteadyLife(20), "whole life, 20/s a node"),
];

/// A way, and the drafts that are there to be asked for.
struct Trial {
    way: Way,
    drafts: Rc<Vec<Draft>>,
}

/// What came of one kind, by the names of the ways.
type RoundsOfWays = Vec<(&'static str, Vec<Round>)>;

struct Draft {
    id: String,
    /// The node to ask; none: any.
    node: Option<usize>,
}

impl Trial {
    async fn new(way: Way, kind: Kind) -> Self {
        let count = match kind {
            Kind::ReadMany => MANY_DRAFTS,
            _ if kind.is_of_lives() => 0,
            _ => DRAFTS,
        };
        let drafts = Rc::new(made(&way, count).await);
        Self { way, drafts }
    }

    fn requests(&self, kind: Kind, turn: usize) -> Next {
        let drafts = Rc::clone(&self.drafts);
        let tokens = Rc::clone(&self.way.tokens);
        let creations: Vec<_> = tokens.iter().map(|token| creation(token)).collect();
        Rc::new(move |client, sent| {
            let number = (turn << 40) + (client << 32) + sent;
            let any = scatter(number, tokens.len());
            let kind = match (kind, scatter(number + 1, 10)) {
                (Kind::Mix | Kind::SteadyMix(_), 0..6) => Kind::Read,
                (Kind::Mix | Kind::SteadyMix(_), 6..8) => Kind::Create,
                (Kind::Mix | Kind::SteadyMix(_), _) => Kind::Edit,
                (kind, _) => kind,
            };
            let draft = &drafts[scatter(number + 2, drafts.len())];
            let node = draft.node.unwrap_or(any);
            match kind {
                Kind::Read | Kind::ReadMany => (node, reading(&tokens[node], &draft.id)),
                Kind::Edit => (node, edit(&tokens[node], &draft.id, number)),
                _ => (any, Arc::clone(&creations[any])),
            }
        })
    }

    async fn round(&self, kind: Kind, turn: usize) -> Round {
        let addresses = &self.way.addresses;
        let each_client = |in_a_second: usize, at_once: usize| {
            let seconds = (CLIENTS * at_once) as f64 / in_a_second as f64;
            Some(Duration::from_secs_f64(seconds))
        };
        let (round, pace) = match kind {
            Kind::SteadyMix(requests) => (STEADY_ROUND, each_client(requests, 1)),
            Kind::SteadyLife(invoices) => {
                (STEADY_ROUND_OF_LIVES, each_client(invoices, life::AT_ONCE))
            }
            _ => (ROUND, None),
        };
        let plan = Plan {
            clients: CLIENTS * addresses.len(),
            until: Instant::now() + round,
            pace,
            may_fail: false,
        };
        if kind.is_of_lives() {
            return self.way.round(lives(&self.way, plan, turn)).await;
        }
        let requests = self.requests(kind, turn);
        self.way.round(load(addresses, plan, &requests)).await
    }
}

/// New drafts with the node to ask for each.
async fn made(way: &Way, count: usize) -> Vec<Draft> {
    let mut all = Vec::new();
    for side in &way.sides {
        let nodes: Vec<usize> = (0..side.nodes.nodes.len()).collect();
        for id in drafts(&side.nodes, &nodes, count / way.sides.len()).await {
            let node = side.node_for(&id);
            all.push(Draft { id, node });
        }
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
            over(name, &place, &kinds).await;
        }
    }
}

async fn over(store: &str, place: &Place, kinds: &[(Kind, &str)]) {
    println!(
        "\n{store}: {CLIENTS} clients for each process, medians of {ROUNDS} rounds of {ROUND:?}, at a steady rate of {STEADY_ROUND:?}, of lives of {STEADY_ROUND_OF_LIVES:?}\n"
    );
    println!(
        "| request | nodes | CPU of all nodes, µs | of one process | limit | | of three without a cluster | requests/s | p50, ms | p99, ms | CPU of each round |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let mut of_lives: Vec<(&str, RoundsOfWays)> = Vec::new();
    for &(kind, name) in kinds {
        let trials = set_up(place, kind).await;
        let mut rounds: Vec<Vec<Round>> = trials.iter().map(|_| Vec::new()).collect();
        for turn in 0..=ROUNDS {
            for (trial, rounds) in trials.iter().zip(&mut rounds) {
                let round = trial.round(kind, turn).await;
                // The first one is the warm-up.
                if turn > 0 {
                    rounds.push(round);
                }
            }
        }
        print(name, &trials, &rounds);
        if kind.is_of_lives() {
            let names = trials.iter().map(|trial| trial.way.name);
            of_lives.push((name, names.zip(rounds).collect()));
        }
    }
    print_lives(&of_lives);
    idle(place).await;
}

/// Nodes of its own for each kind: what they still do about the invoices of another one is no part of it.
async fn set_up(place: &Place, kind: Kind) -> Vec<Trial> {
    let mut strangers = Vec::new();
    for _ in 0..3 {
        strangers.push(Rc::new(Nodes::alone(place.another().await).await));
    }
    let cluster = Rc::new(Nodes::cluster(place.another().await, 3).await);
    let alone = Rc::new(Nodes::alone(place.another().await).await);
    let unlimited = f64::INFINITY;
    let of_strangers: Vec<_> = strangers.iter().collect();
    let ways = [
        Way::new("1 process", unlimited, &[&alone], true).await,
        Way::new("3 without a cluster", unlimited, &of_strangers, true).await,
        Way::new("3, at random", 1.5, &[&cluster], false).await,
        Way::new("3, at the owner", 1.1, &[&cluster], true).await,
    ];
    let mut trials = Vec::new();
    for way in ways {
        trials.push(Trial::new(way, kind).await);
    }
    trials
}

fn middle(rounds: &[Round], of: fn(&Round) -> f64) -> f64 {
    median(rounds.iter().map(of).collect())
}

fn print(request: &str, trials: &[Trial], rounds: &[Vec<Round>]) {
    for (Trial { way, .. }, mine) in trials.iter().zip(rounds) {
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
            "| {request} | {} | {:.0} | {ratio:.2} | {limit} | {verdict} | {to_strangers:.2} | {:.0} | {:.1} | {:.1} | {} |",
            way.name,
            middle(mine, |round| round.cpu_us),
            middle(mine, |round| round.per_second),
            middle(mine, |round| round.p50_ms),
            middle(mine, |round| round.p99_ms),
            mine.iter()
                .map(|round| format!("{:.0}", round.cpu_us))
                .collect::<Vec<_>>()
                .join(" "),
        );
    }
}

/// The same rounds, by invoice.
fn print_lives(kinds: &[(&str, RoundsOfWays)]) {
    if kinds.is_empty() {
        return;
    }
    let requests = life::REQUESTS as f64;
    println!(
        "\nthe whole life of an invoice, {requests} requests, in rounds that end when all that was begun is done:\n"
    );
    println!(
        "| invoices | nodes | CPU of all nodes, ms | invoices/s | looks for what is not done yet, not among the requests |"
    );
    println!("|---|---|---|---|---|");
    for (name, ways) in kinds {
        for (way, mine) in ways {
            println!(
                "| {name} | {way} | {:.2} | {:.0} | {:.2} |",
                middle(mine, |round| round.cpu_us) * requests / 1e3,
                middle(mine, |round| round.per_second) / requests,
                middle(mine, |round| round.looks) * requests,
            );
        }
    }
}

/// What nodes cost when nobody asks them anything.
async fn idle(place: &Place) {
    let alone = Nodes::alone(place.another().await).await;
    let cluster = Nodes::cluster(place.another().await, 3).await;
    let (one, three) = (alone.cpu_seconds(), cluster.cpu_seconds());
    tokio::time::sleep(IDLE).await;
    let share = |spent: f64| spent / IDLE.as_secs_f64() * 1e3;
    println!(
        "\nidle: one process {:.1} ms of CPU a second, three together {:.1}",
        share(alone.cpu_seconds() - one),
        share(cluster.cpu_seconds() - three)
    );
}
