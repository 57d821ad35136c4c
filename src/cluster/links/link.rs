//! One link that is up: calls, casts, and the pings that tell whether the peer still listens.
//!
//! `ractor_cluster` queues without a bound. So what is sent is counted until it is known to have
//! arrived: a call by its reply, everything else by the first ping that was sent after it and
//! answered.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use ractor::ActorCell;
use ractor::message::SerializedMessage;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;

use super::{LinkStatus, LinksConfig};
use crate::cluster::gateway::{CALL, CAST, Outcome, PING};
use crate::store::cluster::BootId;

/// What a frame may hold besides its payload.
pub(super) const FRAME_OVERHEAD_BYTES: u64 = 512;
/// What a queued message costs besides its payload.
const MESSAGE_OVERHEAD_BYTES: u64 = 256;
/// How much may be queued to a peer, in largest frames.
const MAX_QUEUED_FRAMES: u64 = 4;

/// A link at rest is pinged at one tick of so many.
const PINGED_AT_REST: u32 = 4;

/// Why a call was not answered, or a cast not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The link went down. The peer may have done what it was asked.
    #[error("the link to the node went down")]
    Lost,
    /// The peer may do it yet.
    #[error("the node did not answer in time")]
    TimedOut,
    /// Too much is under way, here or there. Nothing was done.
    #[error("too much is under way to the node")]
    Busy,
    /// The payload, or the answer, does not fit into a frame.
    #[error("the message is too large for a link")]
    TooLarge,
    /// The peer's task panicked.
    #[error("the node failed on the call")]
    Failed,
}

/// A link that is, or was, up. Cheap to clone.
#[derive(Clone)]
pub struct Link {
    inner: Arc<Inner>,
}

struct Inner {
    boot: BootId,
    name: String,
    /// The connection that carries it.
    connection: u64,
    gateway: ActorCell,
    up_since: Instant,
    down: CancellationToken,
    max_payload_bytes: u64,
    max_in_flight: usize,
    max_queued_bytes: u64,
    in_flight: AtomicUsize,
    /// Bytes of the calls in flight.
    calling_bytes: AtomicU64,
    /// Bytes of casts, and of calls that were given up, ever.
    loose_bytes: AtomicU64,
    /// How many of them have arrived.
    arrived_bytes: AtomicU64,
    /// Whether the peer answered anything since the last tick.
    heard: AtomicBool,
    /// Of the last answered ping; 0 before the first.
    rtt_us: AtomicU64,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({} {})", self.inner.name, self.inner.boot)
    }
}

/// A call's place among those under way.
struct Place<'link> {
    link: &'link Inner,
    bytes: u64,
    answered: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.link
                .loose_bytes
                .fetch_add(self.bytes, Ordering::AcqRel);
        }
        self.link
            .calling_bytes
            .fetch_sub(self.bytes, Ordering::AcqRel);
        self.link.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Inner {
    /// What a message of that length will take of the queue, if there is room.
    fn admit(&self, payload: usize) -> Result<u64, LinkError> {
        let payload = payload as u64;
        if payload > self.max_payload_bytes {
            return Err(LinkError::TooLarge);
        }
        let bytes = payload + MESSAGE_OVERHEAD_BYTES;
        let arrived = self.arrived_bytes.load(Ordering::Acquire);
        let loose = self
            .loose_bytes
            .load(Ordering::Acquire)
            .saturating_sub(arrived);
        let queued = loose + self.calling_bytes.load(Ordering::Acquire);
        if queued + bytes > self.max_queued_bytes {
            return Err(LinkError::Busy);
        }
        Ok(bytes)
    }

    fn place(&self, bytes: u64) -> Result<Place<'_>, LinkError> {
        if self.in_flight.fetch_add(1, Ordering::AcqRel) >= self.max_in_flight {
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
            return Err(LinkError::Busy);
        }
        self.calling_bytes.fetch_add(bytes, Ordering::AcqRel);
        Ok(Place {
            link: self,
            bytes,
            answered: false,
        })
    }

    fn send(&self, message: SerializedMessage) -> Result<(), LinkError> {
        if self.down.is_cancelled() {
            return Err(LinkError::Lost);
        }
        self.gateway
            .send_serialized(message)
            .map_err(|_| LinkError::Lost)
    }

    /// Whether a call waits for its answer, or something that was sent may not have arrived.
    fn is_in_use(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0
            || self.loose_bytes.load(Ordering::Acquire) > self.arrived_bytes.load(Ordering::Acquire)
    }

    /// One call of the given kind, without any accounting.
    async fn ask(
        &self,
        variant: &str,
        payload: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, LinkError> {
        let (port, answer) = oneshot::channel();
        self.send(SerializedMessage::Call {
            variant: variant.to_owned(),
            args: payload,
            reply: (port, timeout).into(),
            metadata: None,
        })?;
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|_| LinkError::Lost),
            () = self.down.cancelled() => Err(LinkError::Lost),
            () = sleep(timeout) => Err(LinkError::TimedOut),
        }
    }
}

