//! Kafka: one topic for the events of all invoices, so that those of one invoice keep their order.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryFuture, FutureProducer, Producer as _, PurgeConfig};
use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant, timeout, timeout_at};

use super::Unpublished;
use crate::domain::invoice::event::PublicEvent;

mod record;
mod topic;
mod watch;

use record::Record;
use watch::Watch;

/// How long the brokers may take to say what topics there are, at the start.
const METADATA_PATIENCE: Duration = Duration::from_secs(5);
/// The same for a readiness probe, which has two seconds in all.
const PING_PATIENCE: Duration = Duration::from_millis(1_500);
/// How long a purged event may take to come back as such.
const PURGE_PATIENCE: Duration = Duration::from_secs(2);

type Producer = FutureProducer<Watch>;

/// Why Kafka can't be used. Each is a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KafkaError {
    #[error("the client can't be made: {0}")]
    Client(String),
    #[error("the brokers don't answer: {0}")]
    Unreachable(String),
    #[error(
        "the topic {0} is missing, and events.create_topics does not allow to create it: create it, \
         or allow it"
    )]
    TopicMissing(String),
    #[error("the topic {topic} can't be created: {reason}")]
    NotCreated { topic: String, reason: String },
    #[error("the topic {topic} can't be used: {reason}")]
    TopicUnusable { topic: String, reason: String },
}

impl KafkaError {
    /// Whether asking again can't help while the configuration and the topics stay as they are.
    pub const fn is_permanent(&self) -> bool {
        matches!(self, Self::Client(_) | Self::TopicMissing(_))
    }
}

/// What to publish to.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// As in `host:9092,host:9092`.
    pub brokers: String,
    /// The topic's name is this with `.invoice` appended.
    pub topic_prefix: String,
    /// Whether a missing topic may be created.
    pub create_topics: bool,
    /// Partitions of a topic that is created; 0: the brokers' default.
    pub partitions: u16,
    /// Copies of each partition of a topic that is created; 0: the brokers' default.
    pub replication: u16,
    /// How long a batch may take to be taken before it counts as failed.
    pub timeout: Duration,
}

/// Publishes to Kafka. Cheap to clone; clones share the producer.
#[derive(Debug, Clone)]
pub struct KafkaEvents {
    inner: Arc<Inner>,
}

struct Inner {
    options: KafkaOptions,
    topic: String,
    /// None after a failure, until it is needed.
    producer: Mutex<Option<Producer>>,
    /// Whether a caller went away in the middle and left events in the producer.
    unfinished: tokio::sync::Mutex<bool>,
    watch: Watch,
    /// At most one thread asks for metadata.
    pinging: Arc<Semaphore>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kafka({})", self.topic)
    }
}

