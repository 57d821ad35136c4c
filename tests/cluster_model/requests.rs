//! Clients, and the router of the process that they ask: the same request id again and again, until
//! there is an answer or the deadline is over.

use faktor::cluster::plan::Owner;
use faktor::store::Epoch;

use crate::Mutation;
use crate::world::{
    Event, FAULTS_END_MS, INVOICES, Pid, ROUND_MS, Step, TERM_MS, WELL_AGAIN_MS, World, shard_of,
    trace,
};

/// What a process gives itself for a request.
const DEADLINE_MS: u64 = 10_000;
const ASK_MS: u64 = 1_500;
const ATTEMPTS: u32 = 4;

/// What a client wants, once.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) invoice: usize,
    pub(crate) is_write: bool,
    slot: usize,
    attempts: u32,
    /// The process asked, and when it must have answered by its clock.
    asked: Option<(Pid, u64)>,
    /// What had been shown when the attempt began.
    shown: usize,
    pub(crate) answered: bool,
    /// Asked after everything is well: it must succeed at once.
    last: bool,
}

/// A request at the process that a client asked.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    id: u64,
    wanted: usize,
    request_id: u64,
    backoff_ms: u64,
    ask: u64,
}

/// On its way to an owner.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) number: u64,
    pub(crate) invoice: usize,
    pub(crate) is_write: bool,
    pub(crate) request_id: u64,
    pub(crate) wanted: usize,
    from: Pid,
    pending: u64,
    hops: u8,
}

/// Accepted by an owner.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) ask: Ask,
    pub(crate) epoch: Epoch,
    pub(crate) accepted_at: u64,
    /// By the process's clock.
    pub(crate) in_time_until: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    /// The version that the request made.
    Done(usize),
    /// The version, who says so, and when it looked at its term.
    Read(usize, Pid, u64),
    NotOwner(Option<Owner>),
    Unavailable,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) ask: u64,
    pub(crate) outcome: Outcome,
}

impl World {
    pub(crate) fn plan_requests(&mut self) {
        let bursts = self.random.between(2, 5);
        for _ in 0..bursts {
            let from = self.random.between(100, FAULTS_END_MS - 2_000);
            for _ in 0..self.random.between(3, 8) {
                let at = from + self.random.below(1_500);
                let is_write = self.random.percent(50);
                let invoice = self.random.index(INVOICES);
                self.want(at, invoice, is_write, false);
            }
        }
    }

    /// One read and one write of each invoice at each node.
    pub(crate) fn ask_everything(&mut self) {
        for invoice in 0..INVOICES {
            for slot in 0..self.slots.len() {
                self.want(self.now, invoice, slot % 2 == 0, true);
                if let Some(wanted) = self.wanted.last_mut() {
                    wanted.slot = slot;
                }
            }
        }
    }

    fn want(&mut self, at: u64, invoice: usize, is_write: bool, last: bool) {
        let slot = self.random.index(self.slots.len());
        self.wanted.push(Wanted {
            invoice,
            is_write,
            slot,
            attempts: 0,
            asked: None,
            shown: 0,
            answered: false,
            last,
        });
        self.schedule(at, Event::Client(self.wanted.len() - 1));
    }

    pub(crate) fn client_asks(&mut self, wanted: usize) {
        let slot = self.random.index(self.slots.len());
        let asked = &mut self.wanted[wanted];
        asked.attempts += 1;
        if asked.attempts > 1 {
            asked.slot = slot;
        }
        let pid = self.slots[asked.slot];
        asked.shown = self.ledger.shown(asked.invoice);
        if !self.is_up(pid) {
            self.ask_again(wanted);
            return;
        }
        let id = self.id();
        let request_id = if self.mutation == Some(Mutation::NewRequestId) {
            id
        } else {
            wanted as u64
        };
        let until = self.local(pid) + DEADLINE_MS;
        self.wanted[wanted].asked = Some((pid, until));
        trace!(
            self,
            "client asks p{pid} {wanted}: {:?}", self.wanted[wanted]
        );
        self.processes[pid].pending.push(Pending {
            id,
            wanted,
            request_id,
            backoff_ms: 50,
            ask: 0,
        });
        self.timer(pid, DEADLINE_MS, Step::Deadline(id));
        self.after(0, Event::At(pid, Step::Route(id)));
    }

