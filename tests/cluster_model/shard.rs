//! The invoices' actors of a process: one request at a time, claim, decide, commit, answer.

use std::collections::VecDeque;

use faktor::store::Epoch;

use crate::Mutation;
use crate::ledger::{Refused, Written};
use crate::requests::{Answer, Job, Outcome};
use crate::world::{Event, Pid, Step, World, shard_of, trace};

/// For how long an actor waits for the store.
const STORE_MS: u64 = 2_000;

#[derive(Debug, Default)]
pub(crate) struct Actor {
    queue: VecDeque<Job>,
    working: Option<Working>,
    memory: Option<Memory>,
}

/// A snapshot is its version: what it says is the history up to there.
#[derive(Debug, Clone, Copy)]
struct Memory {
    epoch: Epoch,
    version: usize,
}

#[derive(Debug)]
struct Working {
    op: u64,
    job: Job,
    reloaded: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum StoreCall {
    Claim(usize, Epoch),
    Commit(usize, usize, Epoch, Written),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreReply {
    result: Result<usize, Refused>,
    /// Else of a commit.
    of_claim: bool,
}

impl Actor {
    pub(crate) fn is_busy(&self) -> bool {
        self.working.is_some() || !self.queue.is_empty()
    }
}

impl World {
    pub(crate) fn enqueue(&mut self, pid: Pid, job: Job) {
        let invoice = job.ask.invoice;
        self.processes[pid].actors[invoice].queue.push_back(job);
        let delay = self.random.below(4);
        self.after(delay, Event::At(pid, Step::Actor(invoice)));
    }

    pub(crate) fn actor_step(&mut self, pid: Pid, invoice: usize) {
        let actor = &mut self.processes[pid].actors[invoice];
        if actor.working.is_some() {
            return;
        }
        let Some(job) = actor.queue.pop_front() else {
            return;
        };
        let op = self.id();
        self.processes[pid].actors[invoice].working = Some(Working {
            op,
            job,
            reloaded: false,
        });
        self.work(pid, invoice);
    }

    fn work(&mut self, pid: Pid, invoice: usize) {
        let shard = shard_of(invoice);
        let process = &mut self.processes[pid];
        let actor = &mut process.actors[invoice];
        let Some(Working { op, job, .. }) = &actor.working else {
            return;
        };
        let (op, job) = (*op, job.clone());
        let may = process.ownership.may_finish(shard, job.epoch)
            || self.mutation == Some(Mutation::TermIgnored);
        if !may {
            let given_away = process.terminating.is_none()
                && process
                    .tenure
                    .as_ref()
                    .is_some_and(|tenure| tenure.has_let_go(shard, job.epoch))
                && self.faults.are_none();
            if given_away && self.processes[pid].ownership.now() < job.in_time_until {
                self.broken = Some(format!("p{pid}: a waiting request was given away"));
            }
            self.finish(pid, invoice, Outcome::NotOwner(None));
            return;
        }
        let any_epoch = self.mutation == Some(Mutation::MemoryOfOldEpoch);
        let memory = actor
            .memory
            .filter(|memory| memory.epoch == job.epoch || any_epoch);
        let Some(memory) = memory else {
            self.call_store(pid, op, invoice, StoreCall::Claim(invoice, job.epoch));
            return;
        };
        self.decide(pid, invoice, op, &job, memory);
    }

    fn decide(&mut self, pid: Pid, invoice: usize, op: u64, job: &Job, memory: Memory) {
        if !job.ask.is_write {
            let outcome = Outcome::Read(memory.version, pid, job.accepted_at);
            self.finish(pid, invoice, outcome);
            return;
        }
        let remembered = self
            .ledger
            .remembered(invoice, memory.version, job.ask.request_id);
        if let Some(version) = remembered {
            self.finish(pid, invoice, Outcome::Done(version));
            return;
        }
        let delay = self.random.below(3);
        self.after(delay, Event::At(pid, Step::SendCommit(invoice, op)));
    }

    pub(crate) fn send_commit(&mut self, pid: Pid, invoice: usize, op: u64) {
        let actor = &self.processes[pid].actors[invoice];
        let Some(working) = actor.working.as_ref().filter(|working| working.op == op) else {
            return;
        };
        let version = actor.memory.map_or(0, |memory| memory.version);
        let written = Written {
            id: working.job.ask.request_id,
            wanted: working.job.ask.wanted,
        };
        let call = StoreCall::Commit(invoice, version, working.job.epoch, written);
        self.call_store(pid, op, invoice, call);
    }

    fn call_store(&mut self, pid: Pid, op: u64, invoice: usize, call: StoreCall) {
        self.timer(pid, STORE_MS, Step::StoreReplied(invoice, op, None));
        if self
            .faults
            .lost_at_store(&mut self.random, self.processes[pid].slot)
        {
            return;
        }
        let delay = self.delay();
        self.after(delay, Event::Store(pid, op, call));
    }

    pub(crate) fn store_carries_out(&mut self, pid: Pid, op: u64, call: &StoreCall) {
        let (invoice, result, of_claim) = match *call {
            StoreCall::Claim(invoice, epoch) => (invoice, self.ledger.claim(invoice, epoch), true),
            StoreCall::Commit(invoice, version, epoch, written) => {
                let result = self.ledger.commit(invoice, version, epoch, written);
                (invoice, result, false)
            }
        };
        trace!(self, "store: p{pid} {call:?} -> {result:?}");
        if self
            .faults
            .lost_at_store(&mut self.random, self.processes[pid].slot)
        {
            return;
        }
        let reply = StoreReply { result, of_claim };
        let delay = self.delay();
        self.after(
            delay,
            Event::At(pid, Step::StoreReplied(invoice, op, Some(reply))),
        );
    }

    pub(crate) fn store_replied(
        &mut self,
        pid: Pid,
        invoice: usize,
        op: u64,
        reply: Option<StoreReply>,
    ) {
        let next = self.id();
        let actor = &mut self.processes[pid].actors[invoice];
        let Some(working) = actor.working.as_mut().filter(|working| working.op == op) else {
            return;
        };
        // Each call to the store has its own number: a late reply is nobody's.
        working.op = next;
        let epoch = working.job.epoch;
        match reply.map(|reply| (reply.result, reply.of_claim)) {
            None => {
                // Whether it was written is not known.
                actor.memory = None;
                self.finish(pid, invoice, Outcome::Unavailable);
            }
            Some((Err(Refused::NotOwner), _)) => {
                actor.memory = None;
                self.finish(pid, invoice, Outcome::NotOwner(None));
            }
            Some((Err(Refused::Conflict), _)) => {
                actor.memory = None;
                if working.reloaded {
                    self.finish(pid, invoice, Outcome::Unavailable);
                } else {
                    working.reloaded = true;
                    self.work(pid, invoice);
                }
            }
            Some((Ok(version), of_claim)) => {
                let memory = Memory { epoch, version };
                let keeps = version != 0 || self.mutation == Some(Mutation::AbsenceRemembered);
                actor.memory = keeps.then_some(memory);
                if of_claim {
                    let job = working.job.clone();
                    self.decide(pid, invoice, next, &job, memory);
                } else {
                    self.finish(pid, invoice, Outcome::Done(version));
                }
            }
        }
    }

    fn finish(&mut self, pid: Pid, invoice: usize, outcome: Outcome) {
        let Some(working) = self.processes[pid].actors[invoice].working.take() else {
            return;
        };
        let answer = Answer {
            ask: working.job.ask.number,
            outcome,
        };
        self.reply(pid, &working.job.ask, answer);
        self.after(0, Event::At(pid, Step::Actor(invoice)));
    }
}
