//! Faktor: an invoice platform in one binary. Every invoice is an actor with one owner.

pub mod actors;
pub mod app;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod crash_point;
pub mod domain;
pub mod http;
mod json;
pub mod outbound;
pub mod render;
pub mod store;
pub mod telemetry;
