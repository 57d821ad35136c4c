//! Links between nodes that are processes of their own.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "cluster_links/certificates.rs"]
mod certificates;
#[path = "cluster_links/failures.rs"]
mod failures;
#[path = "cluster_links/messages.rs"]
mod messages;
#[path = "cluster_links/node.rs"]
mod node;
#[path = "cluster_links/strangers.rs"]
mod strangers;
