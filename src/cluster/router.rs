//! From an invoice to its owner: asks, follows hints, and asks again under the same key until there is
//! an answer or no time left.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::{Duration, Instant, timeout};

use super::links::{Link, LinkError};
use super::seen::Seen;
use super::shared::Shared;
use super::wanted::{Execution, Found, Wanted};
use super::wire::{self, Ask, Fault, Question, Reply};
use crate::actors::invoices::{Elsewhere, ExecuteError, Executed, Published, Representation};
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::command::Request;
use crate::store::{Epoch, ShardId, StoreError};

mod older;

/// How long an owner is looked for before the caller is told to come again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one node may take to answer before it is asked again.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// The pause before asking again, doubling; news of the owner end it early.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(800);
/// Nodes asked in one go, one hint after the other.
const MAX_HOPS: u8 = 2;

/// Finds the owners of invoices. Cheap to clone.
#[derive(Clone)]
pub(super) struct Router {
    shared: Arc<Shared>,
    seen: Seen,
}

/// What came of asking one node.
enum Asked {
    Answer(Reply),
    /// Somebody else should be asked at once.
    Hint,
    /// Nobody to ask now.
    Nothing,
    /// No answer; whether it was done is not known.
    Silence,
}

/// Whom to ask, and until when.
#[derive(Clone, Copy)]
struct Asking<'a> {
    link: &'a Link,
    /// See [`ask_on`].
    way: (u8, bool),
    deadline: Instant,
}

