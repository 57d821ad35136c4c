//! The shared cache in Redis: what two nodes have of it, and what a Redis that is gone costs.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

#[path = "../support/fault_proxy.rs"]
mod fault_proxy;
mod faults;
mod nodes;
mod sharing;
#[path = "../support/mod.rs"]
mod support;

use support::backends;
mod throttling;
mod whole_node;
