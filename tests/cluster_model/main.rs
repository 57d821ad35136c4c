//! A model of leases, routing and fencing: the real `plan`, `placement`, `Tenure` and `Ownership` among
//! modelled processes, links, clocks, book and store, over many seeded schedules of faults.
//!
//! `FAKTOR_MODEL_SCHEDULES` sets how many; `FAKTOR_MODEL_SEED` runs one and prints what happened.

#![expect(clippy::unwrap_used, reason = "a test")]

mod book;
mod faults;
mod ledger;
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
}

const MUTATIONS: [Mutation; 13] = [
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
        let story = story(seed, None);
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

#[test]
fn every_rule_that_is_broken_on_purpose_is_found() {
    let mut unseen = Vec::new();
    for mutation in MUTATIONS {
        let found = (0..20_000).find_map(|seed| {
            let broken = World::new(seed, Some(mutation), false).run().err()?;
            Some((seed, broken))
        });
        match found {
            Some((seed, broken)) => println!("{mutation:?}: seed {seed}: {broken}"),
            None => unseen.push(mutation),
        }
    }
    assert!(unseen.is_empty(), "not found: {unseen:?}");
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    for seed in 0..20 {
        assert_eq!(story(seed, None), story(seed, None));
    }
}
