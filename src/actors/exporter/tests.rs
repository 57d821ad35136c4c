//! The export goes on where it was, whatever fails, over a feed and a broker in memory.

use async_trait::async_trait;
use tokio::task::JoinHandle;

use super::*;
use crate::clock::new_uuid;
use crate::domain::ids::{EventId, InvoiceId, OrganizationId};
use crate::outbound::events::MemoryEvents;

/// A feed in memory whose calls can be made to fail.
#[derive(Default)]
struct Feed {
    events: Mutex<Vec<PlacedEvent>>,
    noted: AtomicU64,
    failing_notes: AtomicU64,
    failing_reads: AtomicU64,
}

fn fails(times: &AtomicU64) -> Result<(), StoreError> {
    let left = times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
        left.checked_sub(1)
    });
    left.map_or(Ok(()), |_| {
        Err(StoreError::Unavailable {
            reason: "so it is told".to_owned(),
        })
    })
}

impl Feed {
    /// Adds events; positions have holes, as they may.
    fn add(&self, count: u64) {
        let (organization, invoice) = (OrganizationId::new(new_uuid()), InvoiceId::new(new_uuid()));
        let mut events = self.events.lock().unwrap();
        let first = events.last().map_or(3, |last| last.position + 3);
        events.extend((0..count).map(|n| PlacedEvent {
            position: first + 3 * n,
            event: PublicEvent {
                id: EventId::new(new_uuid()),
                kind: "invoice.updated".to_owned(),
                organization,
                invoice,
                version: n + 1,
                time: Clock::System.now(),
                data: serde_json::Value::Null,
            },
        }));
    }

    fn all(&self) -> Vec<PublicEvent> {
        let events = self.events.lock().unwrap();
        events.iter().map(|placed| placed.event.clone()).collect()
    }

    fn last_position(&self) -> u64 {
        self.events
            .lock()
            .unwrap()
            .last()
            .map_or(0, |it| it.position)
    }
}

#[async_trait]
impl FeedStore for Feed {
    async fn publish(&self, _: u16) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn feed(
        &self,
        _: OrganizationId,
        _: Option<EventId>,
        _: u16,
    ) -> Result<Option<Vec<PublicEvent>>, StoreError> {
        Ok(None)
    }

    async fn placed_after(
        &self,
        position: u64,
        limit: u16,
    ) -> Result<Vec<PlacedEvent>, StoreError> {
        fails(&self.failing_reads)?;
        let events = self.events.lock().unwrap();
        let after = events.iter().filter(|placed| placed.position > position);
        Ok(after.take(usize::from(limit)).cloned().collect())
    }

    async fn cursor(&self, reader: &str) -> Result<u64, StoreError> {
        assert_eq!(reader, "memory");
        Ok(self.noted.load(Ordering::SeqCst))
    }

    async fn note_cursor(&self, _: &str, position: u64) -> Result<(), StoreError> {
        fails(&self.failing_notes)?;
        self.noted.fetch_max(position, Ordering::SeqCst);
        Ok(())
    }
}

struct Node {
    feed: Arc<Feed>,
    events: MemoryEvents,
    handle: ExporterHandle,
    running: Option<(ActorRef<ExporterMessage>, JoinHandle<()>)>,
}

impl Node {
    fn new() -> Self {
        let (feed, events) = (Arc::new(Feed::default()), MemoryEvents::default());
        let handle = ExporterHandle::new(
            Arc::clone(&feed) as Arc<dyn FeedStore>,
            Events::Memory(events.clone()),
            OutboxHandle::new(),
            Clock::System,
            Ownership::first(),
        );
        Self {
            feed,
            events,
            handle,
            running: None,
        }
    }

    async fn start(&mut self) {
        let handle = self.handle.clone();
        self.running = Some(Actor::spawn(None, Exporter { handle }, ()).await.unwrap());
    }

    /// Waits until the feed's end is noted.
    async fn exported(&self) {
        let waiting = async {
            while self.feed.noted.load(Ordering::SeqCst) < self.feed.last_position() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), waiting).await.unwrap();
    }

    async fn stop(mut self) {
        let (actor, ended) = self.running.take().unwrap();
        actor.kill();
        ended.await.unwrap();
    }

    async fn probed(&self) -> Option<String> {
        let states = super::super::probe::ask_all(&[self.handle.probe()]).await;
        states[0].detail.clone()
    }
}

#[tokio::test]
async fn more_than_a_batch_is_exported_in_order_once() {
    let mut node = Node::new();
    node.feed.add(2 * u64::from(BATCH) + 7);
    node.start().await;
    node.exported().await;
    assert_eq!(node.events.published(), node.feed.all());
    node.stop().await;
}

#[tokio::test]
async fn after_a_failure_in_the_middle_the_export_goes_on_at_the_first_event_not_taken() {
    let mut node = Node::new();
    node.feed.add(40);
    for taken in [0, 13, 1] {
        let reason = "the broker says no".to_owned();
        node.events.fail_next(Unpublished { taken, reason });
    }
    node.start().await;
    node.exported().await;
    assert_eq!(node.events.published(), node.feed.all());
    node.stop().await;
}

#[tokio::test]
async fn what_was_published_and_not_noted_is_published_again_with_the_same_ids() {
    let mut node = Node::new();
    node.feed.add(5);
    node.feed.failing_notes.store(1, Ordering::SeqCst);
    node.start().await;
    node.exported().await;
    let all = node.feed.all();
    assert_eq!(node.events.published(), [all.clone(), all].concat());
    node.stop().await;
}

#[tokio::test]
async fn a_feed_that_can_not_be_read_for_a_while_is_read_later() {
    let mut node = Node::new();
    node.feed.add(5);
    node.feed.failing_reads.store(2, Ordering::SeqCst);
    node.start().await;
    node.exported().await;
    assert_eq!(node.events.published(), node.feed.all());
    node.stop().await;
}

#[tokio::test]
async fn the_probe_tells_why_events_wait_how_many_and_since_when() {
    let mut node = Node::new();
    assert_eq!(node.probed().await, None);
    node.feed.add(3);
    for _ in 0..100 {
        let reason = "the broker says no".to_owned();
        node.events.fail_next(Unpublished { taken: 1, reason });
    }
    node.start().await;
    let telling = async {
        loop {
            if let Some(detail) = node.probed().await {
                return detail;
            }
            tokio::task::yield_now().await;
        }
    };
    let detail = timeout(Duration::from_secs(20), telling).await.unwrap();
    assert_eq!(
        detail,
        "the broker says no; 2 events wait, the oldest for 0 s"
    );
    node.stop().await;
}

#[test]
fn the_pause_doubles_up_to_the_longest_and_is_never_less_than_half_of_it() {
    for (failures, full_ms) in [
        (0, 250),
        (1, 500),
        (4, 4_000),
        (6, 10_000),
        (u32::MAX, 10_000),
    ] {
        let pause_ms = u64::try_from(pause(failures).as_millis()).unwrap();
        assert!(
            (full_ms / 2..=full_ms).contains(&pause_ms),
            "{failures}: {pause_ms}"
        );
    }
}
