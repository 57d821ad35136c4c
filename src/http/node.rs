//! The node from inside: its supervision tree, and its place in the cluster.

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
use crate::domain::permission::Permission;
use crate::store::SHARDS;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(node))
        .routes(routes!(cluster))
}

/// A single node's name: nothing else has to be told apart from it.
const NAME: &str = "local";

/// This node.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Node)]
struct NodeBody {
    name: &'static str,
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
        name: NAME,
        version: env!("CARGO_PKG_VERSION"),
        draining: app.node.is_draining(),
        tree: app.node.tree(),
    };
    json(StatusCode::OK, &body)
}

/// All nodes and what they own.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Cluster)]
struct ClusterBody {
    /// `embedded`: one node that owns everything.
    mode: &'static str,
    nodes: Vec<MemberBody>,
    shards: ShardsBody,
    /// Who holds which shard until when; none are needed while there is one node.
    #[schema(value_type = Vec<Object>)]
    leases: Vec<()>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClusterNode)]
struct MemberBody {
    name: &'static str,
    address: String,
    /// up or draining.
    state: &'static str,
    /// How many shards it owns.
    shards: u16,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Shards)]
struct ShardsBody {
    total: u16,
    owned: u16,
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
    let member = MemberBody {
        name: NAME,
        address: app.public_url.to_string(),
        state: if app.node.is_draining() {
            "draining"
        } else {
            "up"
        },
        shards: SHARDS,
    };
    let body = ClusterBody {
        mode: "embedded",
        nodes: vec![member],
        shards: ShardsBody {
            total: SHARDS,
            owned: SHARDS,
        },
        leases: Vec::new(),
    };
    json(StatusCode::OK, &body)
}
