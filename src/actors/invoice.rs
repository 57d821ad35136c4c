//! One invoice: takes commands one at a time, decides, persists, acts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tracing::Instrument as _;

use super::invoices::{ExecuteError, Executed, Node};
use super::live::{Live, Published};
use crate::crash_point::crash_point;
use crate::domain::ids::{InvoiceId, OrganizationId};
use crate::domain::invoice::Invoice;
use crate::domain::invoice::command::{Command, Initiator, Request};
use crate::domain::invoice::decide::{Refusal, Step, step};
use crate::domain::invoice::effect::EffectKindName;
use crate::domain::invoice::entry::{Entry, Recorded};
use crate::domain::invoice::evolve::replay;
use crate::store::{Commit, ShardId, StoreError};

/// The most entries replayed for a repeat's answer or a look into the past, read in pages.
const HISTORY_PAGE: u16 = 1_000;

pub(super) enum InvoiceMessage {
    Execute {
        call: Arc<Call>,
        reply: oneshot::Sender<Result<Executed, ExecuteError>>,
    },
    Get {
        reply: oneshot::Sender<Result<Arc<Published>, ExecuteError>>,
    },
    /// Look at the clock and at what is pending.
    Wake,
    /// Leave memory, unless something is waiting or under way.
    Retire,
}

impl ractor::Message for InvoiceMessage {}

/// A command on its way: shared with the caller, who sends it again if the actor dies before it
/// began.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) request: Request,
    /// `None` for Faktor's own commands.
    pub(super) organization: Option<OrganizationId>,
    pub(super) started: AtomicBool,
    /// The caller's, so that what is logged here has its request's id.
    pub(super) span: tracing::Span,
}

pub(super) struct InvoiceActor {
    pub(super) node: Arc<Node>,
}

pub(super) struct InvoiceArguments {
    pub(super) id: InvoiceId,
    pub(super) live: Arc<Live>,
}

pub(super) struct InvoiceState {
    id: InvoiceId,
    live: Arc<Live>,
    memory: Memory,
}

/// What the actor knows of its invoice.
enum Memory {
    /// Nothing yet, or nothing any more after a write whose outcome is not known.
    Unloaded,
    Absent,
    Present(Arc<Invoice>),
}

impl Actor for InvoiceActor {
    type Msg = InvoiceMessage;
    type State = InvoiceState;
    type Arguments = InvoiceArguments;

