//! Collects what is in the books, once all nodes have stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use faktor::clock::Clock;
use faktor::config::Secret;
use faktor::domain::ids::InvoiceId;
use faktor::domain::invoice::Invoice;
use faktor::domain::invoice::entry::{Entry, Recorded};
use faktor::outbound::payment::sandbox::{
    ChargeStatus, SandboxOptions, SandboxProvider, SessionState,
};
use faktor::store::Stores;
use faktor::store::sql::{PostgresOptions, PostgresStore, SqliteOptions, SqliteStore};
use jiff::SignedDuration;
use sha2::{Digest as _, Sha256};

use crate::checker::{Charge, Evidence, Found};
use crate::cluster::Cluster;
use crate::recording::Operation;

const PART: u16 = 500;
/// A webhook that came just before the nodes stopped is delivered after their next start.
const IN_PASSING: SignedDuration = SignedDuration::from_secs(10);

/// Reads everything; the nodes must have stopped.
pub(crate) async fn gather(cluster: &Cluster, recording: &[Operation]) -> Evidence {
    let data_dir = cluster.data_dir();
    let (stores, handle) = match cluster.postgres() {
        None => SqliteStore::open(&data_dir, SqliteOptions::default()).await,
        Some(url) => PostgresStore::open(url, PostgresOptions::default()).await,
    }
    .expect("the store opens");
    let sandbox = SandboxProvider::connect(SandboxOptions {
        // Its books are where the nodes' are.
        database: cluster.postgres().map(|url| Secret::new(url.to_owned())),
        ..SandboxOptions::new(&data_dir, "http://test", Clock::System)
    })
    .await
    .expect("the sandbox opens");

    let mut evidence = Evidence {
        mails: mails(&data_dir.join("mail")),
        undelivered_webhooks: undelivered_webhooks(&stores).await,
        ..Evidence::default()
    };
    let mut position = 0;
    loop {
        let part = stores.feed.placed_after(position, PART).await;
        let part = part.expect("the feed");
        let Some(last) = part.last() else { break };
        position = last.position;
        evidence
            .feed
            .extend(part.into_iter().map(|placed| placed.event));
    }
    let known = recording.iter().filter_map(|operation| operation.invoice);
    let told = evidence.feed.iter().map(|event| event.invoice);
    let ids: BTreeSet<InvoiceId> = known.chain(told).collect();
    let mut invoices = BTreeMap::new();
    for id in ids {
        if let Some(mut found) = found(&stores, &sandbox, id).await {
            found.document = document(&data_dir, &found.snapshot);
            invoices.insert(id, found);
        }
    }
    evidence.invoices = invoices;
    handle.close().await.expect("the store closes");
    evidence
}

async fn found(stores: &Stores, sandbox: &SandboxProvider, id: InvoiceId) -> Option<Found> {
    let snapshot = stores.invoices.load(id).await.expect("an invoice")?;
    let mut history = Vec::new();
    loop {
        let after = history.len() as u64;
        let part = stores.invoices.history(id, after, PART).await;
        let part = part.expect("a history");
        if part.is_empty() {
            break;
        }
        history.extend(part);
    }
    let charges = sandbox.charges(id).await.expect("the sandbox's books");
    let charges = charges
        .into_iter()
        .map(|charge| Charge {
            id: charge.id,
            effect: charge.effect,
            session: charge.session,
            amount: charge.amount,
            succeeded: charge.status == ChargeStatus::Succeeded,
        })
        .collect();
    Some(Found {
        open_pages: open_pages(sandbox, &history).await,
        snapshot,
        history,
        charges,
        document: None,
    })
}

/// Those of the invoice's checkout pages on which one could still pay.
async fn open_pages(sandbox: &SandboxProvider, history: &[Recorded]) -> Vec<String> {
    let mut open = Vec::new();
    for recorded in history {
        let Entry::PaymentLinkCreated { link, .. } = &recorded.entry else {
            continue;
        };
        let session = sandbox.session(&link.id).await;
        let session = session.expect("the sandbox's books");
        if session.is_some_and(|session| session.state == SessionState::Open) {
            open.push(link.id.clone());
        }
    }
    open
}

/// The checksum of the document's file.
fn document(data_dir: &Path, invoice: &Invoice) -> Option<String> {
    let stored = invoice.document.stored.as_ref()?;
    let bytes = std::fs::read(data_dir.join("documents").join(&stored.object)).ok()?;
    Some(hex::encode(Sha256::digest(bytes)))
}

async fn undelivered_webhooks(stores: &Stores) -> usize {
    let now = Clock::System.now();
    let undelivered = stores
        .inbox
        .undelivered(now + SignedDuration::from_hours(24), PART)
        .await;
    undelivered
        .expect("the inbox")
        .iter()
        .filter(|message| message.received_at < now - IN_PASSING)
        .count()
}

fn mails(spool: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(spool) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "eml"))
        .filter_map(|entry| {
            let mail = std::fs::read_to_string(entry.path()).expect("a mail");
            let id = mail
                .lines()
                .find_map(|line| line.strip_prefix("Message-ID: "))?;
            Some(id.trim().trim_matches(['<', '>']).to_owned())
        })
        .collect()
}
