//! The invoices' store in memory, and the checker: what may be written, answered and read.

use faktor::store::Epoch;

use crate::Mutation;
use crate::world::INVOICES;

/// One entry of a history.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    /// The id that the store sees.
    pub(crate) id: u64,
    /// What the client wanted, whatever id it went under.
    pub(crate) wanted: usize,
}

#[derive(Debug, Default)]
struct Invoice {
    history: Vec<Written>,
    epoch: u64,
    /// The highest epoch that claimed or committed.
    highest: u64,
    /// The highest version that any answer showed.
    shown: usize,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Refused {
    Conflict,
    NotOwner,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    invoices: Vec<Invoice>,
    mutation: Option<Mutation>,
    pub(crate) broken: Option<String>,
}

impl Ledger {
    pub(crate) fn new(mutation: Option<Mutation>) -> Self {
        Self {
            invoices: (0..INVOICES).map(|_| Invoice::default()).collect(),
            mutation,
            broken: None,
        }
    }

    /// The version now; 0: there is none yet, and nothing to claim.
    pub(crate) fn claim(&mut self, invoice: usize, epoch: Epoch) -> Result<usize, Refused> {
        let kept = &mut self.invoices[invoice];
        let version = kept.history.len();
        if self.mutation == Some(Mutation::NoClaim) || version == 0 {
            return Ok(version);
        }
        if kept.epoch > epoch.0 {
            return Err(Refused::NotOwner);
        }
        kept.epoch = epoch.0;
        kept.highest = kept.highest.max(epoch.0);
        Ok(version)
    }

    pub(crate) fn commit(
        &mut self,
        invoice: usize,
        expected: usize,
        epoch: Epoch,
        written: Written,
    ) -> Result<usize, Refused> {
        let kept = &mut self.invoices[invoice];
        if kept.history.len() != expected {
            return Err(Refused::Conflict);
        }
        if kept.epoch > epoch.0 && self.mutation != Some(Mutation::CommitWithoutEpoch) {
            return Err(Refused::NotOwner);
        }
        if epoch.0 < kept.highest {
            self.broken = Some(format!(
                "invoice {invoice}: {epoch:?} committed after epoch {} was here",
                kept.highest
            ));
        }
        if kept.history.iter().any(|old| old.wanted == written.wanted) {
            self.broken = Some(format!(
                "invoice {invoice}: request {} is done twice",
                written.wanted
            ));
        }
        kept.epoch = kept.epoch.max(epoch.0);
        kept.highest = kept.highest.max(epoch.0);
        kept.history.push(written);
        Ok(kept.history.len())
    }

    /// The version that a request made, as far as a snapshot of this version remembers.
    pub(crate) fn remembered(&self, invoice: usize, version: usize, id: u64) -> Option<usize> {
        let history = &self.invoices[invoice].history[..version];
        history.iter().position(|old| old.id == id).map(|at| at + 1)
    }

    pub(crate) fn shown(&self, invoice: usize) -> usize {
        self.invoices[invoice].shown
    }

    /// A write is acknowledged that began when `before` had been shown.
    pub(crate) fn acknowledge(&mut self, invoice: usize, version: usize, wanted: usize) {
        let kept = &mut self.invoices[invoice];
        let found = version
            .checked_sub(1)
            .and_then(|at| kept.history.get(at))
            .is_some_and(|written| written.wanted == wanted);
        if !found {
            self.broken = Some(format!(
                "invoice {invoice}: request {wanted} was acknowledged and is not in the history"
            ));
        }
        kept.shown = kept.shown.max(version);
    }

    /// A read is answered that began when `before` had been shown. By how much it is stale.
    pub(crate) fn read(&mut self, invoice: usize, version: usize, before: usize) -> usize {
        let kept = &mut self.invoices[invoice];
        if version > kept.history.len() {
            self.broken = Some(format!(
                "invoice {invoice}: a read shows what is not written"
            ));
        }
        kept.shown = kept.shown.max(version);
        before.saturating_sub(version)
    }
}
