//! The wire of version 1, frozen: nothing here follows the product. What it does not look into stays a
//! value.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Version 1 had no other commands: a question with another one could not be read.
const COMMANDS: [&str; 25] = [
    "create",
    "import",
    "edit",
    "delete",
    "finalize",
    "assign_number",
    "send",
    "pay",
    "offer_payment",
    "record_payment",
    "void",
    "mark_uncollectible",
    "retry",
    "tick",
    "view",
    "rotate_page_secret",
    "claim_effect",
    "complete_document",
    "complete_payment_link",
    "complete_effect",
    "complete_mail",
    "receive_provider_payment",
    "fail_charge",
    "fail_effect",
    "postpone_effect",
];

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub(crate) from: Uuid,
    pub(crate) patience_ms: u64,
    #[serde(default)]
    pub(crate) hops: u8,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) relay: bool,
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
        #[serde(default, skip_serializing_if = "Option::is_none")]
        known: Option<u64>,
    },
    Take {
        shards: Vec<Held>,
    },
    About,
}

#[derive(Debug, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "as it is called")]
pub(crate) struct Request {
    #[serde(deserialize_with = "command")]
    pub(crate) command: Value,
    pub(crate) by: Value,
    pub(crate) key: Option<Value>,
    pub(crate) expected_version: Option<u64>,
    pub(crate) request_id: String,
}

fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let command = Value::deserialize(deserializer)?;
    let name = command["command"].as_str().unwrap_or_default();
    if COMMANDS.contains(&name) {
        Ok(command)
    } else {
        Err(D::Error::unknown_variant(name, &COMMANDS))
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done { invoice: Value, replayed: bool },
    Found { invoice: Value },
    Unchanged,
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
