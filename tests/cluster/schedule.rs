//! Faults in a random order, the same for the same seed.
//!
//! `FAKTOR_CHAOS_SECONDS`, `FAKTOR_CHAOS_SEED` and `FAKTOR_CHAOS_NODES` set length, seed and size;
//! `FAKTOR_CHAOS_STORE=postgres` runs over the server that the tests are told of, whose wires are then
//! cut as well.

use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::Setup;
use crate::domain_fixture::Random;
use crate::postgres::Postgres;
use crate::support::fault_proxy::Fault;
use crate::trial::Trial;
use crate::turn;

/// From this length on, leases are as long as by default.
const LONG_RUN: Duration = Duration::from_mins(2);
const SHORT_LEASE: Duration = Duration::from_secs(5);
const USUAL_LEASE: Duration = Duration::from_secs(15);

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Kill(Vec<usize>),
    Pause(usize, Duration),
    CutOff(usize, Vec<usize>, Duration),
    Restart(usize),
    /// One more, which leaves again.
    Join(Duration),
    CutFromStore(usize, Fault, Duration),
}

struct Chooser {
    random: Random,
    nodes: usize,
    lease: Duration,
    has_store_wires: bool,
}

impl Chooser {
    fn next(&mut self) -> Step {
        let node = self.node();
        let other = (node + 1) % self.nodes;
        match self
            .random
            .below(if self.has_store_wires { 12 } else { 10 })
        {
            0..2 => Step::Kill(vec![node]),
            2 => Step::Kill(vec![node, other]),
            3 => Step::Kill((0..self.nodes).collect()),
            4 => Step::Pause(node, self.shorter_than_a_lease()),
            5 => Step::Pause(node, self.longer_than_a_lease()),
            6 => Step::CutOff(node, vec![other], self.any_time()),
            7 => {
                let others = (0..self.nodes).filter(|other| *other != node).collect();
                Step::CutOff(node, others, self.any_time())
            }
            8 => Step::Restart(node),
            9 => Step::Join(self.milliseconds(500, 4_000)),
            _ => {
                let faults = [Fault::Stall, Fault::Refuse, Fault::CutMidAnswer];
                let fault = *self.random.pick(&faults);
                Step::CutFromStore(node, fault, self.any_time())
            }
        }
    }

    fn node(&mut self) -> usize {
        usize::try_from(self.random.below(self.nodes as u64)).unwrap_or(0)
    }

    fn shorter_than_a_lease(&mut self) -> Duration {
        self.milliseconds(500, self.lease.as_millis() / 2)
    }

    fn longer_than_a_lease(&mut self) -> Duration {
        let lease = self.lease.as_millis();
        self.milliseconds(lease, lease * 2)
    }

    fn any_time(&mut self) -> Duration {
        if self.random.one_in(2) {
            self.shorter_than_a_lease()
        } else {
            self.longer_than_a_lease()
        }
    }

    fn milliseconds(&mut self, from: u128, to: u128) -> Duration {
        let [from, to] = [from, to].map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
        Duration::from_millis(from + self.random.below(to.saturating_sub(from).max(1)))
    }

    fn breather(&mut self) -> Duration {
        self.milliseconds(0, 3_000)
    }
}

impl Trial {
    async fn perform(&mut self, step: Step, store: Option<&Postgres>) {
        match step {
            Step::Kill(nodes) => {
                self.kill(&nodes).await;
            }
            Step::Pause(node, time) => {
                self.pause(node, time).await;
            }
            Step::CutOff(node, others, time) => {
                self.cut_off(node, &others, time).await;
            }
            Step::Restart(node) => self.restart(node).await,
            Step::Join(time) => {
                let node = self.join().await;
                self.run_for(time).await;
                self.note(&format!("n{} leaves", node + 1));
                self.cluster.stop(node).await;
            }
            Step::CutFromStore(node, fault, time) => {
                if let Some(store) = store {
                    self.cut_from_store(store, node, fault, time).await;
                }
            }
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    let value = std::env::var(format!("FAKTOR_CHAOS_{name}"));
    value.map_or(default, |value| value.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_schedule_of_faults_breaks_no_rule() {
    let _turn = turn().await;
    let length = Duration::from_secs(setting("SECONDS", 30));
    let seed = setting("SEED", 1);
    let nodes = usize::try_from(setting("NODES", 3)).expect("a number of nodes");
    let lease = if length >= LONG_RUN {
        USUAL_LEASE
    } else {
        SHORT_LEASE
    };
    let wants_postgres = std::env::var("FAKTOR_CHAOS_STORE").is_ok_and(|store| store == "postgres");
    let store = if wants_postgres {
        Some(Postgres::new(nodes).await.expect("a PostgreSQL server"))
    } else {
        None
    };
    let setup = Setup {
        has_wires: true,
        lease_ttl_ms: u64::try_from(lease.as_millis()).ok(),
        postgres: store.as_ref().map(Postgres::url),
        ..Setup::of(nodes)
    };
    let mut trial = Trial::begin_with("random schedule", seed, setup, |nodes| {
        if let Some(store) = &store {
            store.wire(nodes);
        }
    })
    .await;
    let mut chooser = Chooser {
        random: Random::new(seed),
        nodes,
        lease,
        has_store_wires: wants_postgres,
    };
    let end = Instant::now() + length;
    while Instant::now() < end {
        let breather = chooser.breather();
        trial.run_for(breather).await;
        let step = chooser.next();
        trial.perform(step, store.as_ref()).await;
    }
    trial.conclude().await;
}

#[test]
fn a_seed_gives_the_same_schedule_again() {
    let steps = |seed| {
        let mut chooser = Chooser {
            random: Random::new(seed),
            nodes: 5,
            lease: USUAL_LEASE,
            has_store_wires: true,
        };
        let steps: Vec<(Duration, Step)> = (0..50)
            .map(|_| (chooser.breather(), chooser.next()))
            .collect();
        steps
    };
    assert_eq!(steps(7), steps(7));
    assert_ne!(steps(7), steps(8));
}
