//! What other nodes ask of this one, and tell it.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::{Duration, timeout};

use super::gateway::Inbound;
use super::links::LinkError;
use super::router;
use super::shared::Shared;
use super::watching::watched_from;
use super::wire::{self, About, Ask, News, Question, Reply};
use crate::actors::invoices::ExecuteError;
use crate::domain::ids::InvoiceId;
use crate::store::ShardId;
use crate::store::cache::Revoked;

/// How long after an asker's patience is over a question is given up here, too.
const NOBODY_LISTENS: Duration = Duration::from_secs(1);

/// Answers the other nodes.
pub(super) struct FromPeers {
    shared: Arc<Shared>,
}

#[async_trait]
impl Inbound for FromPeers {
    async fn call(&self, payload: Vec<u8>) -> Vec<u8> {
        let reply = match wire::read::<Ask>(&payload) {
            Ok(ask) => {
                let patience =
                    Duration::from_millis(ask.patience_ms).saturating_add(NOBODY_LISTENS);
                // Whether it was done is not known, and nobody hears it: the asker has given up.
                let answer = timeout(patience, self.answer(ask)).await;
                answer.unwrap_or(Reply::Crashed)
            }
            Err(error) => {
                tracing::warn!(%error, "a question of another node was not answered");
                Reply::Unreadable
            }
        };
        wire::write(&reply).unwrap_or_default()
    }

    fn cast(&self, payload: Vec<u8>) {
        match wire::read::<News>(&payload) {
            Ok(news) => self.hear(news),
            // A newer node may know more kinds of news.
            Err(error) => tracing::debug!(%error, "news of another node were not understood"),
        }
    }
}

impl FromPeers {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    async fn answer(&self, ask: Ask) -> Reply {
        if let (true, Some(id)) = (ask.relay, ask.what.invoice())
            && self.shared.ownership.serves(ShardId::of(id)).is_err()
        {
            return self.relay(id, ask).await;
        }
        match ask.what {
            Question::Execute {
                id,
                organization,
                request,
                represented,
            } => {
                let Some(invoices) = self.shared.invoices() else {
                    return Reply::NotOwner { hint: None };
                };
                let result = invoices.execute_here(id, organization, *request).await;
                if matches!(result, Err(ExecuteError::Unreachable)) {
                    // This node stops. Its silence is what every version understands: the asker asks
                    // the next owner for the same.
                    return std::future::pending().await;
                }
                self.note_stranger(&result, id);
                let hint = self.shared.hint(id);
                if represented {
                    // An invoice that its own edge can't write is a fault of the program.
                    Reply::represented(result.and_then(|done| invoices.represent(&done)), hint)
                } else {
                    Reply::of(result, hint)
                }
            }
            Question::Read {
                id,
                known,
                represented_to,
            } => {
                let Some(invoices) = self.shared.invoices() else {
                    return Reply::NotOwner { hint: None };
                };
                if let Some(organization) = represented_to {
                    let result = invoices.get_represented_here(id, organization).await;
                    return Reply::represented(result, self.shared.hint(id));
                }
                match invoices.get_here(id).await {
                    Ok(published) if known == Some(published.invoice.version) => Reply::Unchanged,
                    Ok(published) => Reply::Found {
                        invoice: Arc::clone(&published.invoice),
                    },
                    Err(error) => Reply::of_error(error, self.shared.hint(id)),
                }
            }
            Question::Take { shards } => self.take(shards),
            Question::About => self.about(),
        }
    }

    /// The asker has no link to the owner, which this node may have.
    async fn relay(&self, id: InvoiceId, ask: Ask) -> Reply {
        let owner = self.shared.owners.of(ShardId::of(id)).boot;
        let Some(link) = owner.and_then(|owner| self.shared.link(owner)) else {
            return Reply::NotOwner { hint: None };
        };
        let within = Duration::from_millis(ask.patience_ms);
        match router::relay(&self.shared, &link, ask, within).await {
            Ok(reply) => reply,
            Err(LinkError::Busy) => Reply::Busy,
            // Whoever asks by way of another knows that this says nothing, and asks again.
            Err(_) => Reply::NotOwner { hint: None },
        }
    }

    fn note_stranger<T>(&self, result: &Result<T, ExecuteError>, id: InvoiceId) {
        // It was asked because somebody thinks that it is the owner: is it by now?
        if matches!(result, Err(ExecuteError::NotOwner))
            && self.shared.owners.of(ShardId::of(id)).boot == Some(self.shared.me())
        {
            self.shared.look_soon();
        }
    }

    /// Shards that another node has handed over to this one, as the book says by now.
    fn take(&self, shards: Vec<wire::Held>) -> Reply {
        let Some(session) = self.shared.session() else {
            return Reply::Busy;
        };
        let shards: Vec<_> = shards.into_iter().filter_map(wire::Held::read).collect();
        {
            let mut tenure = session.tenure();
            for (shard, epoch) in &shards {
                tenure.grant(*shard, *epoch);
            }
        }
        self.shared.note_owner(session.boot, &shards);
        self.shared.tell_moved();
        metrics::counter!("faktor_cluster_shards_total", "change" => "granted")
            .increment(shards.len() as u64);
        tracing::info!(
            shards = shards.len(),
            reason = "another node handed them over",
            "shards are this node's now"
        );
        Reply::Taken
    }

    fn about(&self) -> Reply {
        let Some(invoices) = self.shared.invoices() else {
            return Reply::Busy;
        };
        Reply::About(About {
            live_invoices: invoices.live_count(),
            waiting: invoices.waiting(),
            effects_running: invoices.effects_running(),
            renewed_ms_ago: self.shared.renewed_ms_ago(),
        })
    }

    fn hear(&self, news: News) {
        match news {
            News::Moved { owner, shards } => {
                let shards: Vec<_> = shards.into_iter().filter_map(wire::Held::read).collect();
                self.shared.note_owner(owner, &shards);
            }
            News::Published => self.shared.outbox.heard(),
            News::Listen { from, for_ms } => self.shared.listened_to_from(from, for_ms),
            News::Revoked { scopes } => {
                for scope in scopes {
                    self.shared.cache.heard(Revoked::One(scope.into()));
                }
            }
            News::Watch { from, ids, for_ms } => watched_from(&self.shared, from, ids, for_ms),
            News::Version { id, version } => {
                if let Some(invoices) = self.shared.invoices() {
                    invoices.notify(id, version);
                }
            }
            News::Look => self.shared.look_soon(),
        }
    }
}
