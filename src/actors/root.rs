//! The root of the supervision tree.

use serde::Serialize;

/// One actor or group of actors of the supervision tree.
#[derive(Debug, Clone, Serialize)]
pub struct TreeNode {
    pub name: String,
    /// How many actors stand here.
    pub count: u64,
    /// Messages waiting.
    pub queue_len: u64,
    /// Times this part was restarted.
    pub restarts: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<TreeNode>,
}

/// The state of one thing this node depends on.
#[derive(Debug, Clone, Serialize)]
pub struct Dependency {
    pub name: String,
    pub ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a node says of itself. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NodeHandle {}

impl NodeHandle {
    /// The supervision tree with counts and queue lengths.
    pub async fn tree(&self) -> TreeNode {
        TreeNode { name: "root".to_owned(), count: 1, queue_len: 0, restarts: 0, children: vec![] }
    }

    /// Each dependency and its state.
    pub async fn dependencies(&self) -> Vec<Dependency> {
        vec![]
    }

    /// True from the start of the drain on.
    pub fn is_draining(&self) -> bool {
        false
    }
}
