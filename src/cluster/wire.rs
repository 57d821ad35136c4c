//! What nodes say to each other: `MessagePack` with field names, so that two versions understand each
//! other while a cluster is upgraded. Golden files in `tests/golden/wire` hold the format.
//!
//! A new field is optional; a new kind of message is sent only to nodes whose
//! [versions](crate::store::cluster::NewNode::wire) include it.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::actors::invoices::{ExecuteError, Executed, Representation};
use crate::domain::ids::{InvoiceId, OrganizationId, UserId};
use crate::domain::invoice::Invoice;
use crate::domain::invoice::command::Request;
use crate::domain::invoice::decide::Refusal;
use crate::store::cache::Scope;
use crate::store::cluster::BootId;
use crate::store::{Epoch, SHARDS, ShardId, StoreError};

/// The versions of the wire that this build speaks, inclusive.
///
/// 2 brought [`Command::Change`](crate::domain::invoice::command::Command::Change), which an owner of
/// version 1 can't read, [`Reply::Represented`], which is only given to who asked for it, and how long
/// ago a request may have been carried out, which an owner of version 1 does not look at.
///
/// 3 brought [`News::Listen`]: an older node is told all news of the feed, whether somebody waits for them
/// there or not.
pub const VERSIONS: (u16, u16) = (1, 3);

/// The first version in which an owner lays a change over a draft.
pub const CHANGES_SINCE: u16 = 2;

/// The first version in which a node says where somebody waits for news of the feed.
pub const LISTENS_SINCE: u16 = 3;

/// What can't be read is no message.
#[derive(Debug, thiserror::Error)]
#[error("a message of another node can't be read: {0}")]
pub struct Unreadable(String);

/// A question to another node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    pub from: BootId,
    /// How much longer the asker waits, in milliseconds: what comes later is asked again.
    pub patience_ms: u64,
    /// How many nodes it was sent to before this one.
    #[serde(default)]
    pub hops: u8,
    /// Whether to ask the owner in the asker's place, which has no link to it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub relay: bool,
    pub what: Question,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "what serde hands to such a function"
)]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Question {
    /// To the owner of an invoice: carry out a command.
    Execute {
        id: InvoiceId,
        /// `None` for Faktor's own commands.
        organization: Option<OrganizationId>,
        request: Box<Request>,
        /// Whether [`Reply::Represented`] will do.
        #[serde(default, skip_serializing_if = "is_false")]
        represented: bool,
    },
    /// To the owner of an invoice: what does it look like?
    Read {
        id: InvoiceId,
        /// The version that the asker has: if it is the present one, [`Reply::Unchanged`] says all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        known: Option<u64>,
        /// If the invoice is this organization's, and not deleted, [`Reply::Represented`] will do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        represented_to: Option<OrganizationId>,
    },
    /// To the new owner of shards: they are yours, as the store says.
    Take { shards: Vec<Held> },
    /// Of any node: how are you?
    About,
}

impl Question {
    /// The invoice whose owner is asked.
    pub const fn invoice(&self) -> Option<InvoiceId> {
        match self {
            Self::Execute { id, .. } | Self::Read { id, .. } => Some(*id),
            Self::Take { .. } | Self::About => None,
        }
    }
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    Done {
        invoice: Arc<Invoice>,
        replayed: bool,
    },
    Found {
        invoice: Arc<Invoice>,
    },
    /// The invoice is as the asker knows it. Only for who named a version.
    Unchanged,
    /// As the edge of the owner's node answers.
    Represented {
        version: u64,
        body: Bytes,
        replayed: bool,
    },
    Refused(Refusal),
    /// Nothing was done; somebody else may be the owner.
    NotOwner {
        hint: Option<Hint>,
    },
    /// Nothing was done.
    Busy,
    /// Whether it was done is not known.
    Crashed,
    Failed(Fault),
    Taken,
    About(About),
    /// The question could not be read.
    Unreadable,
}

/// Who owns a shard, as far as the answering node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    pub owner: BootId,
    pub epoch: u64,
}

/// A shard with its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub shard: u16,
    pub epoch: u64,
}

impl Held {
    pub fn of((shard, epoch): (ShardId, Epoch)) -> Self {
        Self {
            shard: shard.0,
            epoch: epoch.0,
        }
    }

    /// `None` if there is no such shard.
    pub fn read(self) -> Option<(ShardId, Epoch)> {
        (self.shard < SHARDS).then_some((ShardId(self.shard), Epoch(self.epoch)))
    }
}