    /// A client that was cut off, or got a 503, asks somebody with the same id.
    fn ask_again(&mut self, wanted: usize) {
        let asked = &mut self.wanted[wanted];
        asked.asked = None;
        if asked.last {
            self.broken = Some(format!("no answer though all is well: {asked:?}"));
        } else if asked.attempts < ATTEMPTS {
            let delay = self.random.between(20, 400);
            self.after(delay, Event::Client(wanted));
        }
    }

    pub(crate) fn cut_off_clients(&mut self, pid: Pid) {
        let pending = std::mem::take(&mut self.processes[pid].pending);
        for pending in pending {
            self.ask_again(pending.wanted);
        }
    }

    pub(crate) fn deadline(&mut self, pid: Pid, id: u64) {
        if let Some(pending) = self.take_pending(pid, id) {
            trace!(self, "p{pid} answers 503 to {}", pending.wanted);
            self.ask_again(pending.wanted);
        }
    }

    fn take_pending(&mut self, pid: Pid, id: u64) -> Option<Pending> {
        let pending = &mut self.processes[pid].pending;
        let at = pending.iter().position(|pending| pending.id == id)?;
        Some(pending.swap_remove(at))
    }

    fn ask_of(&mut self, pid: Pid, id: u64) -> Option<Ask> {
        let number = self.id();
        let new_id = self.mutation == Some(Mutation::NewRequestId);
        let pending = &mut self.processes[pid].pending;
        let pending = pending.iter_mut().find(|pending| pending.id == id)?;
        pending.ask = number;
        if new_id {
            pending.request_id = number;
        }
        let wanted = &self.wanted[pending.wanted];
        Some(Ask {
            number,
            invoice: wanted.invoice,
            is_write: wanted.is_write,
            request_id: pending.request_id,
            wanted: pending.wanted,
            from: pid,
            pending: id,
            hops: 0,
        })
    }

    pub(crate) fn route(&mut self, pid: Pid, id: u64) {
        if let Some(ask) = self.ask_of(pid, id) {
            self.timer(pid, ASK_MS, Step::AskTimedOut(ask.number));
            self.asked(pid, ask);
        }
    }

    /// Here, or at the owner, or one that was thought to be it.
    pub(crate) fn asked(&mut self, pid: Pid, mut ask: Ask) {
        let shard = shard_of(ask.invoice);
        if let Some(epoch) = self.serves(pid, shard) {
            let job = Job {
                ask,
                epoch,
                accepted_at: self.now,
                in_time_until: self.local(pid) + 1_000,
            };
            self.enqueue(pid, job);
            return;
        }
        let process = &self.processes[pid];
        let owner = process.owners[usize::from(shard.0)];
        let elsewhere = owner.filter(|owner| owner.boot != process.boot);
        let next = elsewhere.and_then(|owner| self.pid_of(owner.boot));
        match next.filter(|next| ask.hops < 2 && *next != ask.from) {
            Some(next) => {
                ask.hops += 1;
                self.send(pid, next, Step::Asked(ask));
            }
            None => {
                let answer = Answer {
                    ask: ask.number,
                    outcome: Outcome::NotOwner(elsewhere),
                };
                self.reply(pid, &ask, answer);
            }
        }
    }

    pub(crate) fn reply(&mut self, pid: Pid, ask: &Ask, answer: Answer) {
        let step = Step::Answered(ask.pending, answer);
        if ask.from == pid {
            self.after(0, Event::At(pid, step));
        } else {
            self.send(pid, ask.from, step);
        }
    }

    /// By the link: it may be cut, lose, delay or double.
    fn send(&mut self, from: Pid, to: Pid, step: Step) {
        let (a, b) = (self.processes[from].slot, self.processes[to].slot);
        if self.faults.lost_on_link(&mut self.random, a, b) {
            return;
        }
        if self.faults.doubled(&mut self.random) {
            let delay = self.delay() + 5;
            self.after(delay, Event::At(to, step.clone()));
        }
        let delay = self.delay();
        self.after(delay, Event::At(to, step));
    }

