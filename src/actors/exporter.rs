//! Takes public events to the message broker: one actor follows the feed and notes how far it came.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::{Duration, sleep, timeout};

use super::outbox::OutboxHandle;
use super::ownership::Ownership;
use super::probe::Probe;
use crate::clock::{self, Clock};
use crate::crash_point::crash_point;
use crate::domain::invoice::event::PublicEvent;
use crate::outbound::events::{Events, Unpublished};
use crate::store::{FeedStore, PlacedEvent, StoreError};

/// Events published at a time: all that is ever in memory.
const BATCH: u16 = 500;
/// How often to look for events when nothing told of any.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How often the metrics are brought up to date while a batch is under way.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// The pause after the first failure; it doubles, with jitter, up to the longest.
const FIRST_PAUSE_MS: u64 = 250;
const LONGEST_PAUSE_MS: u64 = 10_000;

/// There is never more than one in the mailbox.
pub(super) enum ExporterMessage {
    Export,
}

impl ractor::Message for ExporterMessage {}

/// Where the events go and how far they are. Cheap to clone.
#[derive(Clone)]
pub(super) struct ExporterHandle {
    pub(super) feed: Arc<dyn FeedStore>,
    pub(super) events: Events,
    pub(super) outbox: OutboxHandle,
    pub(super) clock: Clock,
    /// One node of a cluster exports.
    ownership: Ownership,
    progress: Arc<Progress>,
}

/// How the export is doing.
#[derive(Debug, Default)]
struct Progress {
    /// Events that were read and are not noted as published: at most a batch.
    waiting: AtomicU64,
    /// When the oldest of them happened, in milliseconds since 1970.
    oldest_ms: AtomicI64,
    /// Why the last batch failed, if it did.
    trouble: Mutex<Option<String>>,
}

impl Progress {
    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ExporterHandle {
    pub(super) fn new(
        feed: Arc<dyn FeedStore>,
        events: Events,
        outbox: OutboxHandle,
        clock: Clock,
        ownership: Ownership,
    ) -> Self {
        Self {
            feed,
            events,
            outbox,
            clock,
            ownership,
            progress: Arc::default(),
        }
    }

    /// Events that wait, as far as they were read.
    pub(super) fn waiting(&self) -> u64 {
        self.progress.waiting.load(Ordering::Relaxed)
    }

    /// How long the oldest of them has waited; zero when none does.
    fn lag(&self) -> Duration {
        if self.waiting() == 0 {
            return Duration::ZERO;
        }
        let oldest_ms = self.progress.oldest_ms.load(Ordering::Relaxed);
        let lag_ms = self.clock.now().as_millisecond().saturating_sub(oldest_ms);
        Duration::from_millis(u64::try_from(lag_ms).unwrap_or(0))
    }

    /// Asks after the broker and the export. Requests go on without either.
    pub(super) fn probe(&self) -> Probe {
        let handle = self.clone();
        Probe::optional("events", move || {
            let handle = handle.clone();
            async move {
                let trouble = handle.progress.trouble().clone();
                if let Some(trouble) = trouble {
                    return Err(handle.with_lag(trouble));
                }
                let answer = handle.events.ping().await;
                answer.map_err(|reason| handle.with_lag(reason))
            }
        })
    }

    fn with_lag(&self, reason: String) -> String {
        let more = match self.waiting() {
            0 => return reason,
            waiting if waiting == u64::from(BATCH) => format!("{waiting} events or more wait"),
            waiting => format!("{waiting} events wait"),
        };
        let seconds = self.lag().as_secs();
        format!("{reason}; {more}, the oldest for {seconds} s")
    }

    fn note_waiting(&self, waiting: &[PlacedEvent]) {
        let oldest = waiting
            .first()
            .map_or(0, |it| it.event.time.as_millisecond());
        self.progress.oldest_ms.store(oldest, Ordering::Relaxed);
        let count = waiting.len() as u64;
        self.progress.waiting.store(count, Ordering::Relaxed);
        self.tell();
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn tell(&self) {
        metrics::gauge!("faktor_events_waiting").set(self.waiting() as f64);
        metrics::gauge!("faktor_events_lag_seconds").set(self.lag().as_secs_f64());
        metrics::gauge!("faktor_events_buffered").set(self.events.buffered() as f64);
    }
}

pub(super) struct Exporter {
    pub(super) handle: ExporterHandle,
}

pub(super) struct ExporterState {
    /// Failures since the last success.
    failures: u32,
}

/// Why a batch was not exported.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("the feed can't be followed: {0}")]
    Feed(#[from] StoreError),
    #[error("{0}")]
    Unpublished(#[from] Unpublished),
}

impl Actor for Exporter {
    type Msg = ExporterMessage;
    type State = ExporterState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<ExporterMessage>,
        (): (),
    ) -> Result<ExporterState, ActorProcessingErr> {
        myself.send_message(ExporterMessage::Export)?;
        Ok(ExporterState { failures: 0 })
    }

    async fn handle(
        &self,
        myself: ActorRef<ExporterMessage>,
        message: ExporterMessage,
        state: &mut ExporterState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ExporterMessage::Export => self.export(state).await,
        }
        myself.send_message(ExporterMessage::Export)?;
        Ok(())
    }
}

impl Exporter {
    /// One batch; then a pause, if there is nothing more or it failed.
    async fn export(&self, state: &mut ExporterState) {
        if !self.handle.ownership.does_chores() {
            self.note_success(state);
            self.handle.note_waiting(&[]);
            // Where nothing is exported, nobody asks the other nodes for news.
            return sleep(LOOK_AGAIN).await;
        }
        // Before the batch is read, so that none fall in between.
        let mut news = self.handle.outbox.watch();
        match self.export_batch().await {
            Ok(count) => {
                self.note_success(state);
                if count < usize::from(BATCH) {
                    // No news are no reason not to look.
                    let _ = timeout(LOOK_AGAIN, news.changed()).await;
                }
            }
            Err(error) => {
                let pause = pause(state.failures);
                self.note_failure(state, &error, pause);
                sleep(pause).await;
            }
        }
    }

