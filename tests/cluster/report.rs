//! What a trial came to, for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::checker::{Evidence, Violation};
use crate::recording::{Kind, Operation, Reply};

/// Counts and times of a trial.
#[derive(Debug)]
pub(crate) struct Report {
    name: String,
    seed: u64,
    pub(crate) operations: usize,
    pub(crate) acknowledged: usize,
    refused: usize,
    /// Commands that were given up without an answer.
    pub(crate) unknown: usize,
    /// Attempts that brought no answer, or none that settles it, by reason.
    pub(crate) failures: BTreeMap<String, usize>,
    by_kind: BTreeMap<&'static str, usize>,
    invoices: usize,
    entries: usize,
    charges: usize,
    mails: usize,
    visits: usize,
    /// Visits by what they were told.
    by_outcome: BTreeMap<&'static str, usize>,
    /// Charges that brought money on a checkout page.
    page_payments: usize,
    /// Of requests whose first attempt was answered, apart from charges, which wait for the
    /// provider.
    pub(crate) latencies: Latencies,
    faults: Vec<String>,
    violations: Vec<String>,
}

/// Sorted.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that so many of 1,000 do not exceed.
    pub(crate) fn per_mille(&self, share: usize) -> Duration {
        let index = (self.0.len() * share / 1_000).min(self.0.len().saturating_sub(1));
        self.0.get(index).copied().unwrap_or_default()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |share| self.per_mille(share).as_secs_f64() * 1_000.0;
        write!(
            f,
            "p50 {:.0} ms, p90 {:.0} ms, p99 {:.0} ms, longest {:.0} ms ({} requests)",
            ms(500),
            ms(900),
            ms(990),
            ms(1_000),
            self.0.len()
        )
    }
}

/// The times of whole requests, their repeats included, that began within a span.
pub(crate) fn latencies_between(
    recording: &[Operation],
    from: Duration,
    to: Duration,
) -> Latencies {
    let within = recording
        .iter()
        .filter(|operation| (from..=to).contains(&operation.began()))
        .filter(|operation| !matches!(operation.kind, Kind::Pay(_)));
    let times = within.filter_map(|operation| {
        let last = operation.attempts.last()?;
        Some(last.ended.saturating_sub(operation.began()))
    });
    Latencies::of(times.collect())
}

impl Report {
    pub(crate) fn of(
        name: &str,
        seed: u64,
        recording: &[Operation],
        evidence: &Evidence,
        faults: Vec<String>,
        violations: &[Violation],
    ) -> Self {
        let count = |holds: &dyn Fn(&Operation) -> bool| {
            recording
                .iter()
                .filter(|operation| holds(operation))
                .count()
        };
        let mut failures: BTreeMap<String, usize> = BTreeMap::new();
        let mut by_kind: BTreeMap<&'static str, usize> = BTreeMap::new();
        for operation in recording {
            *by_kind.entry(operation.kind.name()).or_default() += 1;
            for attempt in &operation.attempts {
                if let Some(failure) = failure(&attempt.reply) {
                    *failures.entry(failure).or_default() += 1;
                }
            }
        }
        let mut by_outcome: BTreeMap<&'static str, usize> = BTreeMap::new();
        for visit in &evidence.visits {
            *by_outcome.entry(visit.outcome.name()).or_default() += 1;
        }
        let found = evidence.invoices.values();
        let charges = || found.clone().flat_map(|found| &found.charges);
        let on_pages = charges().filter(|charge| charge.succeeded && charge.session.is_some());
        Self {
            name: name.to_owned(),
            seed,
            operations: recording.len(),
            acknowledged: count(&|operation| operation.acknowledged().is_some()),
            refused: count(&|operation| operation.refused().is_some()),
            unknown: count(&|operation| {
                operation.kind != Kind::Read
                    && operation.acknowledged().is_none()
                    && operation.refused().is_none()
            }),
            failures,
            by_kind,
            invoices: evidence.invoices.len(),
            entries: found.clone().map(|found| found.history.len()).sum(),
            charges: charges().count(),
            mails: evidence.mails.len(),
            visits: evidence.visits.len(),
            by_outcome,
            page_payments: on_pages.count(),
            latencies: latencies_between(recording, Duration::ZERO, Duration::MAX),
            faults,
            violations: violations.iter().map(ToString::to_string).collect(),
        }
    }
}

fn failure(reply: &Reply) -> Option<String> {
    match reply {
        Reply::Done { .. }
        | Reply::Refused {
            status: 404 | 409 | 412,
            ..
        } => None,
        Reply::Refused { status, code } => Some(format!("{status} {code}")),
        Reply::Unknown { why } => Some(why.clone()),
        Reply::NotTaken { why } => Some(format!("not taken: {why}")),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "=== {} (seed {})", self.name, self.seed)?;
        writeln!(
            f,
            "{} requests: {} acknowledged, {} refused, {} unknown; {:?}",
            self.operations, self.acknowledged, self.refused, self.unknown, self.by_kind
        )?;
        writeln!(
            f,
            "{} invoices, {} entries, {} charges, {} mails",
            self.invoices, self.entries, self.charges, self.mails
        )?;
        writeln!(
            f,
            "{} visits, {} page payments; {:?}",
            self.visits, self.page_payments, self.by_outcome
        )?;
        writeln!(f, "{}", self.latencies)?;
        for (failure, times) in &self.failures {
            writeln!(f, "{times} × {failure}")?;
        }
        for fault in &self.faults {
            writeln!(f, "fault: {fault}")?;
        }
        for violation in self.violations.iter().take(40) {
            writeln!(f, "BROKEN {violation}")?;
        }
        let verdict = match self.violations.len() {
            0 => "clean".to_owned(),
            broken => format!("{broken} rules broken"),
        };
        write!(f, "verdict: {verdict}")
    }
}
