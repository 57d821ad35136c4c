//! The one actor of a node that others can send messages to.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use ractor::message::{BoxedDowncastErr, SerializedMessage};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::Semaphore;

use crate::store::cluster::BootId;

/// What a node does with what its peers send.
#[async_trait]
pub trait Inbound: Send + Sync + 'static {
    /// Answers a call. Runs in a task of its own.
    async fn call(&self, payload: Vec<u8>) -> Vec<u8>;

    /// Takes a cast. Must not block: casts of all peers come one after the other.
    fn cast(&self, payload: Vec<u8>);
}

/// The last byte of every reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Before it stands the answer.
    Answered,
    /// Too many calls are under way.
    Busy,
    /// The answer does not fit into a frame.
    TooLarge,
    /// The call's task panicked.
    Failed,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Answered, Self::Busy, Self::TooLarge, Self::Failed];

    fn close(self, mut answer: Vec<u8>) -> Vec<u8> {
        answer.push(self as u8);
        answer
    }

    /// Takes the outcome off a reply; `None` is a peer that speaks another language.
    pub(super) fn open(reply: &mut Vec<u8>) -> Option<Self> {
        let byte = reply.pop()?;
        Self::ALL.into_iter().find(|outcome| *outcome as u8 == byte)
    }
}

/// Variants on the wire.
pub(super) const CALL: &str = "call";
pub(super) const CAST: &str = "cast";
pub(super) const PING: &str = "ping";

/// The name of a node's gateway, by which its peers find it.
pub(super) fn gateway_name(boot: BootId) -> String {
    format!("gateway-{boot}")
}

pub(super) enum GatewayMessage {
    Call(Vec<u8>, RpcReplyPort<Vec<u8>>),
    Cast(Vec<u8>),
    Ping(RpcReplyPort<Vec<u8>>),
    /// From a newer peer, perhaps. An error instead would end the actor.
    Unknown,
}

// By hand: the derived one copies each payload, and starts a task for each reply.
impl ractor::Message for GatewayMessage {
    fn serializable() -> bool {
        true
    }

    fn deserialize(message: SerializedMessage) -> Result<Self, BoxedDowncastErr> {
        Ok(match message {
            SerializedMessage::Call {
                variant,
                args,
                reply,
                ..
            } if variant == CALL => Self::Call(args, reply),
            SerializedMessage::Call { variant, reply, .. } if variant == PING => Self::Ping(reply),
            SerializedMessage::Cast { variant, args, .. } if variant == CAST => Self::Cast(args),
            _ => Self::Unknown,
        })
    }
}

pub(super) struct Gateway {
    pub(super) inbound: Arc<dyn Inbound>,
    /// The largest answer that fits into a frame.
    pub(super) max_answer_bytes: usize,
    /// Calls that are handled at once, of all peers.
    pub(super) room: Arc<Semaphore>,
}

impl Gateway {
    fn call(&self, payload: Vec<u8>, reply: RpcReplyPort<Vec<u8>>) {
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            // A caller that is gone needs no answer.
            let _ = reply.send(Outcome::Busy.close(Vec::new()));
            return;
        };
        let inbound = Arc::clone(&self.inbound);
        let max_answer_bytes = self.max_answer_bytes;
        tokio::spawn(async move {
            let answer = AssertUnwindSafe(inbound.call(payload)).catch_unwind().await;
            let closed = match answer {
                Ok(answer) if answer.len() <= max_answer_bytes => Outcome::Answered.close(answer),
                Ok(answer) => {
                    tracing::error!(answer.bytes = answer.len(), "An answer is too large");
                    Outcome::TooLarge.close(Vec::new())
                }
                Err(_) => Outcome::Failed.close(Vec::new()),
            };
            let _ = reply.send(closed);
            drop(permit);
        });
    }
}

impl Actor for Gateway {
    type Msg = GatewayMessage;
    type State = ();
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<Self::Msg>,
        (): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        (): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            GatewayMessage::Call(payload, reply) => self.call(payload, reply),
            GatewayMessage::Cast(payload) => self.inbound.cast(payload),
            GatewayMessage::Ping(reply) => {
                let _ = reply.send(Outcome::Answered.close(Vec::new()));
            }
            GatewayMessage::Unknown => tracing::warn!("A peer sent a message of an unknown kind"),
        }
        Ok(())
    }
}
