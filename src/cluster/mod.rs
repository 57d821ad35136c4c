//! Several nodes as one: how they reach each other.

pub mod gateway;
pub mod links;
