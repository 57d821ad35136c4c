//! The root of the supervision tree: starts every part, restarts what went down, and gives up when
//! a part can't be kept up.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::{SignedDuration, Timestamp};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::sync::watch;
use tokio::time::Duration;

use super::parts::Part;
pub use super::parts::{Foundation, Parts, TreeNode};
use super::probe;
pub use super::probe::{Dependency, Probe};
use crate::store::SHARDS;

#[cfg(test)]
mod tests;

/// More restarts than this within [`RESTART_WINDOW`] mean that restarting does not help.
const MAX_RESTARTS: usize = 20;
const RESTART_WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// Restart intensity: notes restarts and says when there were too many.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    recent: VecDeque<Timestamp>,
}

/// Who went down, and why; none for other news of children.
pub(super) fn went_down(event: SupervisionEvent) -> Option<(ActorId, String)> {
    match event {
        SupervisionEvent::ActorFailed(actor, error) => Some((actor.get_id(), error.to_string())),
        SupervisionEvent::ActorTerminated(actor, _, reason) => {
            let reason = reason.unwrap_or_else(|| "it stopped".to_owned());
            Some((actor.get_id(), reason))
        }
        SupervisionEvent::ActorStarted(_)
        | SupervisionEvent::ProcessGroupChanged(_)
        | SupervisionEvent::PidLifecycleEvent(_) => None,
    }
}

/// Restarting does not help.
#[derive(Debug, thiserror::Error)]
#[error("more than {MAX_RESTARTS} restarts within a minute")]
pub(super) struct TooManyRestarts;

impl Restarts {
    pub(super) fn note(&mut self, now: Timestamp) -> Result<(), TooManyRestarts> {
        while self
            .recent
            .front()
            .is_some_and(|at| now.duration_since(*at) > RESTART_WINDOW)
        {
            self.recent.pop_front();
        }
        if self.recent.len() >= MAX_RESTARTS {
            return Err(TooManyRestarts);
        }
        self.recent.push_back(now);
        Ok(())
    }
}

struct Root {
    parts: Parts,
    /// Says why the node can't go on.
    fatal: watch::Sender<Option<String>>,
}

struct RootState {
    children: HashMap<ActorId, Part>,
    restarts: Restarts,
}

impl Actor for Root {
    type Msg = ();
    type State = RootState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<()>,
        (): (),
    ) -> Result<RootState, ActorProcessingErr> {
        let mut children = HashMap::new();
        for part in self.parts.present() {
            let child = self.parts.spawn(part, myself.get_cell()).await?;
            children.insert(child.get_id(), part);
        }
        Ok(RootState {
            children,
            restarts: Restarts::default(),
        })
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        let Some((actor, reason)) = went_down(event) else {
            return Ok(());
        };
        let Some(part) = state.children.remove(&actor) else {
            return Ok(());
        };
        tracing::error!(
            part = part.name(),
            reason,
            "a part went down and is started again"
        );
        if let Err(error) = self.restart(&myself, state, part).await {
            let reason = format!("the part {} can't be kept running: {error}", part.name());
            self.fatal.send_replace(Some(reason));
        }
        Ok(())
    }
}

impl Root {
    async fn restart(
        &self,
        myself: &ActorRef<()>,
        state: &mut RootState,
        part: Part,
    ) -> Result<(), ActorProcessingErr> {
        state.restarts.note(self.parts.clock.now())?;
        self.parts.restarts[part as usize].fetch_add(1, Ordering::Relaxed);
        metrics::counter!("faktor_restarts_total", "part" => part.name()).increment(1);
        let child = self.parts.spawn(part, myself.get_cell()).await?;
        state.children.insert(child.get_id(), part);
        Ok(())
    }
}

/// What a node says of itself. Cheap to clone.
#[derive(Clone)]
pub struct NodeHandle {
    parts: Parts,
    draining: Arc<AtomicBool>,
}

impl fmt::Debug for NodeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeHandle")
    }
}

impl NodeHandle {
    /// The supervision tree with counts and queue lengths.
    pub fn tree(&self) -> TreeNode {
        self.parts.tree()
    }

    /// Each dependency and its state.
    pub async fn dependencies(&self) -> Vec<Dependency> {
        let shards = self.parts.invoices.shards_running();
        let shards = if shards == u64::from(SHARDS) {
            Ok(())
        } else {
            Err(format!("{shards} of {SHARDS} shards are running"))
        };
        let mut dependencies = probe::ask_all(&self.parts.probes).await;
        dependencies.push(probe::dependency("shards", true, shards));
        dependencies
    }

    /// True from the start of the drain on.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// The running actors of a node.
pub struct RunningActors {
    root: ActorRef<()>,
    stopped: tokio::task::JoinHandle<()>,
    parts: Parts,
    handle: NodeHandle,
    fatal: watch::Receiver<Option<String>>,
}

impl RunningActors {
    /// Starts every part under its root.
    pub async fn start(parts: Parts) -> Result<Self, SpawnErr> {
        let (sender, fatal) = watch::channel(None);
        let root = Root {
            parts: parts.clone(),
            fatal: sender,
        };
        let (root, stopped) = Actor::spawn(None, root, ()).await?;
        let handle = NodeHandle {
            parts: parts.clone(),
            draining: Arc::default(),
        };
        Ok(Self {
            root,
            stopped,
            parts,
            handle,
            fatal,
        })
    }

    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Resolves with the reason when the node can't go on.
    pub async fn failed(&self) -> String {
        let mut fatal = self.fatal.clone();
        let reason = fatal
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| "the root of the supervision tree went down".to_owned())
    }

    /// From now on the node says that it is not ready.
    pub fn begin_drain(&self) {
        self.handle.draining.store(true, Ordering::Relaxed);
    }

    /// Lets what is under way come to its end, at most for `patience`, then stops every actor.
    pub async fn stop(self, patience: Duration) {
        self.begin_drain();
        let deadline = tokio::time::Instant::now() + patience;
        while (self.parts.invoices.effects_running() > 0 || self.parts.invoices.waiting() > 0)
            && tokio::time::Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.parts.invoices.begin_stop();
        self.root.stop(Some("the node is shutting down".to_owned()));
        // A root that crashed is stopped all the same.
        let _ = tokio::time::timeout(Duration::from_secs(5), self.stopped).await;
    }
}
