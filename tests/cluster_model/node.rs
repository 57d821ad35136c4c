//! A node's rounds: renew, view, learn, plan, act; each call to the book may be late or lost.

use faktor::cluster::plan::{Move, plan};
use faktor::cluster::tenure::Tenure;
use faktor::store::cluster::{BootId, ClusterView, Gone, Renewed};
use faktor::store::{Epoch, ShardId};
use tokio::time::Duration;
use uuid::Uuid;

use crate::Mutation;
use crate::world::{Event, Pid, SHARDS, Step, TERM_MS, World, trace};

/// For how long a node waits for the book.
const CALL_MS: u64 = 1_000;
pub(crate) const SOON_MS: u64 = 200;

#[derive(Debug, Clone)]
pub(crate) enum BookCall {
    Join(BootId, usize),
    Renew(BootId),
    View,
    Bury(BootId, Gone),
    Take(BootId, Vec<ShardId>),
    HandOver(BootId, Move),
    Drain(BootId),
    Leave(BootId),
}

#[derive(Debug, Clone)]
pub(crate) enum BookReply {
    Joined(bool),
    Renewed(Renewed),
    View(ClusterView),
    Done,
    Given(Vec<(ShardId, Epoch)>),
}

/// What a node's round is waiting for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Round {
    Resting,
    Joining,
    Burying,
    Renewing,
    Viewing,
    Taking,
    /// Until the queue of this shard is answered, or this moment.
    Answering(Move, u64),
    HandingOver(Move),
    Draining,
    Leaving,
}

impl World {
    pub(crate) fn call_book(&mut self, pid: Pid, round: Round, call: BookCall) {
        let id = self.id();
        self.processes[pid].round = round;
        self.processes[pid].call = id;
        self.timer(pid, CALL_MS, Step::BookReplied(id, None));
        self.called(pid);
        if self
            .faults
            .lost_at_book(&mut self.random, self.processes[pid].slot)
        {
            trace!(self, "p{pid}: {call:?} is lost");
            return;
        }
        let delay = self.delay();
        self.after(delay, Event::Book(pid, id, call));
    }

    pub(crate) fn book_carries_out(&mut self, pid: Pid, id: u64, call: &BookCall) {
        let now = self.book_now();
        let reply = match call {
            BookCall::Join(boot, name) => BookReply::Joined(self.book.join(*boot, *name, now)),
            BookCall::Renew(boot) => BookReply::Renewed(self.book.renew(*boot, now)),
            BookCall::View => BookReply::View(self.book.view(now)),
            BookCall::Bury(boot, how) => {
                self.book.bury(*boot, *how, now);
                BookReply::Done
            }
            BookCall::Take(boot, shards) => BookReply::Given(self.book.take(*boot, shards, now)),
            BookCall::HandOver(from, moved) => {
                let given = (moved.shard, moved.epoch);
                let given = self.book.hand_over(*from, moved.to, given, now);
                BookReply::Given(given.into_iter().collect())
            }
            BookCall::Drain(boot) if self.mutation == Some(Mutation::DrainedByName) => {
                let slot = self.processes[pid].slot;
                let boot = self.book.live_boot(slot, now).unwrap_or(*boot);
                self.book.set_draining(boot, true, now);
                BookReply::Done
            }
            BookCall::Drain(boot) => {
                self.book.set_draining(*boot, true, now);
                BookReply::Done
            }
            BookCall::Leave(boot) => {
                self.book.leave(*boot);
                BookReply::Done
            }
        };
        if let BookReply::Given(given) = &reply
            && !given.is_empty()
        {
            let slot = self.processes[pid].slot;
            let other = match call {
                BookCall::HandOver(_, moved) => self
                    .pid_of(moved.to)
                    .map_or(slot, |to| self.processes[to].slot),
                _ => self.random.index(self.slots.len()),
            };
            self.burst(self.now, 60, [slot, other]);
            if self.random.percent(30) {
                let peer = self.slots[other];
                self.after(2, Event::At(peer, Step::Nudge));
            }
        }
        if !matches!(reply, BookReply::View(_)) {
            trace!(self, "book: p{pid} {call:?} -> {reply:?}");
        }
        if self
            .faults
            .lost_at_book(&mut self.random, self.processes[pid].slot)
        {
            trace!(self, "p{pid}: the reply is lost");
            return;
        }
        let delay = self.delay();
        self.after(delay, Event::At(pid, Step::BookReplied(id, Some(reply))));
    }

