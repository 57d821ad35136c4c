//! How a node gives shards away: answer the queue, let go, and only then ask the book.

use faktor::cluster::plan::{Move, Owner};
use faktor::store::{Epoch, ShardId};

use crate::Mutation;
use crate::node::{BookCall, Round, SOON_MS};
use crate::world::{Event, Pid, ROUND_MS, Step, World, shard_of};

/// For how long a queue may take to be answered before a shard stays.
const QUEUE_MS: u64 = 1_500;

impl World {
    pub(crate) fn next_move(&mut self, pid: Pid) {
        let until = self.local(pid) + QUEUE_MS;
        let process = &mut self.processes[pid];
        let (Some(tenure), Some(moved)) = (&mut process.tenure, process.moves.pop_front()) else {
            let delay = if process.terminating.is_some() {
                SOON_MS
            } else {
                ROUND_MS
            };
            self.rest(pid, delay);
            return;
        };
        if self.mutation == Some(Mutation::MovedWhileServing) {
            let boot = process.boot;
            self.call_book(
                pid,
                Round::HandingOver(moved),
                BookCall::HandOver(boot, moved),
            );
            return;
        }
        tenure.begin_leaving(moved.shard);
        let id = self.id();
        self.processes[pid].call = id;
        self.processes[pid].round = Round::Answering(moved, until);
        self.queue_answered(pid, id);
    }

    /// Looks whether the queues of a leaving shard are empty.
    pub(crate) fn queue_answered(&mut self, pid: Pid, call: u64) {
        let local = self.local(pid);
        let process = &mut self.processes[pid];
        let Round::Answering(moved, until) = process.round else {
            return;
        };
        if process.call != call {
            return;
        }
        let busy = process
            .actors
            .iter()
            .enumerate()
            .any(|(invoice, actor)| shard_of(invoice) == moved.shard && actor.is_busy());
        let skip = self.mutation == Some(Mutation::QueueNotAnswered);
        let Some(tenure) = &mut process.tenure else {
            return;
        };
        if !busy || skip {
            if self.mutation != Some(Mutation::LetGoServed) {
                tenure.let_go(moved.shard, moved.epoch);
            }
            let boot = process.boot;
            self.call_book(
                pid,
                Round::HandingOver(moved),
                BookCall::HandOver(boot, moved),
            );
        } else if local >= until {
            tenure.stay(moved.shard);
            self.next_move(pid);
        } else {
            self.timer(pid, 20, Step::QueueAnswered(call));
        }
    }

    pub(crate) fn moved(&mut self, pid: Pid, moved: Move, given: &[(ShardId, Epoch)]) {
        let process = &mut self.processes[pid];
        let (Some(tenure), Some((shard, epoch))) = (&mut process.tenure, given.first()) else {
            // Not given: the next view tells why.
            self.rest(pid, SOON_MS);
            return;
        };
        if moved.to == process.boot {
            tenure.grant(*shard, *epoch);
        } else {
            tenure.handed_over(*shard, *epoch);
            process.owners[usize::from(shard.0)] = Some(Owner {
                boot: moved.to,
                epoch: *epoch,
            });
            if let Some(to) = self.pid_of(moved.to)
                && !self
                    .faults
                    .is_cut(self.processes[pid].slot, self.processes[to].slot)
            {
                let delay = self.delay();
                self.after(delay, Event::At(to, Step::Nudge));
            }
        }
        self.next_move(pid);
    }
}
