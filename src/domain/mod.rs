//! The invoice domain: pure rules, no clock, no randomness, no I/O.

pub mod ids;
pub mod invoice;
pub mod limits;
pub mod money;
pub mod party;
pub mod permission;
pub mod problem;
pub mod series;
pub mod tax;
pub mod totals;