impl Link {
    pub(super) fn new(
        config: &LinksConfig,
        (boot, name): (BootId, String),
        connection: u64,
        gateway: ActorCell,
        down: CancellationToken,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                boot,
                name,
                connection,
                gateway,
                up_since: Instant::now(),
                down,
                max_payload_bytes: config.max_frame_bytes.saturating_sub(FRAME_OVERHEAD_BYTES),
                max_in_flight: config.max_in_flight,
                max_queued_bytes: config.max_frame_bytes * MAX_QUEUED_FRAMES,
                in_flight: AtomicUsize::new(0),
                calling_bytes: AtomicU64::new(0),
                loose_bytes: AtomicU64::new(0),
                arrived_bytes: AtomicU64::new(0),
                heard: AtomicBool::new(false),
                rtt_us: AtomicU64::new(0),
            }),
        }
    }

    pub fn boot(&self) -> BootId {
        self.inner.boot
    }

    pub fn name(&self) -> &str {
        &self.inner.name
    }

    pub(super) fn connection(&self) -> u64 {
        self.inner.connection
    }

    /// Ends when the link is down.
    pub async fn down(&self) {
        self.inner.down.cancelled().await;
    }

    /// Asks the peer. Ends at once when the link goes down.
    pub async fn call(&self, payload: Vec<u8>, timeout: Duration) -> Result<Vec<u8>, LinkError> {
        let link = &*self.inner;
        let bytes = link.admit(payload.len())?;
        let mut place = link.place(bytes)?;
        let mut reply = link.ask(CALL, payload, timeout).await?;
        place.answered = true;
        link.heard.store(true, Ordering::Release);
        match Outcome::open(&mut reply) {
            Some(Outcome::Answered) => Ok(reply),
            Some(Outcome::Busy) => Err(LinkError::Busy),
            Some(Outcome::TooLarge) => Err(LinkError::TooLarge),
            Some(Outcome::Failed) | None => Err(LinkError::Failed),
        }
    }

    /// Tells the peer, and does not learn whether it arrived.
    pub fn cast(&self, payload: Vec<u8>) -> Result<(), LinkError> {
        let link = &*self.inner;
        let bytes = link.admit(payload.len())?;
        link.loose_bytes.fetch_add(bytes, Ordering::AcqRel);
        link.send(SerializedMessage::Cast {
            variant: CAST.to_owned(),
            args: payload,
            metadata: None,
        })
    }

    /// Sends pings until the link is down, or until the peer let too many of them pass in silence.
    pub(super) async fn watch(self, ping_every: Duration, missed_pings: u32) -> Watched {
        let mut ticks = interval_at(Instant::now(), ping_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let patience = ping_every * (missed_pings + 1);
        let mut pulse = Pulse::new(missed_pings);
        loop {
            tokio::select! {
                () = self.inner.down.cancelled() => return Watched::Down,
                _ = ticks.tick() => {}
            }
            let heard = self.inner.heard.swap(false, Ordering::AcqRel);
            match pulse.tick(heard, self.inner.is_in_use()) {
                Beat::Rest => {}
                Beat::Ping => {
                    tokio::spawn(self.clone().ping(patience));
                }
                Beat::Silent => return Watched::Silent,
            }
        }
    }

    async fn ping(self, patience: Duration) {
        let link = &*self.inner;
        let sent = link.loose_bytes.load(Ordering::Acquire);
        let began = Instant::now();
        if link.ask(PING, Vec::new(), patience).await.is_ok() {
            link.heard.store(true, Ordering::Release);
            // Messages arrive in the order in which they were sent.
            link.arrived_bytes.fetch_max(sent, Ordering::AcqRel);
            let rtt_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            link.rtt_us.store(rtt_us.max(1), Ordering::Relaxed);
        }
    }

    pub(super) fn status(&self) -> LinkStatus {
        let rtt_us = self.inner.rtt_us.load(Ordering::Relaxed);
        LinkStatus {
            boot: self.inner.boot,
            name: self.inner.name.clone(),
            up_for: self.inner.up_since.elapsed(),
            rtt: (rtt_us > 0).then(|| Duration::from_micros(rtt_us)),
            in_flight: self.inner.in_flight.load(Ordering::Relaxed),
        }
    }
}