    /// The next round begins after so long by the node's clock, unless one begins earlier.
    pub(crate) fn rest(&mut self, pid: Pid, local_ms: u64) {
        let due = self.local(pid) + local_ms;
        let process = &mut self.processes[pid];
        process.round = Round::Resting;
        process.call = 0;
        process.moves.clear();
        process.round_due = due;
        self.timer(pid, local_ms + 1, Step::Round);
    }

    pub(crate) fn nudged(&mut self, pid: Pid) {
        if self.processes[pid].round == Round::Resting {
            self.processes[pid].round_due = 0;
            self.begin_round(pid);
        } else {
            self.timer(pid, SOON_MS, Step::Round);
        }
    }

    pub(crate) fn begin_round(&mut self, pid: Pid) {
        let now = self.local(pid);
        let process = &mut self.processes[pid];
        if process.round != Round::Resting || process.round_due > now {
            return;
        }
        process.began = now;
        let (boot, slot) = (process.boot, process.slot);
        if process.tenure.is_none() {
            self.call_book(pid, Round::Joining, BookCall::Join(boot, slot));
            return;
        }
        self.call_book(pid, Round::Renewing, BookCall::Renew(boot));
    }

    pub(crate) fn book_replied(&mut self, pid: Pid, call: u64, reply: Option<BookReply>) {
        if self.processes[pid].call != call {
            return;
        }
        let round = self.processes[pid].round.clone();
        match (round, reply) {
            (Round::Joining, Some(BookReply::Joined(true))) => self.joined(pid),
            (Round::Joining, Some(BookReply::Joined(false))) => self.name_is_taken(pid),
            (Round::Joining, _) => {
                // Whether it joined is not known: the next start of the boot has another id.
                self.new_boot(pid);
                self.rest(pid, SOON_MS);
            }
            (Round::Renewing, Some(BookReply::Renewed(renewed))) => self.renewed(pid, renewed),
            (Round::Viewing, Some(BookReply::View(view))) => self.viewed(pid, &view),
            (Round::Burying | Round::Draining, Some(_)) => self.look(pid),
            (Round::Taking, Some(BookReply::Given(given))) => {
                self.granted(pid, &given);
                self.next_move(pid);
            }
            (Round::HandingOver(moved), Some(BookReply::Given(given))) => {
                self.moved(pid, moved, &given);
            }
            (Round::HandingOver(moved), None) => {
                if self.mutation == Some(Mutation::LetGoServed) {
                    // Believes that nothing happened.
                    self.processes[pid].ownership.stay(moved.shard);
                }
                self.rest(pid, SOON_MS);
            }
            (Round::Leaving, reply) => {
                let _ = reply;
                self.kill(pid);
            }
            _ => self.rest(pid, SOON_MS),
        }
    }

    fn look(&mut self, pid: Pid) {
        self.call_book(pid, Round::Viewing, BookCall::View);
    }

    fn joined(&mut self, pid: Pid) {
        let process = &mut self.processes[pid];
        process
            .ownership
            .renewed(process.began, Duration::from_millis(TERM_MS));
        process.tenure = Some(Tenure::new(process.boot, process.ownership.clone()));
        process.buried_alive_at = None;
        trace!(
            self,
            "p{pid} joined as {:?}",
            self.processes[pid].boot.0.as_u128()
        );
        self.nudge_others(pid);
        self.look(pid);
    }

    /// My own predecessor is dead: I have its address. It is so in half of the worlds.
    fn name_is_taken(&mut self, pid: Pid) {
        let slot = self.processes[pid].slot;
        let old = self.book.live_boot(slot, self.book_now());
        match old {
            Some(old) if self.faults.kinds.own_proof && old != self.processes[pid].boot => {
                self.call_book(pid, Round::Burying, BookCall::Bury(old, Gone::Refused));
            }
            _ => self.rest(pid, 500),
        }
    }

    fn new_boot(&mut self, pid: Pid) {
        let id = self.id();
        let process = &mut self.processes[pid];
        if let Some(mut tenure) = process.tenure.take() {
            tenure.end();
        }
        process.boot = BootId(Uuid::from_u128(u128::from(id)));
    }

