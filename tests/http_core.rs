//! The HTTP edge as API.md promises it, over a real store and real actors, called in process.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "http_core/conventions.rs"]
mod conventions;
#[path = "http_core/directory.rs"]
mod directory;
#[path = "http_core/drafts.rs"]
mod drafts;
#[path = "auth_http/edge.rs"]
#[expect(dead_code, reason = "a fixture of which this suite needs a part")]
mod edge;
#[path = "http_core/files.rs"]
mod files;
#[path = "http_core/fuzz.rs"]
mod fuzz;
#[path = "http_core/money.rs"]
mod money;
#[path = "http_core/operations.rs"]
mod operations;
