//! The node from inside: its supervision tree, and its place in the cluster.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::answer::json;
use super::error::ApiError;
use super::extract::{Authenticated, Params};
use super::openapi::ReadErrors;
use crate::actors::root::TreeNode;
use crate::cluster::ClusterHandle;
use crate::cluster::wire::About;
use crate::domain::permission::Permission;
use crate::store::SHARDS;
use crate::store::cluster::{BootId, NodeRecord, ShardRecord};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(node))
        .routes(routes!(cluster))
}

/// The name of a node that works alone: nothing else has to be told apart from it.
const ALONE: &str = "local";

/// This node.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Node)]
struct NodeBody {
    #[schema(example = "n1")]
    name: String,
    /// Faktor's version.
    version: &'static str,
    draining: bool,
    #[schema(value_type = Object)]
    tree: TreeNode,
}

/// The supervision tree with counts and queue lengths.
#[utoipa::path(
    get, path = "/v1/node", tag = "operations", operation_id = "node",
    responses((status = 200, description = "This node", body = NodeBody), ReadErrors)
)]
async fn node(
    State(app): State<App>,
    caller: Authenticated,
    params: Params,
) -> Result<Response, ApiError> {
    caller.require(Permission::UserGetAll)?;
    params.finish()?;
    let body = NodeBody {
        name: own_name(&app),
        version: env!("CARGO_PKG_VERSION"),
        draining: app.is_draining(),
        tree: app.node.tree(),
    };
    json(StatusCode::OK, &body)
}

/// All nodes and what they own.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Cluster)]
struct ClusterBody {
    /// `embedded`: one node that owns everything; or `cluster`.
    #[schema(example = "cluster")]
    mode: &'static str,
    /// By name.
    nodes: Vec<MemberBody>,
    shards: ShardsBody,
    /// Who owns which shard, under which epoch; none while a node works alone.
    leases: Vec<LeaseBody>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClusterNode)]
struct MemberBody {
    #[schema(example = "n1")]
    name: String,
    /// One start of the node.
    boot: Option<String>,
    /// Where other nodes reach it; of a node that works alone, its web address.
    address: String,
    /// Its own web address.
    http: String,
    version: String,
    /// `up`, `draining` (it gives away what it owns), `expired` (its lease ran out) or `gone`.
    #[schema(example = "up")]
    state: &'static str,
    /// Whether it is the node that answers.
    this: bool,
    /// How many shards it owns.
    shards: usize,
    joined_at: Option<String>,
    /// How much of its lease is left, in milliseconds.
    lease_left_ms: Option<i64>,
    /// The connection from the answering node to it; none is up otherwise.
    link: Option<LinkBody>,
    /// What it says of itself; nothing if it can't be asked.
    about: Option<AboutBody>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClusterLink)]
struct LinkBody {
    up_for_s: u64,
    /// The last ping's way there and back, in milliseconds.
    rtt_ms: Option<f64>,
    /// Questions under way.
    in_flight: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClusterNodeLoad)]
struct AboutBody {
    live_invoices: u64,
    waiting: u64,
    effects_running: u64,
    /// How long ago it renewed its lease, in milliseconds.
    renewed_ms_ago: u64,
}

impl From<About> for AboutBody {
    fn from(about: About) -> Self {
        Self {
            live_invoices: about.live_invoices,
            waiting: about.waiting,
            effects_running: about.effects_running,
            renewed_ms_ago: about.renewed_ms_ago,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Shards)]
struct ShardsBody {
    total: u16,
    /// Those that have a live owner.
    owned: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lease)]
struct LeaseBody {
    shard: u16,
    /// The owner's name; nobody's for the moment.
    node: Option<String>,
    epoch: u64,
}

/// Nodes, shards and leases.
#[utoipa::path(
    get, path = "/v1/cluster", tag = "operations", operation_id = "cluster",
    responses((status = 200, description = "The cluster", body = ClusterBody), ReadErrors)
)]
async fn cluster(
    State(app): State<App>,
    caller: Authenticated,
    params: Params,
) -> Result<Response, ApiError> {
    caller.require(Permission::UserGetAll)?;
    params.finish()?;
    let body = match &app.cluster {
        None => alone(&app),
        Some(cluster) => together(&app, cluster).await,
    };
    json(StatusCode::OK, &body)
}

