//! One of the 256 shards: spawns and finds its invoices, so that each is activated once.

use std::collections::HashMap;
use std::sync::Arc;

use ractor::{
    Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorRuntime, SupervisionEvent,
};
use tokio::sync::oneshot;

use super::invoice::{InvoiceActor, InvoiceArguments};
use super::invoices::Node;
use super::live::Live;
use crate::domain::ids::InvoiceId;
use crate::store::Epoch;

pub(super) enum ShardMessage {
    /// Answers with the live invoice, spawned if need be.
    Activate {
        id: InvoiceId,
        epoch: Epoch,
        reply: oneshot::Sender<Arc<Live>>,
    },
    #[cfg(test)]
    Panic,
}

impl ractor::Message for ShardMessage {}

pub(super) struct Shard {
    pub(super) node: Arc<Node>,
}

/// The invoices this shard supervises.
pub(super) struct ShardState {
    children: HashMap<ActorId, (InvoiceId, Arc<Live>)>,
}

impl Actor for Shard {
    type Msg = ShardMessage;
    type State = ShardState;
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ActorRef<ShardMessage>,
        (): (),
    ) -> Result<ShardState, ActorProcessingErr> {
        Ok(ShardState {
            children: HashMap::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<ShardMessage>,
        message: ShardMessage,
        state: &mut ShardState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ShardMessage::Activate { id, epoch, reply } => {
                let live = self.activate(&myself, state, id, epoch)?;
                // The caller may have given up.
                let _ = reply.send(live);
            }
            #[cfg(test)]
            ShardMessage::Panic => panic!("the test wants it"),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<ShardMessage>,
        event: SupervisionEvent,
        state: &mut ShardState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(actor, error) => {
                if let Some(id) = self.forget(state, &actor) {
                    tracing::error!(invoice.id = %id, %error, "an invoice's actor crashed; the next command loads it anew");
                    metrics::counter!("faktor_invoice_crashes_total").increment(1);
                }
            }
            SupervisionEvent::ActorTerminated(actor, _, _) => {
                self.forget(state, &actor);
            }
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ProcessGroupChanged(_)
            | SupervisionEvent::PidLifecycleEvent(_) => {}
        }
        Ok(())
    }
}

impl Shard {
    fn activate(
        &self,
        myself: &ActorRef<ShardMessage>,
        state: &mut ShardState,
        id: InvoiceId,
        epoch: Epoch,
    ) -> Result<Arc<Live>, ActorProcessingErr> {
        if let Some(live) = self.node.live.get(id) {
            // Whoever asks under an older epoch finds out that it is over.
            if live.epoch >= epoch {
                return Ok(live);
            }
            self.node.live.dismiss(id, &live);
        }
        let live = Arc::new(Live::new(epoch));
        live.touch(self.node.clock.now().as_millisecond());
        let actor = InvoiceActor {
            node: Arc::clone(&self.node),
        };
        let arguments = InvoiceArguments {
            id,
            live: Arc::clone(&live),
        };
        let (actor, _) =
            ActorRuntime::spawn_linked_instant(None, actor, arguments, myself.get_cell())?;
        state
            .children
            .insert(actor.get_id(), (id, Arc::clone(&live)));
        live.set_actor(actor);
        self.node.live.insert(id, Arc::clone(&live));
        Ok(live)
    }

    fn forget(&self, state: &mut ShardState, actor: &ActorCell) -> Option<InvoiceId> {
        let (id, live) = state.children.remove(&actor.get_id())?;
        self.node.live.remove(id, &live);
        Some(id)
    }
}