impl KafkaEvents {
    /// Asks the brokers for the topic, and creates it if it is missing and that is allowed.
    pub async fn open(options: KafkaOptions) -> Result<Self, KafkaError> {
        let topic = format!("{}.invoice", options.topic_prefix);
        let watch = Watch::default();
        let producer = producer(&options, &watch)?;
        topic::ensure(&producer, &topic, &options, &watch).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                options,
                topic,
                producer: Mutex::new(Some(producer)),
                unfinished: tokio::sync::Mutex::new(false),
                watch,
                pinging: Arc::new(Semaphore::new(1)),
            }),
        })
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.inner.topic
    }

    /// Waits until the brokers have every event, on as many machines as the topic's
    /// `min.insync.replicas` says.
    pub(super) async fn publish(&self, events: &[&PublicEvent]) -> Result<(), Unpublished> {
        let mut unfinished = self.inner.unfinished.lock().await;
        if *unfinished {
            self.start_over().await;
        }
        *unfinished = true;
        let result = self.publish_all(events).await;
        match &result {
            Ok(()) => self.inner.watch.forget(),
            Err(_) => self.start_over().await,
        }
        *unfinished = false;
        result
    }

    async fn publish_all(&self, events: &[&PublicEvent]) -> Result<(), Unpublished> {
        let producer = self.producer().map_err(|error| Unpublished {
            taken: 0,
            reason: error.to_string(),
        })?;
        let mut taken = 0;
        while let Some(rest) = events.get(taken..).filter(|rest| !rest.is_empty()) {
            match self.publish_some(&producer, rest).await {
                Ok(count) => taken += count,
                Err(failure) => {
                    return Err(Unpublished {
                        taken: taken + failure.taken,
                        ..failure
                    });
                }
            }
        }
        Ok(())
    }

    /// Publishes as many of the first events as the producer has room for; how many.
    async fn publish_some(
        &self,
        producer: &Producer,
        events: &[&PublicEvent],
    ) -> Result<usize, Unpublished> {
        let deadline = Instant::now() + self.inner.options.timeout;
        let mut deliveries = FuturesOrdered::new();
        let mut refusal = None;
        for event in events {
            match self.hand_over(producer, event) {
                Ok(delivery) => deliveries.push_back(delivery),
                // The rest comes after these.
                Err(Refusal::Full) if !deliveries.is_empty() => break,
                Err(error) => {
                    refusal = Some(error);
                    break;
                }
            }
        }
        let count = deliveries.len();
        let (taken, reason) = match self.await_all(producer, deliveries, deadline).await {
            Err(Unpublished { taken, reason }) => (taken, reason),
            Ok(()) => match refusal {
                None => return Ok(count),
                Some(refusal) => (count, refusal.to_string()),
            },
        };
        Err(Unpublished { taken, reason })
    }

    fn hand_over(
        &self,
        producer: &Producer,
        event: &PublicEvent,
    ) -> Result<DeliveryFuture, Refusal> {
        let record = Record::of(event).map_err(|error| Refusal::Other(error.to_string()))?;
        producer
            .send_result(record.to(&self.inner.topic))
            .map_err(|(error, _)| match error {
                ClientError::MessageProduction(RDKafkaErrorCode::QueueFull) => Refusal::Full,
                error => Refusal::Other(error.to_string()),
            })
    }

    /// Waits for all in their order. At the first that fails, and when the time is over, those that
    /// were not sent yet are taken back: none of them overtakes one before it.
    async fn await_all(
        &self,
        producer: &Producer,
        mut deliveries: FuturesOrdered<DeliveryFuture>,
        deadline: Instant,
    ) -> Result<(), Unpublished> {
        let mut taken = 0;
        let reason = loop {
            match timeout_at(deadline, deliveries.next()).await {
                Ok(None) => return Ok(()),
                Ok(Some(Ok(Ok(_)))) => taken += 1,
                Ok(Some(Ok(Err((error, _))))) => {
                    break self.inner.watch.explain(&error.to_string());
                }
                Ok(Some(Err(_canceled))) => break "the producer is gone".to_owned(),
                Err(_elapsed) => {
                    purge(producer.clone()).await;
                    while let Ok(Some(Ok(Ok(_)))) = timeout(PURGE_PATIENCE, deliveries.next()).await
                    {
                        taken += 1;
                    }
                    let seconds = self.inner.options.timeout.as_secs_f32();
                    let late = format!("events were not taken within {seconds} s");
                    break self.inner.watch.explain(&late);
                }
            }
        };
        Err(Unpublished { taken, reason })
    }

    fn producer(&self) -> Result<Producer, KafkaError> {
        let mut slot = self.lock();
        if let Some(producer) = slot.as_ref() {
            return Ok(producer.clone());
        }
        let fresh = producer(&self.inner.options, &self.inner.watch)?;
        slot.replace(fresh.clone());
        Ok(fresh)
    }

    /// After a failure a producer may be fatally confused, or have events under way: the next batch
    /// gets a new one.
    async fn start_over(&self) {
        let old = self.lock().take();
        if let Some(old) = old {
            purge(old.clone()).await;
            // Its threads take their time to end.
            tokio::task::spawn_blocking(move || drop(old));
        }
    }

    /// Whether the brokers answer and have the topic.
    pub(super) async fn ping(&self) -> Result<(), KafkaError> {
        let silent = || KafkaError::Unreachable(self.inner.watch.explain("they are being asked"));
        let Ok(permit) = Arc::clone(&self.inner.pinging).try_acquire_owned() else {
            return Err(silent());
        };
        let producer = self.producer()?;
        let (topic, watch) = (self.inner.topic.clone(), self.inner.watch.clone());
        let asked = tokio::task::spawn_blocking(move || {
            let found = topic::find(&producer, &topic, PING_PATIENCE, &watch);
            drop(permit);
            found
        });
        match asked.await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(KafkaError::TopicUnusable {
                topic: self.inner.topic.clone(),
                reason: "it is missing".to_owned(),
            }),
            Ok(Err(error)) => Err(error),
            Err(error) => Err(KafkaError::Client(error.to_string())),
        }
    }

    pub(super) fn buffered(&self) -> u64 {
        let buffered = self.lock().as_ref().map_or(0, Producer::in_flight_count);
        u64::try_from(buffered).unwrap_or(0)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Producer>> {
        let slot = self.inner.producer.lock();
        slot.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an event did not get into the producer.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the producer's queue is full")]
    Full,
    #[error("an event can't be published: {0}")]
    Other(String),
}

/// Connects by itself, when there is something to say.
fn producer(options: &KafkaOptions, watch: &Watch) -> Result<Producer, KafkaError> {
    ClientConfig::new()
        .set("bootstrap.servers", &options.brokers)
        .set("client.id", "faktor")
        // A request that is repeated is taken once, and none overtakes another.
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // What can't be written stops those after it: they are published again with it.
        .set("enable.gapless.guarantee", "true")
        // The exporter's own time-out ends a batch as a whole. This one would end its events one by
        // one, and let later ones overtake.
        .set("message.timeout.ms", "0")
        .set("linger.ms", "5")
        .set("compression.type", "gzip")
        // More than one batch never stands here.
        .set("queue.buffering.max.messages", "1000")
        .set("queue.buffering.max.kbytes", "32768")
        .set("allow.auto.create.topics", "false")
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "2000")
        // As Java's clients choose partitions, so that theirs and ours agree.
        .set("partitioner", "murmur2_random")
        .create_with_context(watch.clone())
        .map_err(|error: ClientError| KafkaError::Client(error.to_string()))
}

/// Takes back all that is in the producer; waits for its threads.
async fn purge(producer: Producer) {
    let purging = tokio::task::spawn_blocking(move || {
        producer.purge(PurgeConfig::default().queue().inflight());
    });
    if let Err(error) = purging.await {
        tracing::error!(%error, "Kafka's producer could not be emptied");
    }
}
