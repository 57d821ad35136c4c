//! The simulated world: processes, the events that are on their way to them, and the loop that lets one
//! happen after the other. Everything follows from the seed.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use faktor::actors::ownership::Ownership;
use faktor::cluster::plan::{Move, Owner};
use faktor::cluster::tenure::Tenure;
use faktor::store::cluster::BootId;
use faktor::store::{Epoch, ShardId};
use uuid::Uuid;

use crate::Mutation;
use crate::book::Book;
use crate::faults::Faults;
use crate::ledger::Ledger;
use crate::node::{BookCall, BookReply, Round};
use crate::requests::{Answer, Ask, Pending, Wanted};
use crate::shard::{Actor, StoreCall, StoreReply};

pub(crate) const TTL_MS: u64 = 15_000;
pub(crate) const TERM_MS: u64 = 12_000;
pub(crate) const ROUND_MS: u64 = 3_750;
pub(crate) const SHARDS: u16 = 3;
pub(crate) const INVOICES: usize = 4;
/// Faults happen until then.
pub(crate) const FAULTS_END_MS: u64 = 24_000;
/// Then everything must be well again: a lease that runs out, a join, a round, a hand-over.
pub(crate) const WELL_AGAIN_MS: u64 = FAULTS_END_MS + 30_000;
pub(crate) const END_MS: u64 = WELL_AGAIN_MS + 6_000;

thread_local! {
    /// The machine's clock of the process whose step it is.
    static MACHINE_MS: Cell<u64> = const { Cell::new(0) };
}

/// `SplitMix64`.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from)
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

/// A process, by its place in `World::processes`; a start of a slot is a new one.
pub(crate) type Pid = usize;

#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Arrives at a process, unless it is dead; late, if it is stopped.
    At(Pid, Step),
    /// The book carries out a request.
    Book(Pid, u64, BookCall),
    /// The invoices' store does.
    Store(Pid, u64, StoreCall),
    Client(usize),
    Fault,
    Stop,
    Final,
    Check,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Round,
    BookReplied(u64, Option<BookReply>),
    QueueAnswered(u64),
    Actor(usize),
    SendCommit(usize, u64),
    StoreReplied(usize, u64, Option<StoreReply>),
    Asked(Ask),
    Answered(u64, Answer),
    AskTimedOut(u64),
    Route(u64),
    Deadline(u64),
    LinkClosed(BootId, Pid),
    Nudge,
    Terminate,
}

#[derive(Debug)]
struct Scheduled {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) slot: usize,
    pub(crate) alive: bool,
    pub(crate) stopped_until: u64,
    /// Thousandths of the true speed.
    pub(crate) rate: u64,
    pub(crate) offset: u64,
    pub(crate) ownership: Ownership,
    pub(crate) boot: BootId,
    /// While it is a member.
    pub(crate) tenure: Option<Tenure>,
    pub(crate) round: Round,
    /// The number of the call that the round waits for.
    pub(crate) call: u64,
    pub(crate) began: u64,
    /// Rounds that were ended; a timer of an older one is void.
    pub(crate) moves: VecDeque<Move>,
    pub(crate) round_due: u64,
    pub(crate) terminating: Option<u64>,
    pub(crate) owners: [Option<Owner>; SHARDS as usize],
    pub(crate) actors: [Actor; INVOICES],
    pub(crate) pending: Vec<Pending>,
    /// Until when it may be believed dead though it lives.
    pub(crate) buried_alive_at: Option<u64>,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) random: Random,
    events: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
    pub(crate) book: Book,
    pub(crate) book_rate: u64,
    pub(crate) ledger: Ledger,
    pub(crate) processes: Vec<Process>,
    /// The process of each slot.
    pub(crate) slots: Vec<Pid>,
    pub(crate) faults: Faults,
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) long: bool,
    ids: u64,
    pub(crate) traced: Option<Vec<String>>,
    pub(crate) broken: Option<String>,
    /// The longest that a process buried alive answered with old data after its burial.
    pub(crate) worst_stale_ms: u64,
    pub(crate) steps: u64,
}

macro_rules! trace {
    ($world:expr, $($text:tt)*) => {
        if $world.traced.is_some() {
            let line = format!($($text)*);
            $world.note(line);
        }
    };
}
pub(crate) use trace;

/// The shard of an invoice: two share one.
pub(crate) fn shard_of(invoice: usize) -> ShardId {
    ShardId(u16::try_from(invoice).unwrap() % SHARDS)
}

impl World {
    pub(crate) fn new(seed: u64, mutation: Option<Mutation>, traced: bool) -> Self {
        let mut random = Random(seed);
        random.next();
        let long = random.percent(12);
        let slots = usize::try_from(random.between(2, 5)).unwrap();
        let faults = Faults::of(&mut random, slots);
        let book_rate = random.between(950, 1_051);
        let mut world = Self {
            now: 0,
            random,
            events: BinaryHeap::with_capacity(64),
            order: 0,
            book: Book::new(mutation),
            book_rate,
            ledger: Ledger::new(mutation),
            processes: Vec::new(),
            slots: Vec::new(),
            faults,
            wanted: Vec::new(),
            mutation,
            long,
            ids: 0,
            traced: traced.then(Vec::new),
            broken: None,
            worst_stale_ms: 0,
            steps: 0,
        };
        for slot in 0..slots {
            world.slots.push(usize::MAX);
            world.start_process(slot);
        }
        world.plan_faults();
        world.plan_requests();
        world
    }

