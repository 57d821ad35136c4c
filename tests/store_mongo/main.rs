//! Invoices in MongoDB beyond the contract: what goes over the wire, what stands in the documents,
//! and what happens when replies are lost.

#[cfg(test)]
mod commits;
#[cfg(test)]
#[path = "../support/mongo.rs"]
mod database;
#[cfg(test)]
mod feed;
#[cfg(test)]
mod node;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod proxy;
#[cfg(test)]
#[path = "../store_sample/mod.rs"]
mod sample;
#[cfg(test)]
mod shape;
#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;

use support::backends;
