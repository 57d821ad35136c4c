//! The ways in which nodes are asked, and what a round of requests costs in each.

use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;

use tokio::time::Instant;

use super::load::Load;
use super::nodes::{Nodes, owner_of};

/// Who is asked, and how the node is chosen.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    /// Of the CPU per request of one node alone.
    pub(crate) limit: f64,
    /// A cluster, or nodes without one.
    pub(crate) sides: Vec<Side>,
    /// Of every node, with the token it takes.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) tokens: Rc<Vec<String>>,
}

/// Nodes over one store.
pub(crate) struct Side {
    pub(crate) nodes: Rc<Nodes>,
    /// Where they begin among all nodes of the way.
    first: usize,
    /// The node of each shard, if the owners are asked.
    owners: Option<Vec<Option<usize>>>,
}

impl Side {
    /// Its nodes among all of the way.
    pub(crate) fn all(&self) -> Range<usize> {
        self.first..self.first + self.nodes.nodes.len()
    }

    /// The node to ask for an invoice; none: any.
    pub(crate) fn node_for(&self, id: &str) -> Option<usize> {
        let owners = self.owners.as_ref()?;
        Some(self.first + owner_of(owners, id).unwrap())
    }
}

/// What a round cost.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    /// Of all nodes, for each request.
    pub(crate) cpu_us: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// For each request, how often it was looked whether something is done by now.
    pub(crate) looks: f64,
}

impl Way {
    pub(crate) async fn new(
        name: &'static str,
        limit: f64,
        sides: &[&Rc<Nodes>],
        to_owner: bool,
    ) -> Self {
        let mut way = Self {
            name,
            limit,
            sides: Vec::new(),
            addresses: Vec::new(),
            tokens: Rc::default(),
        };
        let mut tokens = Vec::new();
        for nodes in sides {
            let owners = if to_owner {
                Some(nodes.owners(0).await)
            } else {
                None
            };
            way.sides.push(Side {
                nodes: Rc::clone(nodes),
                first: way.addresses.len(),
                owners,
            });
            way.addresses.extend(nodes.addresses());
            tokens.extend(nodes.nodes.iter().map(|_| nodes.token.clone()));
        }
        way.tokens = Rc::new(tokens);
        way
    }

    /// The side of one of all nodes.
    pub(crate) fn side_of(&self, node: usize) -> &Side {
        let mut sides = self.sides.iter();
        sides.find(|side| side.all().contains(&node)).unwrap()
    }

    fn cpu_seconds(&self) -> f64 {
        self.sides.iter().map(|side| side.nodes.cpu_seconds()).sum()
    }

    /// What a load costs, until it is over.
    pub(crate) async fn round(&self, load: impl Future<Output = Load>) -> Round {
        let cpu = self.cpu_seconds();
        let begun = Instant::now();
        let load = load.await;
        let cpu = self.cpu_seconds() - cpu;
        let latencies = load.latencies();
        let answered = latencies.len() as f64;
        Round {
            cpu_us: cpu / answered * 1e6,
            per_second: answered / begun.elapsed().as_secs_f64(),
            p50_ms: latencies.ms(50),
            p99_ms: latencies.ms(99),
            looks: load.looks as f64 / answered,
        }
    }
}