fn own_name(app: &App) -> String {
    let Some(cluster) = &app.cluster else {
        return ALONE.to_owned();
    };
    let (view, me) = (cluster.view(), cluster.me());
    let own = view.nodes.iter().find(|record| record.node.boot == me);
    own.map_or_else(String::new, |record| record.node.name.clone())
}

fn about_this(app: &App) -> AboutBody {
    AboutBody {
        live_invoices: app.invoices.live_count(),
        waiting: app.invoices.waiting(),
        effects_running: app.invoices.effects_running(),
        renewed_ms_ago: app
            .cluster
            .as_ref()
            .map_or(0, ClusterHandle::renewed_ms_ago),
    }
}

fn alone(app: &App) -> ClusterBody {
    let member = MemberBody {
        name: ALONE.to_owned(),
        boot: None,
        address: app.public_url.to_string(),
        http: app.public_url.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: if app.node.is_draining() {
            "draining"
        } else {
            "up"
        },
        this: true,
        shards: usize::from(SHARDS),
        joined_at: None,
        lease_left_ms: None,
        link: None,
        about: Some(about_this(app)),
    };
    ClusterBody {
        mode: "embedded",
        nodes: vec![member],
        shards: ShardsBody {
            total: SHARDS,
            owned: usize::from(SHARDS),
        },
        leases: Vec::new(),
    }
}

async fn together(app: &App, cluster: &ClusterHandle) -> ClusterBody {
    let (view, me) = (cluster.look().await, cluster.me());
    let mut abouts: HashMap<BootId, About> = cluster.about_others().await.into_iter().collect();
    let links = cluster.links();
    let names: HashMap<BootId, &NodeRecord> = view
        .nodes
        .iter()
        .map(|record| (record.node.boot, record))
        .collect();
    let nodes = view.nodes.iter().map(|record| {
        let boot = record.node.boot;
        let is_this = boot == me;
        let about = abouts.remove(&boot).map(AboutBody::from);
        MemberBody {
            name: record.node.name.clone(),
            boot: Some(boot.to_string()),
            address: record.node.address.clone(),
            http: record.node.http.clone(),
            version: record.node.version.clone(),
            state: state_of(record),
            this: is_this,
            shards: view
                .shards
                .iter()
                .filter(|shard| shard.owner == Some(boot))
                .count(),
            joined_at: Some(record.joined_at.to_string()),
            lease_left_ms: i64::try_from(record.left.as_millis()).ok(),
            link: links
                .iter()
                .find(|link| link.boot == boot)
                .map(|link| LinkBody {
                    up_for_s: link.up_for.as_secs(),
                    rtt_ms: link.rtt.map(whole_microseconds_as_ms),
                    in_flight: link.in_flight,
                }),
            about: if is_this {
                Some(about_this(app))
            } else {
                about
            },
        }
    });
    let nodes = nodes.collect();
    let live_owner = |shard: &ShardRecord| {
        let owner = shard.owner.and_then(|boot| names.get(&boot))?;
        owner.is_live().then(|| owner.node.name.clone())
    };
    let leases: Vec<LeaseBody> = view
        .shards
        .iter()
        .map(|shard| LeaseBody {
            shard: shard.shard.0,
            node: live_owner(shard),
            epoch: shard.epoch.0,
        })
        .collect();
    ClusterBody {
        mode: "cluster",
        nodes,
        shards: ShardsBody {
            total: SHARDS,
            owned: leases.iter().filter(|lease| lease.node.is_some()).count(),
        },
        leases,
    }
}

fn state_of(record: &NodeRecord) -> &'static str {
    if record.gone.is_some() {
        "gone"
    } else if !record.is_live() {
        "expired"
    } else if record.draining {
        "draining"
    } else {
        "up"
    }
}

/// So that 0.119 ms are not written as 0.11900000000000001.
fn whole_microseconds_as_ms(time: Duration) -> f64 {
    f64::from(u32::try_from(time.as_micros()).unwrap_or(u32::MAX)) / 1_000.0
}