    /// Runs to the end, or to what must not be.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let end = if self.long { END_MS } else { FAULTS_END_MS };
        while let Some(Reverse(scheduled)) = self.events.pop() {
            if scheduled.at > end {
                break;
            }
            self.now = scheduled.at;
            self.steps += 1;
            if self.steps > 200_000 {
                self.broken = Some("the schedule does not end".to_owned());
            }
            self.happen(scheduled.event);
            let broken = self.broken.take();
            let broken = broken.or_else(|| self.book.broken.take());
            if let Some(broken) = broken.or_else(|| self.ledger.broken.take()) {
                return Err(broken);
            }
        }
        self.check_that_requests_ended()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::At(pid, step) => {
                let process = &self.processes[pid];
                if !process.alive {
                    return;
                }
                if process.stopped_until > self.now {
                    let at = process.stopped_until;
                    self.schedule(at, Event::At(pid, step));
                    return;
                }
                MACHINE_MS.set(self.local(pid));
                self.step(pid, step);
            }
            Event::Book(pid, call, what) => self.book_carries_out(pid, call, &what),
            Event::Store(pid, call, what) => self.store_carries_out(pid, call, &what),
            Event::Client(wanted) => self.client_asks(wanted),
            Event::Fault => self.fault(),
            Event::Stop => self.stop_faults(),
            Event::Final => self.ask_everything(),
            Event::Check => self.check_that_all_is_well(),
        }
    }

    fn step(&mut self, pid: Pid, step: Step) {
        match step {
            Step::Round => self.begin_round(pid),
            Step::BookReplied(call, reply) => self.book_replied(pid, call, reply),
            Step::QueueAnswered(call) => self.queue_answered(pid, call),
            Step::Actor(invoice) => self.actor_step(pid, invoice),
            Step::SendCommit(invoice, op) => self.send_commit(pid, invoice, op),
            Step::StoreReplied(invoice, op, reply) => self.store_replied(pid, invoice, op, reply),
            Step::Asked(ask) => self.asked(pid, ask),
            Step::Answered(id, answer) => self.answered(pid, id, answer),
            Step::AskTimedOut(ask) => self.ask_timed_out(pid, ask),
            Step::Route(id) => self.route(pid, id),
            Step::Deadline(id) => self.deadline(pid, id),
            Step::LinkClosed(boot, peer) => self.link_closed(pid, boot, peer),
            Step::Nudge => self.nudged(pid),
            Step::Terminate => self.terminate(pid),
        }
    }

    pub(crate) fn schedule(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse(Scheduled {
            at,
            order: self.order,
            event,
        }));
    }

    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.schedule(self.now + delay, event);
    }

    /// After so many milliseconds of the process's own clock.
    pub(crate) fn timer(&mut self, pid: Pid, local_ms: u64, step: Step) {
        let delay = local_ms * 1_000 / self.processes[pid].rate;
        self.after(delay, Event::At(pid, step));
    }

    pub(crate) fn local(&self, pid: Pid) -> u64 {
        let process = &self.processes[pid];
        process.offset + self.now * process.rate / 1_000
    }

    pub(crate) fn book_now(&self) -> u64 {
        1_000 + self.now * self.book_rate / 1_000
    }

    pub(crate) fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    pub(crate) fn is_up(&self, pid: Pid) -> bool {
        self.processes[pid].alive
    }

    pub(crate) fn note(&mut self, line: String) {
        let now = self.now;
        if let Some(lines) = &mut self.traced {
            lines.push(format!("{now:>6} {line}"));
        }
    }

    /// How long something is under way.
    pub(crate) fn delay(&mut self) -> u64 {
        let faulty = self.now < FAULTS_END_MS && self.faults.kinds.slow;
        match self.random.below(100) {
            0..2 if faulty => self.random.between(300, 8_000),
            2..10 if faulty => self.random.between(20, 600),
            _ => self.random.between(1, 8),
        }
    }

    pub(crate) fn start_process(&mut self, slot: usize) {
        let pid = self.processes.len();
        let id = self.id();
        let offset = self.random.below(1_000_000);
        let rate = self.random.between(950, 1_051);
        self.processes.push(Process {
            slot,
            alive: true,
            stopped_until: 0,
            rate,
            offset,
            ownership: Ownership::nothing(|| MACHINE_MS.get()),
            boot: BootId(Uuid::from_u128(u128::from(id))),
            tenure: None,
            round: Round::Resting,
            call: 0,
            began: 0,
            moves: VecDeque::new(),
            round_due: 0,
            terminating: None,
            owners: [None; SHARDS as usize],
            actors: std::array::from_fn(|_| Actor::default()),
            pending: Vec::new(),
            buried_alive_at: None,
        });
        self.slots[slot] = pid;
        trace!(self, "process {pid} starts in slot {slot}");
        self.after(1, Event::At(pid, Step::Round));
    }

    /// What a process answers for a shard, by its own clock.
    pub(crate) fn serves(&self, pid: Pid, shard: ShardId) -> Option<Epoch> {
        MACHINE_MS.set(self.local(pid));
        let process = &self.processes[pid];
        if self.mutation == Some(Mutation::TermIgnored) {
            return process
                .tenure
                .as_ref()
                .and_then(|tenure| tenure.held(shard));
        }
        process.ownership.serves(shard).ok()
    }

    pub(crate) fn pid_of(&self, boot: BootId) -> Option<Pid> {
        self.processes
            .iter()
            .position(|process| process.boot == boot && process.tenure.is_some())
    }
}
