//! What goes wrong, and what must be well some time after it stopped.

use faktor::cluster::placement::desired_owner;
use faktor::store::ShardId;
use faktor::store::cluster::{BootId, Gone};

use crate::book::NAMES;
use crate::world::{
    END_MS, Event, FAULTS_END_MS, Pid, Random, SHARDS, Step, WELL_AGAIN_MS, World, trace,
};

/// Each schedule has some kinds of faults and not others.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they go in any combination")]
pub(crate) struct Kinds {
    pub(crate) stops: bool,
    pub(crate) kills: bool,
    pub(crate) link_cuts: bool,
    pub(crate) book_cuts: bool,
    pub(crate) slow: bool,
    pub(crate) lossy: bool,
    pub(crate) drains: bool,
    pub(crate) terminations: bool,
    /// A living process's address refuses: everybody believes that it is dead.
    pub(crate) false_deaths: bool,
    /// Who has its predecessor's address knows that it is dead.
    pub(crate) own_proof: bool,
}

#[derive(Debug)]
pub(crate) struct Faults {
    pub(crate) kinds: Kinds,
    links: [[bool; 4]; 4],
    book: [bool; 4],
    store: [bool; 4],
    stopped: bool,
    lie: Option<BootId>,
}

impl Faults {
    pub(crate) fn of(random: &mut Random, _slots: usize) -> Self {
        let mut some = |chance| random.percent(chance);
        let kinds = Kinds {
            stops: some(45),
            kills: some(45),
            link_cuts: some(30),
            book_cuts: some(30),
            slow: some(60),
            lossy: some(40),
            drains: some(40),
            terminations: some(30),
            false_deaths: some(12),
            own_proof: some(50),
        };
        Self {
            kinds,
            links: [[false; 4]; 4],
            book: [false; 4],
            store: [false; 4],
            stopped: false,
            lie: None,
        }
    }

    /// Only joins, drains and terminations happen.
    pub(crate) fn are_none(&self) -> bool {
        let kinds = &self.kinds;
        self.delay_nothing() && !kinds.kills && !kinds.false_deaths && !kinds.link_cuts
    }

    /// Nothing keeps a process from hearing of its burial at its next renewal.
    pub(crate) fn delay_nothing(&self) -> bool {
        let kinds = &self.kinds;
        !kinds.stops && !kinds.slow && !kinds.lossy && !kinds.book_cuts
    }

    fn lossy(&self, random: &mut Random, chance: u64) -> bool {
        self.kinds.lossy && !self.stopped && random.percent(chance)
    }

    pub(crate) fn lost_at_book(&self, random: &mut Random, slot: usize) -> bool {
        self.book[slot] || self.lossy(random, 4)
    }

    pub(crate) fn lost_at_store(&self, random: &mut Random, slot: usize) -> bool {
        self.store[slot] || self.lossy(random, 4)
    }

    pub(crate) fn lost_on_link(&self, random: &mut Random, a: usize, b: usize) -> bool {
        self.is_cut(a, b) || self.lossy(random, 8)
    }

    pub(crate) fn doubled(&self, random: &mut Random) -> bool {
        self.lossy(random, 10)
    }

    pub(crate) fn is_cut(&self, a: usize, b: usize) -> bool {
        self.links[a][b] || self.links[b][a]
    }

    pub(crate) fn lies(&self, boot: BootId) -> bool {
        self.lie == Some(boot)
    }
}

impl World {
    pub(crate) fn plan_faults(&mut self) {
        let count = self.random.between(2, 9);
        for _ in 0..count {
            let at = self.random.between(50, FAULTS_END_MS - 1_000);
            self.schedule(at, Event::Fault);
        }
        self.schedule(FAULTS_END_MS, Event::Stop);
        self.schedule(WELL_AGAIN_MS, Event::Check);
        self.schedule(WELL_AGAIN_MS + 1, Event::Final);
        self.schedule(END_MS, Event::Check);
    }

