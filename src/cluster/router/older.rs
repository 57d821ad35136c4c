//! What is said in another way to owners that speak version 1 of the wire. Goes when support for it ends.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Asked, Asking, Router};
use crate::cluster::wanted::{Execution, Wanted};
use crate::cluster::wire::{self, Reply};
use crate::domain::ids::InvoiceId;
use crate::domain::invoice::Content;
use crate::domain::invoice::change::ContentChange;
use crate::domain::invoice::command::{Command, Request};
use crate::domain::invoice::decide::Refusal;
use crate::store::cluster::BootId;

impl Router {
    /// The change that is asked for, if somebody on the way to the owner can't read one.
    pub(super) fn change_to_say_otherwise<'a>(
        &self,
        wanted: Wanted<'a>,
        on_the_way: [BootId; 2],
    ) -> Option<(Execution<'a>, &'a ContentChange)> {
        let Wanted::Execution(execution) = wanted else {
            return None;
        };
        let Command::Change { change } = &execution.request.command else {
            return None;
        };
        let is_older = |boot| self.shared.wire_of(boot) < wire::CHANGES_SINCE;
        on_the_way
            .into_iter()
            .any(is_older)
            .then_some((execution, &**change))
    }

    /// The change is laid here over what the owner has, and given to it as the whole content, again and
    /// again if others are quicker.
    pub(super) async fn change_by_edit(
        &self,
        asking: Asking<'_>,
        id: InvoiceId,
        (execution, change): (Execution<'_>, &ContentChange),
    ) -> Asked {
        let named = execution.request.expected_version;
        loop {
            let read = Wanted::State.question(id, None);
            let draft = match self.ask(asking, read).await {
                Asked::Answer(Reply::Found { invoice }) => invoice,
                other => return other,
            };
            let content = change.clone().over(Content::clone(&draft.content));
            let edit = Request {
                command: Command::Edit {
                    content: Arc::new(content),
                },
                expected_version: named.or(Some(draft.version)),
                ..execution.request.clone()
            };
            let wanted = Wanted::Execution(Execution {
                request: &edit,
                represented: false,
                ..execution
            });
            match self.ask(asking, wanted.question(id, None)).await {
                Asked::Answer(Reply::Refused(Refusal::VersionMismatch { .. }))
                    if named.is_none() =>
                {
                    if Instant::now() >= asking.deadline {
                        return Asked::Answer(Reply::Busy);
                    }
                }
                settled => return settled,
            }
        }
    }
}