    async fn pre_start(
        &self,
        _: ActorRef<InvoiceMessage>,
        InvoiceArguments { id, live }: InvoiceArguments,
    ) -> Result<InvoiceState, ActorProcessingErr> {
        Ok(InvoiceState {
            id,
            live,
            memory: Memory::Unloaded,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<InvoiceMessage>,
        message: InvoiceMessage,
        state: &mut InvoiceState,
    ) -> Result<(), ActorProcessingErr> {
        // What a message needs while it is worked on is boxed: otherwise every live invoice would
        // hold room for it as long as it lives.
        match message {
            InvoiceMessage::Execute { call, reply } => {
                let span = call.span.clone();
                Box::pin(self.execute(state, &call, reply).instrument(span)).await;
            }
            InvoiceMessage::Get { reply } => Box::pin(self.get(state, reply)).await,
            InvoiceMessage::Wake => Box::pin(self.wake(state)).await,
            InvoiceMessage::Retire => self.retire(&myself, state),
        }
        if !matches!(state.memory, Memory::Present(_)) {
            // Nothing is worth remembering of an id that names nothing, or whose create was refused.
            self.stop(&myself, state);
        }
        Ok(())
    }
}

impl InvoiceActor {
    async fn execute(
        &self,
        state: &mut InvoiceState,
        call: &Call,
        reply: oneshot::Sender<Result<Executed, ExecuteError>>,
    ) {
        call.started.store(true, Ordering::Release);
        let result = self
            .carry_out(state, call.organization, &call.request)
            .await;
        // A caller that went away asks again with the same key.
        let _ = reply.send(result);
        self.start_effects(state);
    }

    async fn get(
        &self,
        state: &mut InvoiceState,
        reply: oneshot::Sender<Result<Arc<Published>, ExecuteError>>,
    ) {
        if let Err(error) = self.check_ownership(state) {
            let _ = reply.send(Err(error));
            return;
        }
        let result = match self.load(state).await {
            Ok(Some(_)) => state
                .live
                .published()
                .ok_or(ExecuteError::Refused(Refusal::NotFound)),
            Ok(None) => Err(ExecuteError::Refused(Refusal::NotFound)),
            Err(error) => Err(error.into()),
        };
        let _ = reply.send(result);
        self.start_effects(state);
    }

    async fn wake(&self, state: &mut InvoiceState) {
        let result = match self.load(state).await {
            Ok(Some(invoice))
                if invoice
                    .wake_at()
                    .is_some_and(|at| at <= self.node.clock.now()) =>
            {
                self.tick(state).await
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = result {
            tracing::warn!(invoice.id = %state.id, %error, "an alarm could not be handled; it comes again");
        }
        self.start_effects(state);
    }

    async fn tick(&self, state: &mut InvoiceState) -> Result<(), ExecuteError> {
        let request = internal(Command::Tick, Initiator::Clock, "clock");
        self.carry_out(state, None, &request).await?;
        Ok(())
    }

    fn retire(&self, myself: &ActorRef<InvoiceMessage>, state: &InvoiceState) {
        let working = match &state.memory {
            Memory::Present(invoice) => self.node.effects_running(invoice),
            Memory::Unloaded | Memory::Absent => false,
        };
        if !working && state.live.waiting() == 0 {
            self.stop(myself, state);
        }
    }

    fn stop(&self, myself: &ActorRef<InvoiceMessage>, state: &InvoiceState) {
        self.node.live.remove(state.id, &state.live);
        myself.stop(None);
    }

    /// Whether this node still answers for the invoice, as it did when the actor was made.
    fn check_ownership(&self, state: &InvoiceState) -> Result<(), ExecuteError> {
        let ownership = &self.node.ownership;
        if ownership.may_finish(ShardId::of(state.id), state.live.epoch) {
            Ok(())
        } else {
            Err(ExecuteError::NotOwner)
        }
    }

    /// Decide, persist; once more from the store if another write came first.
    async fn carry_out(
        &self,
        state: &mut InvoiceState,
        organization: Option<OrganizationId>,
        request: &Request,
    ) -> Result<Executed, ExecuteError> {
        self.check_ownership(state)?;
        let mut reloaded = false;
        loop {
            let current = self.current_for(state, request).await?;
            if let (Some(invoice), Some(organization)) = (&current, organization)
                && invoice.organization != organization
            {
                return Err(Refusal::NotFound.into());
            }
            let now = self.node.clock.now();
            match step(current.as_deref(), state.id, request, now)? {
                Step::Replayed { version } => {
                    if let Some(invoice) = current {
                        self.allocate_number(state, invoice).await?;
                    }
                    let invoice = self.at_version(state, version).await?;
                    return Ok(Executed {
                        invoice,
                        replayed: true,
                    });
                }
                Step::Unchanged => {
                    let invoice = current.ok_or(Refusal::NotFound)?;
                    let invoice = self.allocate_number(state, invoice).await?;
                    return Ok(Executed {
                        invoice,
                        replayed: false,
                    });
                }
                Step::Changed {
                    mut invoice,
                    recorded,
                    events,
                } => {
                    invoice.shrink_to_fit();
                    let commit = Commit {
                        invoice: Arc::from(invoice),
                        before: current,
                        epoch: state.live.epoch,
                        recorded,
                        events,
                    };
                    match self.persist(state, commit).await {
                        Err(StoreError::Conflict) if !reloaded => {
                            reloaded = true;
                            state.memory = Memory::Unloaded;
                            self.load(state).await?;
                        }
                        Err(error) => return Err(error.into()),
                        Ok(invoice) => {
                            let invoice = self.allocate_number(state, invoice).await?;
                            return Ok(Executed {
                                invoice,
                                replayed: false,
                            });
                        }
                    }
                }
            }
        }
    }

    /// The invoice a command is judged against. A create is tried without looking: if there is one
    /// already, the store says so.
    async fn current_for(
        &self,
        state: &mut InvoiceState,
        request: &Request,
    ) -> Result<Option<Arc<Invoice>>, StoreError> {
        match (&state.memory, request.command.source()) {
            (Memory::Unloaded, Some(_)) => Ok(None),
            _ => self.load(state).await,
        }
    }

    async fn load(&self, state: &mut InvoiceState) -> Result<Option<Arc<Invoice>>, StoreError> {
        if let Memory::Present(invoice) = &state.memory {
            return Ok(Some(Arc::clone(invoice)));
        }
        let claimed = self.node.store.claim(state.id, state.live.epoch).await?;
        let invoice = claimed.map(|mut invoice| {
            invoice.shrink_to_fit();
            Arc::new(invoice)
        });
        state.live.publish(invoice.clone());
        state.memory = match &invoice {
            Some(invoice) => Memory::Present(Arc::clone(invoice)),
            None => Memory::Absent,
        };
        Ok(invoice)
    }

    /// The one atomic write of a command; afterwards everybody may see the new state.
    async fn persist(
        &self,
        state: &mut InvoiceState,
        commit: Commit,
    ) -> Result<Arc<Invoice>, StoreError> {
        let invoice = Arc::clone(&commit.invoice);
        let has_events = !commit.events.is_empty();
        let last = commit.recorded.last().map(|recorded| recorded.entry.name());
        crash_point("before_commit", last);
        if let Err(error) = self.node.store.commit(commit).await {
            // Whether it was written may not be known: the store is asked next time.
            state.memory = Memory::Unloaded;
            return Err(error);
        }
        crash_point("after_commit", last);
        state.memory = Memory::Present(Arc::clone(&invoice));
        state.live.publish(Some(Arc::clone(&invoice)));
        self.node.live.notify(state.id, invoice.version);
        if has_events {
            self.node.outbox.nudge();
        }
        Ok(invoice)
    }

    /// The one effect an actor does itself, so that the answer to a finalize has the number. Also
    /// resumes one that a crash cut off.
    ///
    /// What was asked for has been committed before: that the store does not take the number as well
    /// is no answer to it. Whoever owns the invoice then goes on.
    async fn allocate_number(
        &self,
        state: &mut InvoiceState,
        invoice: Arc<Invoice>,
    ) -> Result<Arc<Invoice>, ExecuteError> {
        let now = self.node.clock.now();
        let Some(effect) = invoice
            .due_effects(now)
            .find(|effect| effect.kind.name() == EffectKindName::Number)
            .cloned()
        else {
            return Ok(invoice);
        };
        let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
        let command = match self
            .node
            .series
            .allocate(invoice.organization, invoice.id, today)
            .await
        {
            Ok(allocated) => Command::AssignNumber {
                effect: effect.id,
                allocated,
            },
            Err(error) => {
                tracing::warn!(invoice.id = %state.id, %error, "no number could be allocated; tried again later");
                let Some(command) = self.node.unnumbered(&effect, &error) else {
                    return Ok(invoice);
                };
                command
            }
        };
        crash_point("after_effect", Some("number"));
        let request = internal(command, Initiator::System, &effect.request_id);
        match step(Some(&invoice), state.id, &request, self.node.clock.now())? {
            Step::Changed {
                invoice: next,
                recorded,
                events,
            } => {
                let commit = Commit {
                    invoice: Arc::from(next),
                    before: Some(Arc::clone(&invoice)),
                    epoch: state.live.epoch,
                    recorded,
                    events,
                };
                match self.persist(state, commit).await {
                    Err(
                        error @ (StoreError::NotOwner
                        | StoreError::Conflict
                        | StoreError::Unavailable { .. }),
                    ) => {
                        tracing::warn!(invoice.id = %state.id, %error, "a number could not be noted; tried again later");
                        Ok(invoice)
                    }
                    persisted => Ok(persisted?),
                }
            }
            Step::Replayed { .. } | Step::Unchanged => Ok(invoice),
        }
    }

    async fn at_version(
        &self,
        state: &InvoiceState,
        version: u64,
    ) -> Result<Arc<Invoice>, ExecuteError> {
        if let Memory::Present(invoice) = &state.memory
            && invoice.version == version
        {
            return Ok(Arc::clone(invoice));
        }
        // A finalize was answered after its number was assigned, which are the entries behind it.
        let history = self.node.history_until(state.id, |recorded| {
            recorded.version <= version || is_of_number(recorded)
        });
        let invoice = replay(&history.await?);
        invoice
            .map(Arc::new)
            .ok_or_else(|| Refusal::NotFound.into())
    }

    fn start_effects(&self, state: &InvoiceState) {
        if let Memory::Present(invoice) = &state.memory {
            self.node.start_effects(invoice);
        }
    }
}

impl Node {
    /// The beginning of a history, as long as `wanted`.
    pub(super) async fn history_until(
        &self,
        id: InvoiceId,
        wanted: impl Fn(&Recorded) -> bool,
    ) -> Result<Vec<Recorded>, StoreError> {
        let mut history = Vec::new();
        loop {
            let after = history
                .last()
                .map_or(0, |recorded: &Recorded| recorded.version);
            let page = self.store.history(id, after, HISTORY_PAGE).await?;
            let full = page.len() == usize::from(HISTORY_PAGE);
            let count = page.len();
            history.extend(page.into_iter().take_while(|recorded| wanted(recorded)));
            let cut = history.last().map_or(0, |recorded| recorded.version) < after + count as u64;
            if !full || cut {
                return Ok(history);
            }
        }
    }
}

/// Whether an entry is of a number's allocation: what came of it, and what was waiting for it.
fn is_of_number(recorded: &Recorded) -> bool {
    let what = match &recorded.entry {
        Entry::Finalized { .. } | Entry::Paid | Entry::SendRequested { .. } => true,
        Entry::EffectFailed { effect, .. } | Entry::EffectParked { effect, .. } => {
            effect.kind == EffectKindName::Number
        }
        _ => false,
    };
    what && recorded.by == Initiator::System
}

/// A command of Faktor's own: idempotent by its effect, so it needs no key.
pub(super) fn internal(command: Command, by: Initiator, request_id: &str) -> Request {
    Request {
        command,
        by,
        key: None,
        expected_version: None,
        request_id: request_id.to_owned(),
    }
}
