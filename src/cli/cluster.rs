//! `faktor cluster`: the cluster's book, read and written where the nodes keep it, so that it works
//! whichever of them are at work.

use std::io::{self, Write};

use super::args::Cluster;
use crate::app::{BackendError, open_book};
use crate::config::Config;
use crate::store::cluster::{ClusterStore, ClusterView, NodeRecord};
use crate::store::{SHARDS, StoreError};

/// Why the book was not read or written, as a sentence.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    #[error("there is no node named {name}; there are: {known}")]
    UnknownNode { name: String, known: String },
    #[error("can't write to the terminal: {0}")]
    Output(#[from] io::Error),
}

/// Carries out `faktor cluster status` or `drain`.
pub async fn run(
    command: Cluster,
    config: &Config,
    out: &mut impl Write,
) -> Result<(), ClusterError> {
    let (stores, store) = open_book(config).await?;
    let done = carry_out(command, stores.cluster.as_ref(), out).await;
    let closed = store.close().await;
    done?;
    Ok(closed?)
}

async fn carry_out(
    command: Cluster,
    book: &dyn ClusterStore,
    out: &mut impl Write,
) -> Result<(), ClusterError> {
    match command {
        Cluster::Status => Ok(show(&book.view().await?, out)?),
        Cluster::Drain { node, back } => {
            let view = book.view().await?;
            let record = live(&view).find(|record| record.node.name == node);
            let is_known = match record {
                Some(record) => book.set_draining(record.node.boot, !back).await?,
                None => false,
            };
            if !is_known {
                return Err(ClusterError::UnknownNode {
                    name: node,
                    known: known(&view),
                });
            }
            if back {
                writeln!(
                    out,
                    "{node} takes part again; it is given its shards within seconds."
                )?;
            } else {
                writeln!(
                    out,
                    "{node} gives away what it owns, which begins within seconds; then it can be stopped. \
                     `faktor cluster status` shows how far it is."
                )?;
            }
            Ok(())
        }
    }
}

fn known(view: &ClusterView) -> String {
    let names: Vec<&str> = live(view).map(|record| record.node.name.as_str()).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn live(view: &ClusterView) -> impl Iterator<Item = &NodeRecord> {
    view.nodes.iter().filter(|record| record.is_live())
}

/// A table of nodes, and what nobody owns.
fn show(view: &ClusterView, out: &mut impl Write) -> io::Result<()> {
    if view.nodes.is_empty() {
        return writeln!(out, "No node is part of a cluster.");
    }
    writeln!(
        out,
        "{:<16} {:<9} {:>6} {:>9} {:>6} {:>9}  {:<9} {:<22} HTTP",
        "NODE", "STATE", "SHARDS", "EPOCH", "LINKS", "LEASE", "VERSION", "ADDRESS"
    )?;
    let mut owned = 0;
    for record in &view.nodes {
        let shards = view
            .shards
            .iter()
            .filter(|shard| shard.owner == Some(record.node.boot));
        let count = shards.clone().count();
        let epoch = shards.map(|shard| shard.epoch.0).max();
        if record.is_live() {
            owned += count;
        }
        writeln!(
            out,
            "{:<16} {:<9} {:>6} {:>9} {:>6} {:>7} s  {:<9} {:<22} {}",
            record.node.name,
            state(record),
            count,
            epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string()),
            record.links,
            record.left.as_secs().max(0),
            record.node.version,
            record.node.address,
            record.node.http,
        )?;
    }
    let homeless = usize::from(SHARDS).saturating_sub(owned);
    if homeless > 0 {
        writeln!(
            out,
            "\n{homeless} of {SHARDS} shards have no live owner: their invoices answer 503 until one \
             takes them."
        )?;
    }
    Ok(())
}

fn state(record: &NodeRecord) -> &'static str {
    match record.gone {
        Some(gone) => gone.name(),
        None if !record.is_live() => "expired",
        None if record.draining => "draining",
        None => "up",
    }
}
