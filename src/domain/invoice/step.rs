//! From a request to its outcome: everything an actor does before its one write.

use jiff::{SignedDuration, Timestamp};

use super::super::ids::InvoiceId;
use super::super::limits;
use super::command::{IdempotencyKey, Request};
use super::decide::{Refusal, decide};
use super::entry::{Entry, Recorded};
use super::event::{PublicEvent, public_event};
use super::evolve::evolve;
use super::{Invoice, RememberedRequest, State};

/// How long a key that the caller chose is remembered at least.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24);

/// How many of the keys are remembered that nodes made for each other. A repeat whose first attempt was
/// not answered is refused when it finds as many others before it: that could have been forgotten.
const REMEMBERED_NODE_KEYS: usize = 16;

/// What came so much longer ago than a repeat's first attempt came before it, whatever the clock of
/// the owner that noted it said.
const CLOCKS_DIFFER_BY: SignedDuration = SignedDuration::from_mins(15);

/// What a request comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The same request was carried out before and left this version.
    Replayed { version: u64 },
    /// Nothing to do: the invoice already is as asked.
    Unchanged,
    Changed {
        invoice: Box<Invoice>,
        recorded: Vec<Recorded>,
        events: Vec<PublicEvent>,
    },
}

/// Repeats, preconditions, [`decide`], then [`evolve`].
pub fn step(
    invoice: Option<&Invoice>,
    id: InvoiceId,
    request: &Request,
    now: Timestamp,
) -> Result<Step, Refusal> {
    if let Some(invoice) = invoice {
        if let Some(version) = repeated(invoice, request, now)? {
            return Ok(Step::Replayed { version });
        }
        let deleted = matches!(invoice.state, State::Deleted { .. });
        if request
            .expected_version
            .is_some_and(|expected| expected != invoice.version)
            && !deleted
        {
            return Err(Refusal::VersionMismatch {
                current: invoice.version,
            });
        }
    }
    let entries = decide(invoice, id, &request.command, now)?;
    if entries.is_empty() {
        return Ok(Step::Unchanged);
    }
    let recorded = record(
        entries,
        invoice.map_or(0, |invoice| invoice.version),
        request,
        now,
    );
    let mut events = Vec::new();
    let mut after = invoice.cloned();
    for recorded in &recorded {
        after = evolve(after, recorded);
        events.extend(
            after
                .as_ref()
                .and_then(|after| public_event(after, recorded)),
        );
    }
    // The first entry of a new invoice is always `Created`.
    let invoice = Box::new(after.ok_or(Refusal::NotFound)?);
    Ok(Step::Changed {
        invoice,
        recorded,
        events,
    })
}

/// The version that the same request left when it was carried out before.
fn repeated(invoice: &Invoice, request: &Request, now: Timestamp) -> Result<Option<u64>, Refusal> {
    let Some(key) = &request.key else {
        return Ok(None);
    };
    match invoice.requests.iter().find(|known| known.key == key.key) {
        None if invoice.may_have_forgotten(key, now) => Err(Refusal::OutcomeUnknown),
        None => Ok(None),
        Some(known) if known.fingerprint == key.fingerprint => Ok(Some(known.version)),
        Some(_) => Err(Refusal::IdempotencyKeyReused),
    }
}

/// Gives every entry its version; the last one carries the request's key, so that replaying the
/// history remembers it too.
fn record(entries: Vec<Entry>, version: u64, request: &Request, now: Timestamp) -> Vec<Recorded> {
    let mut recorded: Vec<Recorded> = entries
        .into_iter()
        .zip(version.saturating_add(1)..)
        .map(|(entry, version)| Recorded {
            version,
            at: now,
            by: request.by.clone(),
            request_id: request.request_id.clone(),
            entry,
            request: None,
        })
        .collect();
    if let (Some(last), Some(key)) = (recorded.last_mut(), &request.key) {
        last.request = Some(RememberedRequest {
            key: key.key.clone(),
            fingerprint: key.fingerprint,
            version: last.version,
            at: now,
            keep: key.keep,
        });
    }
    recorded
}

impl Invoice {
    /// Whether so much came since the request may have been carried out that it could be forgotten.
    fn may_have_forgotten(&self, key: &IdempotencyKey, now: Timestamp) -> bool {
        let Some(unsure_for_ms) = key.unsure_for_ms else {
            return false;
        };
        let unsure_for =
            i64::try_from(unsure_for_ms).map_or(SignedDuration::MAX, SignedDuration::from_millis);
        let limit = if key.keep {
            limits::REMEMBERED_REQUESTS
        } else {
            REMEMBERED_NODE_KEYS
        };
        let alike = self.requests.iter().filter(|known| known.keep == key.keep);
        let since = unsure_for.saturating_add(CLOCKS_DIFFER_BY);
        let came_since = alike.filter(|known| now.duration_since(known.at) <= since);
        came_since.count() >= limit
    }

    /// Remembers a request and forgets those that need not be kept any longer.
    pub(super) fn remember(&mut self, request: RememberedRequest) {
        let now = request.at;
        self.requests.push(request);
        let (mut kept, mut of_nodes) = (0, 0);
        let mut remembered: Vec<bool> = self
            .requests
            .iter()
            .rev()
            .map(|request| {
                let count = if request.keep {
                    &mut kept
                } else {
                    &mut of_nodes
                };
                *count += 1;
                if request.keep {
                    *count <= limits::REMEMBERED_REQUESTS
                        && now.duration_since(request.at) < KEPT_FOR
                } else {
                    *count <= REMEMBERED_NODE_KEYS
                }
            })
            .collect();
        self.requests.retain(|_| remembered.pop().unwrap_or(false));
    }
}