    fn renewed(&mut self, pid: Pid, renewed: Renewed) {
        if renewed == Renewed::Gone {
            trace!(self, "p{pid} hears that it is gone");
            self.new_boot(pid);
            self.rest(pid, SOON_MS);
            return;
        }
        let local = self.local(pid);
        let late = self.mutation == Some(Mutation::TermFromReply);
        let process = &mut self.processes[pid];
        let began = if late { local } else { process.began };
        process
            .ownership
            .renewed(began, Duration::from_millis(TERM_MS));
        let draining = renewed == Renewed::Member { draining: true };
        if process.terminating.is_some() && !draining {
            let boot = process.boot;
            self.call_book(pid, Round::Draining, BookCall::Drain(boot));
        } else {
            self.look(pid);
        }
    }

    fn viewed(&mut self, pid: Pid, view: &ClusterView) {
        let reachable: Vec<BootId> = (0..self.slots.len())
            .filter(|slot| !self.faults.is_cut(self.processes[pid].slot, *slot))
            .map(|slot| self.slots[slot])
            .filter(|peer| self.is_up(*peer))
            .map(|peer| self.processes[peer].boot)
            .collect();
        let local = self.local(pid);
        let process = &mut self.processes[pid];
        let Some(tenure) = &mut process.tenure else {
            self.rest(pid, SOON_MS);
            return;
        };
        let changes = tenure.learn(view);
        let plan = plan(view, tenure, &|boot| reachable.contains(&boot));
        process
            .owners
            .copy_from_slice(&plan.owners[..usize::from(SHARDS)]);
        let boot = process.boot;
        let holds = (0..SHARDS).any(|shard| tenure.held(ShardId(shard)).is_some());
        let ending = process
            .terminating
            .is_some_and(|until| !holds || local > until);
        process.moves = plan.hand_over.iter().copied().collect();
        trace!(
            self,
            "p{pid} views: changes {changes:?} bury {:?} take {:?} move {:?}",
            plan.bury,
            plan.take,
            plan.hand_over
        );
        if let Some(gone) = plan.bury.first() {
            let call = BookCall::Bury(*gone, Gone::Expired);
            self.call_book(pid, Round::Burying, call);
        } else if ending {
            self.leave(pid, boot);
        } else if plan.take.is_empty() {
            self.next_move(pid);
        } else {
            self.call_book(pid, Round::Taking, BookCall::Take(boot, plan.take));
        }
    }

    fn leave(&mut self, pid: Pid, boot: BootId) {
        trace!(self, "p{pid} leaves");
        if self.mutation != Some(Mutation::LeftWhileServing)
            && let Some(mut tenure) = self.processes[pid].tenure.take()
        {
            tenure.end();
        }
        self.call_book(pid, Round::Leaving, BookCall::Leave(boot));
        // Its farewell.
        self.nudge_others(pid);
        let (slot, other) = (
            self.processes[pid].slot,
            self.random.index(self.slots.len()),
        );
        for _ in 0..3 {
            self.burst(self.now, 300, [slot, other]);
        }
    }

    fn granted(&mut self, pid: Pid, given: &[(ShardId, Epoch)]) {
        if let Some(tenure) = &mut self.processes[pid].tenure {
            for (shard, epoch) in given {
                tenure.grant(*shard, *epoch);
            }
        }
    }

    pub(crate) fn nudge_others(&mut self, pid: Pid) {
        for slot in 0..self.slots.len() {
            let peer = self.slots[slot];
            if peer != pid && peer != usize::MAX {
                let delay = self.delay();
                self.after(delay, Event::At(peer, Step::Nudge));
            }
        }
    }

    /// A peer's link closed: its address is tried, and if it refuses, the peer is dead.
    pub(crate) fn link_closed(&mut self, pid: Pid, boot: BootId, peer: Pid) {
        let refused = !self.is_up(self.slots[self.processes[peer].slot]) || self.faults.lies(boot);
        let process = &self.processes[pid];
        if !refused || process.tenure.is_none() || process.boot == boot {
            return;
        }
        let id = self.id();
        trace!(self, "p{pid} says that {} is dead", boot.0.as_u128());
        // Beside the rounds: its own task.
        if !self
            .faults
            .lost_at_book(&mut self.random, self.processes[pid].slot)
        {
            let delay = self.delay();
            self.after(
                delay,
                Event::Book(pid, id, BookCall::Bury(boot, Gone::Refused)),
            );
        }
        self.timer(pid, 20, Step::Nudge);
    }

    pub(crate) fn terminate(&mut self, pid: Pid) {
        // Some are not given the time to hand over.
        let grace_ms = 5_000 * self.random.below(2);
        let until = self.local(pid) + grace_ms;
        self.processes[pid].terminating.get_or_insert(until);
        self.nudged(pid);
    }
}