    /// Publishes what comes next in the feed, and notes how far that went; how many events.
    async fn export_batch(&self) -> Result<usize, ExportError> {
        let ExporterHandle { feed, events, .. } = &self.handle;
        let reader = events.reader();
        let position = feed.cursor(reader).await?;
        let batch = feed.placed_after(position, BATCH).await?;
        self.handle.note_waiting(&batch);
        let result = self.publish(&batch).await;
        let taken = result
            .as_ref()
            .map_or_else(|failed| failed.taken, |()| batch.len());
        if let Some(last) = batch.iter().take(taken).next_back() {
            crash_point("after_export", Some(reader));
            feed.note_cursor(reader, last.position).await?;
            metrics::counter!("faktor_events_published_total").increment(taken as u64);
            self.handle
                .note_waiting(batch.get(taken..).unwrap_or_default());
        }
        result?;
        Ok(taken)
    }

    async fn publish(&self, batch: &[PlacedEvent]) -> Result<(), Unpublished> {
        let events: Vec<&PublicEvent> = batch.iter().map(|placed| &placed.event).collect();
        if events.is_empty() {
            return Ok(());
        }
        let publishing = self.handle.events.publish(&events);
        tokio::pin!(publishing);
        loop {
            match timeout(TELL_EVERY, &mut publishing).await {
                Ok(result) => return result,
                Err(_elapsed) => self.handle.tell(),
            }
        }
    }

    fn note_success(&self, state: &mut ExporterState) {
        self.handle.progress.trouble().take();
        if std::mem::take(&mut state.failures) > 0 {
            tracing::info!("events are published again; none was lost");
        }
    }

    fn note_failure(&self, state: &mut ExporterState, error: &ExportError, pause: Duration) {
        state.failures = state.failures.saturating_add(1);
        metrics::counter!("faktor_events_failures_total").increment(1);
        self.handle.tell();
        tracing::warn!(
            %error,
            events.waiting = self.handle.waiting(),
            events.lag_s = self.handle.lag().as_secs(),
            "events could not be published; tried again in {} ms",
            pause.as_millis()
        );
        self.handle.progress.trouble().replace(error.to_string());
    }
}

/// Between half and all of the pause, so that nodes that failed together do not come back together.
fn pause(failures: u32) -> Duration {
    let doubled = FIRST_PAUSE_MS
        .saturating_mul(1 << failures.min(16))
        .min(LONGEST_PAUSE_MS);
    let jitter = u64::from(u16::from_le_bytes(clock::random_bytes::<2>()));
    Duration::from_millis(doubled / 2 + doubled / 2 * jitter / u64::from(u16::MAX))
}

#[cfg(test)]
mod tests;
