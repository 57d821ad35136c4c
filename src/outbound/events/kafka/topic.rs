//! The topic: looked for, and created if need be.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;
use tokio::time::Duration;

use super::{KafkaError, KafkaOptions, METADATA_PATIENCE, Producer, Watch};

/// How long the brokers may take to create a topic.
const CREATE_PATIENCE: Duration = Duration::from_secs(10);
/// Lets the brokers choose, when a topic is created.
const BROKERS_DEFAULT: i32 = -1;

/// Sees to it that the topic is there.
pub(super) async fn ensure(
    producer: &Producer,
    topic: &str,
    options: &KafkaOptions,
    watch: &Watch,
) -> Result<(), KafkaError> {
    let asked = {
        let (producer, topic, watch) = (producer.clone(), topic.to_owned(), watch.clone());
        tokio::task::spawn_blocking(move || find(&producer, &topic, METADATA_PATIENCE, &watch))
    };
    let is_there = asked
        .await
        .map_err(|error| KafkaError::Client(error.to_string()))??;
    if is_there {
        return Ok(());
    }
    if !options.create_topics {
        return Err(KafkaError::TopicMissing(topic.to_owned()));
    }
    create(topic, options).await?;
    tracing::info!(topic, "the topic was created");
    Ok(())
}

/// Whether the topic is there. Blocks its thread.
pub(super) fn find(
    producer: &Producer,
    topic: &str,
    patience: Duration,
    watch: &Watch,
) -> Result<bool, KafkaError> {
    let metadata = producer
        .client()
        .fetch_metadata(Some(topic), patience)
        .map_err(|error| {
            let code = error.rdkafka_error_code();
            let what = code.map_or_else(|| error.to_string(), |code| code.to_string());
            KafkaError::Unreachable(watch.explain(&what))
        })?;
    let found = metadata.topics().iter().find(|it| it.name() == topic);
    let error = found.and_then(rdkafka::metadata::MetadataTopic::error);
    match error.map(RDKafkaErrorCode::from) {
        None => Ok(found.is_some()),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Ok(false)
        }
        // It was created a moment ago.
        Some(RDKafkaErrorCode::LeaderNotAvailable) => Ok(true),
        Some(code) => Err(KafkaError::TopicUnusable {
            topic: topic.to_owned(),
            reason: code.to_string(),
        }),
    }
}

async fn create(topic: &str, options: &KafkaOptions) -> Result<(), KafkaError> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &options.brokers)
        .set("client.id", "faktor")
        .create()
        .map_err(|error: ClientError| KafkaError::Client(error.to_string()))?;
    let or_default = |number: u16| match number {
        0 => BROKERS_DEFAULT,
        number => i32::from(number),
    };
    let wanted = NewTopic::new(
        topic,
        or_default(options.partitions),
        TopicReplication::Fixed(or_default(options.replication)),
    );
    let patience = AdminOptions::new()
        .request_timeout(Some(CREATE_PATIENCE))
        .operation_timeout(Some(CREATE_PATIENCE));
    let not_created = |reason: String| KafkaError::NotCreated {
        topic: topic.to_owned(),
        reason,
    };
    let results = admin.create_topics([&wanted], &patience).await;
    tokio::task::spawn_blocking(move || drop(admin));
    for result in results.map_err(|error| not_created(error.to_string()))? {
        match result {
            // Another node was quicker.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(not_created(code.to_string())),
        }
    }
    Ok(())
}
