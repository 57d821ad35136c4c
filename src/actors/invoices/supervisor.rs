//! The actor that supervises the shards.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::super::root::{Restarts, went_down};
use super::super::shard::Shard;
use super::InvoicesHandle;
use crate::store::SHARDS;

/// Supervises the shards.
pub(in crate::actors) struct Invoices {
    pub(in crate::actors) handle: InvoicesHandle,
}

pub(in crate::actors) struct InvoicesState {
    shards: HashMap<ActorId, u16>,
    restarts: Restarts,
}

impl Actor for Invoices {
    type Msg = ();
    type State = InvoicesState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<()>,
        (): (),
    ) -> Result<InvoicesState, ActorProcessingErr> {
        let mut state = InvoicesState {
            shards: HashMap::new(),
            restarts: Restarts::default(),
        };
        for shard in 0..SHARDS {
            self.start_shard(&myself, &mut state, shard).await?;
        }
        Ok(state)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        state: &mut InvoicesState,
    ) -> Result<(), ActorProcessingErr> {
        let Some((actor, reason)) = went_down(event) else {
            return Ok(());
        };
        if let Some(shard) = state.shards.remove(&actor) {
            tracing::error!(shard, reason, "a shard went down and is started again");
            state.restarts.note(self.handle.node.clock.now())?;
            self.handle
                .node
                .shard_restarts
                .fetch_add(1, Ordering::Relaxed);
            self.start_shard(&myself, state, shard).await?;
        }
        Ok(())
    }
}

impl Invoices {
    async fn start_shard(
        &self,
        myself: &ActorRef<()>,
        state: &mut InvoicesState,
        shard: u16,
    ) -> Result<(), ActorProcessingErr> {
        let actor = Shard {
            node: Arc::clone(&self.handle.node),
        };
        let (actor, _) = Actor::spawn_linked(None, actor, (), myself.get_cell()).await?;
        state.shards.insert(actor.get_id(), shard);
        self.handle.node.shards[usize::from(shard)].set(actor);
        Ok(())
    }
}