    pub(crate) fn ask_timed_out(&mut self, pid: Pid, ask: u64) {
        let pending = &self.processes[pid].pending;
        if let Some(pending) = pending.iter().find(|pending| pending.ask == ask) {
            let id = pending.id;
            self.route_later(pid, id);
        }
    }

    fn route_later(&mut self, pid: Pid, id: u64) {
        let pending = &mut self.processes[pid].pending;
        if let Some(pending) = pending.iter_mut().find(|pending| pending.id == id) {
            pending.ask = 0;
            let delay = pending.backoff_ms;
            pending.backoff_ms = (delay * 2).min(800);
            self.timer(pid, delay, Step::Route(id));
        }
    }

    pub(crate) fn answered(&mut self, pid: Pid, id: u64, answer: Answer) {
        let pending = &self.processes[pid].pending;
        let Some(pending) = pending.iter().find(|pending| pending.id == id) else {
            return;
        };
        let current = pending.ask == answer.ask;
        let wanted = pending.wanted;
        match answer.outcome {
            Outcome::Done(version) => {
                self.take_pending(pid, id);
                trace!(self, "client hears: {wanted} is done in version {version}");
                let asked = &mut self.wanted[wanted];
                asked.answered = true;
                asked.asked = None;
                self.ledger.acknowledge(asked.invoice, version, wanted);
            }
            Outcome::Read(version, by, accepted_at) => {
                self.take_pending(pid, id);
                trace!(
                    self,
                    "client hears: {wanted} reads version {version} of p{by}"
                );
                let asked = &mut self.wanted[wanted];
                asked.answered = true;
                asked.asked = None;
                let stale = self.ledger.read(asked.invoice, version, asked.shown);
                if stale > 0 {
                    self.stale(wanted, by, accepted_at);
                }
            }
            // Of an older try, or said twice.
            Outcome::NotOwner(_) | Outcome::Unavailable if !current => {}
            Outcome::NotOwner(hint) => {
                let shard = shard_of(self.wanted[wanted].invoice);
                let known = &mut self.processes[pid].owners[usize::from(shard.0)];
                let newer = |hint: &Owner| known.is_none_or(|known| known.epoch < hint.epoch);
                if let Some(hint) = hint.filter(newer) {
                    *known = Some(hint);
                    self.route(pid, id);
                } else {
                    self.route_later(pid, id);
                }
            }
            Outcome::Unavailable => self.route_later(pid, id),
        }
    }

    /// A read showed less than was shown before it began. Only a process that was buried alive may do
    /// that, until it hears of it: its next renewal, and never after the end of its term.
    fn stale(&mut self, wanted: usize, by: Pid, accepted_at: u64) {
        let process = &self.processes[by];
        let bound = if self.faults.delay_nothing() {
            // The renewal under way when it was buried may still be answered well.
            ROUND_MS + 100
        } else {
            TERM_MS
        } * 1_000
            / process.rate
            + 1;
        let since = process
            .buried_alive_at
            .map(|at| accepted_at.saturating_sub(at));
        match since {
            Some(since) if since <= bound => {
                self.worst_stale_ms = self.worst_stale_ms.max(since);
            }
            _ => {
                self.broken = Some(format!(
                    "request {wanted}: p{by} shows old data, {since:?} ms after it was buried alive"
                ));
            }
        }
    }

    pub(crate) fn check_that_requests_ended(&mut self) -> Result<(), String> {
        for (number, wanted) in self.wanted.iter().enumerate() {
            if let Some((pid, until)) = wanted.asked
                && self.is_up(pid)
                && self.processes[pid].stopped_until <= self.now
                && self.local(pid) > until + 10
            {
                return Err(format!("request {number} has no answer after its deadline"));
            }
            if wanted.last && !wanted.answered && self.now > WELL_AGAIN_MS + 4_000 {
                return Err(format!("request {number} has no answer though all is well"));
            }
        }
        Ok(())
    }
}
