//! A model of leases, routing and fencing: the real `plan`, `placement`, `Tenure` and `Ownership` among
//! modelled processes, links, clocks, book and store, over many seeded schedules of faults.
//!
//! `FAKTOR_MODEL_SCHEDULES` sets how many; `FAKTOR_MODEL_SEED` runs one and prints what happened,
//! with `FAKTOR_MODEL_MUTATION` the rule of that name is broken.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod book;
mod faults;
mod ledger;
mod moves;
mod node;
mod requests;
mod shard;
mod world;

use world::World;

/// A rule broken on purpose: the checker must see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    TermIgnored,
    TermFromReply,
    CommitWithoutEpoch,
    NoClaim,
    RevivedLease,
    TakeWithoutLook,
    MovedWhileServing,
    LetGoServed,
    QueueNotAnswered,
    MemoryOfOldEpoch,
    AbsenceRemembered,
    LeftWhileServing,
    NewRequestId,
    DrainedByName,
}

const MUTATIONS: [Mutation; 14] = [
    Mutation::TermIgnored,
    Mutation::TermFromReply,
    Mutation::CommitWithoutEpoch,
    Mutation::NoClaim,
    Mutation::RevivedLease,
    Mutation::TakeWithoutLook,
    Mutation::MovedWhileServing,
    Mutation::LetGoServed,
    Mutation::QueueNotAnswered,
    Mutation::MemoryOfOldEpoch,
    Mutation::AbsenceRemembered,
    Mutation::LeftWhileServing,
    Mutation::NewRequestId,
    Mutation::DrainedByName,
];

#[derive(Debug, Default)]
struct Report {
    steps: u64,
    worst_stale_ms: u64,
    answered: usize,
    unanswered: usize,
}

fn run(seed: u64, report: &mut Report) -> Result<(), String> {
    let mut world = World::new(seed, None, false);
    let result = world.run();
    report.steps += world.steps;
    report.worst_stale_ms = report.worst_stale_ms.max(world.worst_stale_ms);
    let answered = world.wanted.iter().filter(|wanted| wanted.answered).count();
    report.answered += answered;
    report.unanswered += world.wanted.len() - answered;
    result
}

/// The story of a schedule, and what was wrong in the end.
fn story(seed: u64, mutation: Option<Mutation>) -> String {
    let mut world = World::new(seed, mutation, true);
    let result = world.run();
    let mut lines = world.traced.take().unwrap_or_default();
    lines.insert(0, format!("{:?}", world.faults.kinds));
    lines.push(format!("{result:?}"));
    lines.join("\n")
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[test]
fn no_schedule_breaks_a_promise() {
    if let Some(seed) = setting("FAKTOR_MODEL_SEED") {
        let name = std::env::var("FAKTOR_MODEL_MUTATION").ok();
        let broken = MUTATIONS
            .into_iter()
            .find(|rule| name.as_deref() == Some(&format!("{rule:?}")));
        let story = story(seed, broken);
        println!("{story}");
        assert!(story.ends_with("Ok(())"));
        return;
    }
    let schedules = setting("FAKTOR_MODEL_SCHEDULES").unwrap_or(100_000);
    let threads: Vec<_> = (0..2)
        .map(|thread| {
            std::thread::spawn(move || {
                let mut report = Report::default();
                for seed in (thread..schedules).step_by(2) {
                    if let Err(broken) = run(seed, &mut report) {
                        return Err((seed, broken));
                    }
                }
                Ok(report)
            })
        })
        .collect();
    for thread in threads {
        match thread.join().unwrap() {
            Ok(report) => println!("{report:?}"),
            Err((seed, broken)) => panic!(
                "{}\n{broken}\nagain: FAKTOR_MODEL_SEED={seed} cargo test --test cluster_model",
                story(seed, None)
            ),
        }
    }
}

/// So many schedules are enough to find any broken rule.
const ENOUGH: u64 = 20_000;

#[test]
fn every_rule_that_is_broken_on_purpose_is_found() {
    let halves = MUTATIONS.chunks(MUTATIONS.len().div_ceil(2));
    let threads: Vec<_> = halves
        .map(|half| std::thread::spawn(move || half.iter().filter(|rule| !is_seen(**rule)).count()))
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 0, "a broken rule is not found");
    }
}

fn is_seen(mutation: Mutation) -> bool {
    let found = (0..ENOUGH).find_map(|seed| {
        let broken = World::new(seed, Some(mutation), false).run().err()?;
        Some((seed, broken))
    });
    println!("{mutation:?}: {found:?}");
    found.is_some()
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    for seed in 0..20 {
        assert_eq!(story(seed, None), story(seed, None));
    }
}
