//! Compares what clients were told with what is in the books afterwards.
//!
//! Pure: it gets a recording and the evidence, and gives every rule that was broken, with what breaks
//! it. Each rule has a test that feeds it a history in which it is broken.

use std::collections::BTreeMap;
use std::fmt;

use faktor::domain::ids::{EffectId, EventId, InvoiceId};
use faktor::domain::invoice::Invoice;
use faktor::domain::invoice::entry::Recorded;
use faktor::domain::invoice::event::PublicEvent;
use faktor::domain::invoice::evolve::evolve;
use faktor::domain::money::Money;

use crate::recording::{Operation, Visit};

mod commands;
mod endings;
mod feed;
mod histories;
mod mails;
mod money;
mod numbers;
mod pages;
mod reads;
mod refusals;
#[cfg(test)]
mod tests;
mod visits;

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

/// Where broken rules are noted.
#[derive(Debug, Default)]
pub(crate) struct Violations(Vec<Violation>);

impl Violations {
    fn note(&mut self, rule: &'static str, what: impl fmt::Display) {
        self.0.push(Violation {
            rule,
            what: what.to_string(),
        });
    }
}

/// A charge in the provider's books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) id: String,
    pub(crate) effect: EffectId,
    /// The checkout page on which it was made.
    pub(crate) session: Option<String>,
    pub(crate) amount: Money,
    pub(crate) succeeded: bool,
}

/// An invoice as it is found in the end.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) snapshot: Invoice,
    pub(crate) history: Vec<Recorded>,
    pub(crate) charges: Vec<Charge>,
    /// Its checkout pages on which one could still pay.
    pub(crate) open_pages: Vec<String>,
    /// SHA-256 of the document that the snapshot names, if it is there.
    pub(crate) document: Option<String>,
}

/// Everything that is found in the end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    pub(crate) invoices: BTreeMap<InvoiceId, Found>,
    /// In its order.
    pub(crate) feed: Vec<PublicEvent>,
    /// The events that a reader got who went by a cursor while nodes came and went.
    pub(crate) read: Vec<EventId>,
    /// What customers did on checkout pages, and were told.
    pub(crate) visits: Vec<Visit>,
    /// The Message-ID of every mail that went out.
    pub(crate) mails: Vec<String>,
    /// Webhooks that no invoice took.
    pub(crate) undelivered_webhooks: usize,
}

/// An invoice with each state it was in.
struct Story<'a> {
    id: InvoiceId,
    found: &'a Found,
    /// After each entry; `states[0]` is version 1.
    states: Vec<Invoice>,
}

impl Story<'_> {
    fn at(&self, version: u64) -> Option<&Invoice> {
        let index = usize::try_from(version.checked_sub(1)?).ok()?;
        self.states.get(index)
    }

    /// The effects that were ever asked for and that `pick` knows, in their order.
    fn effects<T>(
        &self,
        pick: impl Fn(&faktor::domain::invoice::effect::PendingEffect) -> Option<T>,
    ) -> BTreeMap<EffectId, T> {
        let mut effects = BTreeMap::new();
        for effect in self.states.iter().flat_map(|state| &state.effects) {
            if let Some(picked) = pick(effect) {
                effects.entry(effect.id.clone()).or_insert(picked);
            }
        }
        effects
    }
}

/// Every rule that was broken.
pub(crate) fn check(recording: &[Operation], evidence: &Evidence) -> Vec<Violation> {
    let mut violations = Violations::default();
    let stories: Vec<Story<'_>> = evidence
        .invoices
        .iter()
        .map(|(id, found)| Story {
            id: *id,
            found,
            states: states(&found.history),
        })
        .collect();
    for story in &stories {
        histories::check(story, &mut violations);
        money::check(story, &mut violations);
        pages::check(story, &mut violations);
        endings::check(story, &mut violations);
    }
    commands::check(recording, &stories, &mut violations);
    reads::check(recording, &stories, &mut violations);
    visits::check(&evidence.visits, &stories, &mut violations);
    numbers::check(&stories, &mut violations);
    mails::check(&stories, &evidence.mails, &mut violations);
    feed::check(&stories, &evidence.feed, &mut violations);
    feed::check_reader(&evidence.feed, &evidence.read, &mut violations);
    if evidence.undelivered_webhooks > 0 {
        violations.note("every webhook arrives", evidence.undelivered_webhooks);
    }
    violations.0
}

fn states(history: &[Recorded]) -> Vec<Invoice> {
    let mut states: Vec<Invoice> = Vec::with_capacity(history.len());
    for recorded in history {
        match evolve(states.last().cloned(), recorded) {
            Some(state) => states.push(state),
            None => break,
        }
    }
    states
}