    pub(crate) fn fault(&mut self) {
        let kinds = self.faults.kinds;
        let slot = self.random.index(self.slots.len());
        let pid = self.slots[slot];
        if !self.is_up(pid) {
            self.start_process(slot);
            return;
        }
        match self.random.below(10) {
            0 | 1 if kinds.stops => {
                let for_ms = self.random.between(100, 20_000);
                self.processes[pid].stopped_until = self.now + for_ms;
                trace!(self, "p{pid} is stopped for {for_ms} ms");
            }
            2 | 3 if kinds.kills => {
                self.kill(pid);
                if self.random.percent(60) {
                    self.start_process(slot);
                }
            }
            4 if kinds.link_cuts => {
                let other = self.random.index(self.slots.len());
                self.faults.links[slot][other] ^= slot != other;
                trace!(self, "the link of n{slot} and n{other} is cut or mended");
            }
            5 if kinds.book_cuts => {
                self.faults.book[slot] ^= true;
                self.faults.store[slot] = self.faults.book[slot] && self.random.percent(50);
                trace!(self, "the book of p{pid} is cut or mended");
            }
            6 if kinds.drains => {
                let (now, draining) = (self.book_now(), self.random.percent(70));
                self.book.set_draining(slot, draining, now);
                trace!(self, "n{slot} is draining: {draining}");
                self.after(5, Event::At(pid, Step::Nudge));
            }
            7 if kinds.terminations => {
                trace!(self, "p{pid} is told to end");
                self.after(1, Event::At(pid, Step::Terminate));
            }
            8 | 9 if kinds.false_deaths => self.bury_alive(pid),
            _ => {}
        }
    }

    pub(crate) fn kill(&mut self, pid: Pid) {
        trace!(self, "p{pid} is dead");
        let process = &mut self.processes[pid];
        process.alive = false;
        let boot = process.boot;
        process.tenure = None;
        self.cut_off_clients(pid);
        for slot in 0..self.slots.len() {
            let delay = self.random.between(1, 60);
            let closed = Step::LinkClosed(boot, pid);
            self.after(delay, Event::At(self.slots[slot], closed));
        }
    }

    fn bury_alive(&mut self, pid: Pid) {
        let process = &self.processes[pid];
        if process.tenure.is_none() || self.faults.lie.is_some() {
            return;
        }
        let boot = process.boot;
        self.faults.lie = Some(boot);
        trace!(self, "p{pid} is taken for dead");
        // Its own word for it reaches the book at once; others may be as late as they are.
        let now = self.book_now();
        self.book.bury(boot, Gone::Refused, now);
        self.processes[pid].buried_alive_at = Some(self.now);
        for slot in 0..self.slots.len() {
            let step = Step::Nudge;
            self.after(3, Event::At(self.slots[slot], step));
        }
        self.processes[pid].round_due = self.processes[pid].round_due.max(1);
    }

    pub(crate) fn stop_faults(&mut self) {
        self.faults.links = [[false; 4]; 4];
        self.faults.book = [false; 4];
        self.faults.store = [false; 4];
        self.faults.stopped = true;
        let now = self.book_now();
        for slot in 0..self.slots.len() {
            self.book.set_draining(slot, false, now);
            let pid = self.slots[slot];
            self.processes[pid].stopped_until = self.now;
            if self.is_up(pid) && self.processes[pid].terminating.is_some() {
                self.kill(pid);
            }
            if !self.is_up(pid) {
                self.start_process(slot);
            }
        }
    }

    /// Every shard has one owner, which answers for it, and it is the one that should have it.
    pub(crate) fn check_that_all_is_well(&mut self) {
        let names = &NAMES[..self.slots.len()];
        for shard in (0..SHARDS).map(ShardId) {
            let row = self.book.row(shard);
            let wanted = desired_owner(shard, names.iter().copied());
            let wanted = NAMES.iter().position(|name| Some(*name) == wanted);
            for slot in 0..self.slots.len() {
                let pid = self.slots[slot];
                let serves = self.serves(pid, shard);
                let should = (wanted == Some(slot)).then_some(row.epoch);
                let named = row.owner == Some(self.processes[pid].boot);
                if serves != should || named != should.is_some() {
                    self.broken = Some(format!(
                        "{shard:?} should be with slot {wanted:?}, but the book has {row:?} and \
                         p{pid} of slot {slot} answers for {serves:?}"
                    ));
                }
            }
        }
    }
}
