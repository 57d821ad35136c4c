//! The wire of version 1, frozen: nothing here follows the product. What it does not look into stays a
//! value.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub(crate) from: Uuid,
    pub(crate) patience_ms: u64,
    pub(crate) hops: u8,
    pub(crate) what: Question,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Question {
    Execute {
        id: String,
        organization: Option<String>,
        request: Box<Request>,
    },
    Read {
        id: String,
    },
    Take {
        shards: Vec<Held>,
    },
    About,
}

#[derive(Debug, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "as it is called")]
pub(crate) struct Request {
    pub(crate) command: Value,
    pub(crate) by: Value,
    pub(crate) key: Option<Value>,
    pub(crate) expected_version: Option<u64>,
    pub(crate) request_id: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done { invoice: Value, replayed: bool },
    Found { invoice: Value },
    Refused(Value),
    NotOwner { hint: Option<Hint> },
    Busy,
    Crashed,
    Failed(Value),
    Taken,
    About(Value),
    Unreadable,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hint {
    pub(crate) owner: Uuid,
    pub(crate) epoch: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) shard: u16,
    pub(crate) epoch: u64,
}
