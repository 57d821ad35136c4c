//! Nodes that work together: who owns what, and how a request finds its invoice.

pub mod wire;