/// How watching a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    Down,
    Silent,
}

/// When to ping. While somebody waits for the peer, at each tick. A link on which nothing is under way
/// is pinged now and then only: no request waits longer because a silence is found later.
#[derive(Debug)]
struct Pulse {
    missed_pings: u32,
    /// Pings in a row that nothing was heard after.
    missed: u32,
    /// Since the last ping.
    ticks: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beat {
    Rest,
    Ping,
    Silent,
}

impl Pulse {
    /// The first tick pings.
    const fn new(missed_pings: u32) -> Self {
        Self {
            missed_pings,
            missed: 0,
            ticks: PINGED_AT_REST,
        }
    }

    const fn tick(&mut self, heard: bool, in_use: bool) -> Beat {
        let pinged = self.ticks == 0;
        self.missed = if pinged && !heard { self.missed + 1 } else { 0 };
        if self.missed >= self.missed_pings {
            return Beat::Silent;
        }
        self.ticks += 1;
        if self.missed == 0 && !in_use && self.ticks < PINGED_AT_REST {
            return Beat::Rest;
        }
        self.ticks = 0;
        Beat::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that answers each ping before the next tick.
    fn beats_of_a_sound_peer(pulse: &mut Pulse, in_use: bool, ticks: usize) -> Vec<Beat> {
        let beat = |_| {
            let heard = pulse.ticks == 0;
            pulse.tick(heard, in_use)
        };
        (0..ticks).map(beat).collect()
    }

    /// Until the silence is noticed.
    fn beats_of_a_silent_peer(pulse: &mut Pulse, in_use: bool) -> Vec<Beat> {
        let mut beats = Vec::new();
        while beats.last() != Some(&Beat::Silent) {
            beats.push(pulse.tick(false, in_use));
        }
        beats
    }

    #[test]
    fn a_link_at_rest_is_pinged_at_every_fourth_tick_and_one_in_use_at_each() {
        use Beat::{Ping, Rest};
        let mut pulse = Pulse::new(3);
        let at_rest = [Ping, Rest, Rest, Rest].repeat(5);
        assert_eq!(beats_of_a_sound_peer(&mut pulse, false, 20), at_rest);
        assert_eq!(beats_of_a_sound_peer(&mut pulse, true, 9), [Ping; 9]);
        let at_rest = [Rest, Rest, Rest, Ping].repeat(5);
        assert_eq!(beats_of_a_sound_peer(&mut pulse, false, 20), at_rest);
    }

    #[test]
    fn silence_is_three_pings_without_an_answer_and_they_come_at_once_while_somebody_waits() {
        use Beat::{Ping, Rest, Silent};
        let mut pulse = Pulse::new(3);
        beats_of_a_sound_peer(&mut pulse, false, 2);
        let found = beats_of_a_silent_peer(&mut pulse, true);
        assert_eq!(found, [Ping, Ping, Ping, Silent]);

        let mut pulse = Pulse::new(3);
        beats_of_a_sound_peer(&mut pulse, false, 2);
        let found = beats_of_a_silent_peer(&mut pulse, false);
        assert_eq!(found, [Rest, Rest, Ping, Ping, Ping, Silent]);
    }

    #[test]
    fn one_answer_among_missed_pings_begins_the_count_anew() {
        use Beat::{Ping, Silent};
        let mut pulse = Pulse::new(3);
        let heard = [false, false, false, true, false, false, false];
        let beats = heard.map(|heard| pulse.tick(heard, true));
        assert_eq!(beats, [Ping, Ping, Ping, Ping, Ping, Ping, Silent]);
    }
}