/// What the store of the owner said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    Conflict,
    /// A value of a unique field.
    Taken {
        field: String,
    },
    TooLarge {
        bytes: u64,
        allowed: u64,
    },
    Unavailable {
        reason: String,
    },
    Corrupt {
        reason: String,
    },
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct About {
    pub live_invoices: u64,
    pub waiting: u64,
    pub effects_running: u64,
    /// How long ago its lease was renewed, in milliseconds.
    pub renewed_ms_ago: u64,
}

/// News that nobody answers. What is lost costs time, nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum News {
    /// Shards have a new owner.
    Moved { owner: BootId, shards: Vec<Held> },
    /// There is something new in the feed.
    Published,
    /// Somebody waits for news of the feed at the sender, which wants to hear of them for so long.
    Listen { from: BootId, for_ms: u64 },
    /// What was looked up on these grounds must be looked up again.
    Revoked { scopes: Vec<RevokedScope> },
    /// The sender wants to hear of new versions of these invoices for so long.
    Watch {
        from: BootId,
        ids: Vec<InvoiceId>,
        for_ms: u64,
    },
    /// An invoice that was watched has a new version.
    Version { id: InvoiceId, version: u64 },
    /// The book of the cluster changed.
    Look,
}

/// As [`Scope`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RevokedScope {
    User(UserId),
    Organization(OrganizationId),
    ApiKeys,
}

impl From<Scope> for RevokedScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::User(id) => Self::User(id),
            Scope::Organization(id) => Self::Organization(id),
            Scope::ApiKeys => Self::ApiKeys,
        }
    }
}

impl From<RevokedScope> for Scope {
    fn from(scope: RevokedScope) -> Self {
        match scope {
            RevokedScope::User(id) => Self::User(id),
            RevokedScope::Organization(id) => Self::Organization(id),
            RevokedScope::ApiKeys => Self::ApiKeys,
        }
    }
}

pub fn write<T: Serialize>(message: &T) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::with_capacity(2_048);
    let mut serializer = rmp_serde::Serializer::new(&mut bytes)
        .with_struct_map()
        .with_human_readable();
    message
        .serialize(&mut serializer)
        .map_err(|error| Unreadable(error.to_string()))?;
    Ok(bytes)
}

pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes).with_human_readable();
    T::deserialize(&mut deserializer).map_err(|error| Unreadable(error.to_string()))
}

impl Reply {
    /// The answer of an owner; `hint` for the case that it is none.
    pub fn of(result: Result<Executed, ExecuteError>, hint: Option<Hint>) -> Self {
        match result {
            Ok(done) => Self::Done {
                invoice: done.invoice,
                replayed: done.replayed,
            },
            Err(error) => Self::of_error(error, hint),
        }
    }

    /// The answer of an owner to who only answers with it.
    pub fn represented(result: Result<Representation, ExecuteError>, hint: Option<Hint>) -> Self {
        match result {
            Ok(Representation {
                version,
                body,
                replayed,
            }) => Self::Represented {
                version,
                body,
                replayed,
            },
            Err(error) => Self::of_error(error, hint),
        }
    }

    pub fn of_error(error: ExecuteError, hint: Option<Hint>) -> Self {
        match error {
            ExecuteError::Refused(refusal) => Self::Refused(refusal),
            ExecuteError::Busy => Self::Busy,
            ExecuteError::Crashed | ExecuteError::Unreachable => Self::Crashed,
            ExecuteError::NotOwner => Self::NotOwner { hint },
            ExecuteError::Store(fault) => match Fault::of(fault) {
                Some(fault) => Self::Failed(fault),
                None => Self::NotOwner { hint },
            },
        }
    }
}

impl Fault {
    fn of(error: StoreError) -> Option<Self> {
        Some(match error {
            StoreError::NotOwner => return None,
            StoreError::Conflict => Self::Conflict,
            StoreError::Taken { field } => Self::Taken {
                field: field.to_owned(),
            },
            StoreError::TooLarge { bytes, allowed } => Self::TooLarge { bytes, allowed },
            StoreError::Corrupt { reason } => Self::Corrupt { reason },
            other => Self::Unavailable {
                reason: other.to_string(),
            },
        })
    }
}

impl From<Fault> for ExecuteError {
    fn from(fault: Fault) -> Self {
        Self::Store(match fault {
            Fault::Conflict => StoreError::Conflict,
            // An invoice has one unique field.
            Fault::Taken { .. } => StoreError::Taken { field: "number" },
            Fault::TooLarge { bytes, allowed } => StoreError::TooLarge { bytes, allowed },
            Fault::Unavailable { reason } => StoreError::Unavailable { reason },
            Fault::Corrupt { reason } => StoreError::Corrupt { reason },
        })
    }
}