impl Router {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            seen: Seen::default(),
        }
    }

    async fn find(&self, id: InvoiceId, mut wanted: Wanted<'_>) -> Result<Found, ExecuteError> {
        let shard = ShardId::of(id);
        let deadline = Instant::now() + PATIENCE;
        let seen = match wanted {
            Wanted::State => self.seen.get(id),
            Wanted::Execution(_) | Wanted::Represented(_) => None,
        };
        let mut pause = FIRST_PAUSE;
        let mut was_crowded = false;
        loop {
            // Before asking, so that no news fall between the answer and the pause.
            let mut news = self.shared.news();
            if self.shared.ownership.serves(shard).is_ok() {
                let Some(invoices) = self.shared.invoices() else {
                    return Err(ExecuteError::Unreachable);
                };
                match wanted.here(&invoices, id).await {
                    Err(ExecuteError::NotOwner) => {}
                    Err(ExecuteError::Busy) => was_crowded = true,
                    settled => return settled,
                }
            } else {
                let known = seen.as_ref().map(|seen| seen.invoice.version);
                let asked_at = Instant::now();
                match self.ask_owner(id, shard, wanted, known, deadline).await {
                    Asked::Silence => wanted.doubt(asked_at),
                    Asked::Answer(Reply::NotOwner { .. }) | Asked::Nothing | Asked::Hint => {}
                    Asked::Answer(Reply::Busy) => was_crowded = true,
                    Asked::Answer(reply) => return self.answer(reply, seen),
                }
            }
            let now = Instant::now();
            if now >= deadline {
                metrics::counter!("faktor_cluster_unreachable_total").increment(1);
                // Busy says that nothing was done.
                return Err(if was_crowded && !wanted.is_in_doubt() {
                    ExecuteError::Busy
                } else {
                    ExecuteError::Unreachable
                });
            }
            metrics::counter!("faktor_cluster_asked_again_total").increment(1);
            // Both ways of waking up are the same: ask again.
            let _ = timeout(pause.min(deadline - now), news.changed()).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Asks the owner that is known, and whom it hints at.
    async fn ask_owner(
        &self,
        id: InvoiceId,
        shard: ShardId,
        wanted: Wanted<'_>,
        known: Option<u64>,
        deadline: Instant,
    ) -> Asked {
        let mut last = Asked::Nothing;
        for hops in 0..MAX_HOPS {
            let Some(owner) = self.shared.owners.of(shard).boot else {
                self.shared.look_soon();
                return Asked::Nothing;
            };
            let (link, relay) = match self.shared.link(owner) {
                Some(link) => (link, false),
                None => match self.shared.link_by_way_of_another() {
                    // It would pass the question on without saying that it is a repeat.
                    Some(link)
                        if wanted.is_in_doubt()
                            && self.shared.wire_of(link.boot()) < wire::CHANGES_SINCE =>
                    {
                        return Asked::Nothing;
                    }
                    Some(link) => (link, true),
                    None => return Asked::Nothing,
                },
            };
            let asking = Asking {
                link: &link,
                way: (hops, relay),
                deadline,
            };
            let otherwise = self.change_to_say_otherwise(wanted, [owner, link.boot()]);
            last = match otherwise {
                Some(change) => self.change_by_edit(asking, id, change).await,
                None => self.ask(asking, wanted.question(id, known)).await,
            };
            match &last {
                // It was not asked as the owner.
                Asked::Answer(Reply::NotOwner { .. }) if relay => return Asked::Silence,
                Asked::Answer(Reply::NotOwner { hint: Some(hint) })
                    if hint.owner != owner
                        && self
                            .shared
                            .owners
                            .note(shard, hint.owner, Epoch(hint.epoch)) =>
                {
                    last = Asked::Hint;
                }
                Asked::Answer(Reply::NotOwner { .. }) => {
                    self.shared.look_soon();
                    return last;
                }
                _ => return last,
            }
        }
        last
    }

    /// What a reply says; `seen` is the state that was named in the question.
    fn answer(&self, reply: Reply, seen: Option<Arc<Published>>) -> Result<Found, ExecuteError> {
        Err(match (reply, seen) {
            (Reply::Done { invoice, replayed }, _) => {
                self.seen
                    .note(Arc::new(Published::new(Arc::clone(&invoice))));
                return Ok(Found::Executed(Executed { invoice, replayed }));
            }
            (Reply::Found { invoice }, _) => {
                let published = Arc::new(Published::new(invoice));
                self.seen.note(Arc::clone(&published));
                return Ok(Found::State(published));
            }
            (
                Reply::Represented {
                    version,
                    body,
                    replayed,
                },
                _,
            ) => {
                return Ok(Found::Represented(Representation {
                    version,
                    body,
                    replayed,
                }));
            }
            (Reply::Unchanged, Some(seen)) => return Ok(Found::State(seen)),
            (Reply::Refused(refusal), _) => refusal.into(),
            (Reply::Failed(fault), _) => fault.into(),
            (Reply::Busy, _) => ExecuteError::Busy,
            (Reply::NotOwner { .. }, _) => ExecuteError::NotOwner,
            (Reply::Crashed, _) => ExecuteError::Crashed,
            (Reply::Unchanged | Reply::Taken | Reply::About(_) | Reply::Unreadable, _) => {
                ExecuteError::Store(StoreError::Unavailable {
                    reason: "another node gave an answer to another question".to_owned(),
                })
            }
        })
    }

    /// As the edge answers with it, whatever the owner gave.
    fn represented(
        &self,
        found: Found,
        organization: OrganizationId,
    ) -> Result<Representation, ExecuteError> {
        let invoices = || self.shared.invoices().ok_or(ExecuteError::Unreachable);
        match found {
            Found::Represented(representation) => Ok(representation),
            // An owner of version 1 gives the invoice itself.
            Found::Executed(done) => invoices()?.represent(&done),
            Found::State(published) => invoices()?.represent_to(organization, &published),
        }
    }

    async fn ask(&self, asking: Asking<'_>, what: Question) -> Asked {
        let Asking {
            link,
            way,
            deadline,
        } = asking;
        let within = ANSWER_WITHIN.min(deadline.saturating_duration_since(Instant::now()));
        match ask_on(&self.shared, link, what, way, within).await {
            Ok(reply) => Asked::Answer(reply),
            Err(LinkError::Busy) => Asked::Answer(Reply::Busy),
            Err(LinkError::TooLarge) => Asked::Answer(Reply::Failed(Fault::Unavailable {
                reason: "the command, or its answer, is too large for the link between two nodes"
                    .to_owned(),
            })),
            Err(LinkError::Lost | LinkError::TimedOut | LinkError::Failed) => Asked::Silence,
        }
    }
}

/// Asks one node one question.
pub(super) async fn ask(
    shared: &Shared,
    link: &Link,
    what: Question,
    within: Duration,
) -> Result<Reply, LinkError> {
    ask_on(shared, link, what, (0, false), within).await
}

/// Asks the node on which an asker without a link to it depends.
pub(super) async fn relay(
    shared: &Shared,
    link: &Link,
    ask: Ask,
    within: Duration,
) -> Result<Reply, LinkError> {
    ask_on(shared, link, ask.what, (ask.hops + 1, false), within).await
}

/// `(hops, relay)`: see [`Ask`].
async fn ask_on(
    shared: &Shared,
    link: &Link,
    what: Question,
    (hops, relay): (u8, bool),
    within: Duration,
) -> Result<Reply, LinkError> {
    let ask = Ask {
        relay,
        from: shared.me(),
        patience_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
        hops,
        what,
    };
    let Ok(payload) = wire::write(&ask) else {
        return Err(LinkError::Lost);
    };
    let bytes = link.call(payload, within).await?;
    match wire::read(&bytes) {
        Ok(Reply::Unreadable) | Err(_) => {
            tracing::warn!("a node does not understand another's messages; do their versions fit?");
            Err(LinkError::Lost)
        }
        Ok(reply) => Ok(reply),
    }
}

#[async_trait]
impl Elsewhere for Router {
    async fn execute(
        &self,
        id: InvoiceId,
        organization: Option<OrganizationId>,
        request: Request,
    ) -> Result<Executed, ExecuteError> {
        let wanted = Wanted::Execution(Execution {
            organization,
            request: &request,
            represented: false,
            unsure_since: None,
        });
        match self.find(id, wanted).await? {
            Found::Executed(done) => Ok(done),
            Found::State(_) | Found::Represented(_) => Err(ExecuteError::Crashed),
        }
    }

    async fn execute_represented(
        &self,
        id: InvoiceId,
        organization: OrganizationId,
        request: Request,
    ) -> Result<Representation, ExecuteError> {
        let wanted = Wanted::Execution(Execution {
            organization: Some(organization),
            request: &request,
            represented: true,
            unsure_since: None,
        });
        self.represented(self.find(id, wanted).await?, organization)
    }

    async fn get(&self, id: InvoiceId) -> Result<Arc<Published>, ExecuteError> {
        match self.find(id, Wanted::State).await? {
            Found::State(published) => Ok(published),
            Found::Executed(_) | Found::Represented(_) => Err(ExecuteError::Crashed),
        }
    }

    async fn get_represented(
        &self,
        id: InvoiceId,
        organization: OrganizationId,
    ) -> Result<Representation, ExecuteError> {
        let found = self.find(id, Wanted::Represented(organization)).await?;
        self.represented(found, organization)
    }

    fn watch(&self, id: InvoiceId) {
        self.shared.watch_elsewhere(&[id]);
    }
}
