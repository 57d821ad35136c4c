//! The shared cache in Redis: what two nodes have of it, and what a Redis that is gone costs.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod faults;
mod nodes;
mod sharing;
#[path = "../support/mod.rs"]
mod support;

use support::backends;
mod throttling;
mod whole_node;
