//! A topic of one test: read from its beginning, and taken away at the end.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use faktor::clock::new_uuid;
use faktor::config::Config;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::admin::{AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

use crate::support::TestApp;
use crate::support::backends::backend;
use crate::support::fault_proxy::{Fault, FaultProxy};

const PATIENCE: Duration = Duration::from_mins(1);

/// Where a test publishes.
pub(crate) struct Topic {
    /// Through the proxy or not.
    pub(crate) url: String,
    pub(crate) prefix: String,
    /// Past the proxy.
    pub(crate) brokers: String,
}

/// A record as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
    pub(crate) partition: i32,
}

impl Record {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }

    pub(crate) fn sequence(&self) -> u64 {
        let event = self.json();
        event["sequence"].as_str().unwrap().parse().unwrap()
    }
}

impl Topic {
    /// None without a broker to test with.
    pub(crate) fn new() -> Option<Self> {
        let brokers = backend("KAFKA")?;
        Some(Self {
            url: format!("kafka://{brokers}"),
            prefix: format!("test-{}", new_uuid().simple()),
            brokers,
        })
    }

    /// As [`Topic::new`]; the node comes in through the proxy.
    pub(crate) fn through_proxy() -> Option<Self> {
        let (topic, proxied) = (Self::new()?, backend("KAFKA_FAULT")?);
        Some(Self {
            url: format!("kafka://{proxied}"),
            ..topic
        })
    }

    pub(crate) fn name(&self) -> String {
        format!("{}.invoice", self.prefix)
    }

    /// Has a node publish here.
    pub(crate) fn set(&self, config: &mut Config) {
        config.events.url = faktor::config::Secret::new(self.url.clone());
        config.events.topic_prefix.clone_from(&self.prefix);
        config.events.topic_partitions = 5;
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config.create().expect("an admin client")
    }

    /// Creates the topic before a node does.
    pub(crate) async fn create(&self, largest_batch_bytes: &str) {
        let name = self.name();
        let topic = NewTopic::new(&name, 3, TopicReplication::Fixed(1))
            .set("max.message.bytes", largest_batch_bytes);
        let created = self
            .admin()
            .create_topics([&topic], &AdminOptions::new())
            .await;
        created.unwrap().remove(0).expect("the topic is created");
    }

    pub(crate) async fn allow(&self, largest_batch_bytes: &str) {
        let name = self.name();
        let config = AlterConfig::new(ResourceSpecifier::Topic(&name))
            .set("max.message.bytes", largest_batch_bytes);
        let altered = self
            .admin()
            .alter_configs([&config], &AdminOptions::new())
            .await;
        altered.unwrap().remove(0).expect("the topic is altered");
    }

    /// How many partitions it has; 0 when it is not there.
    pub(crate) fn partitions(&self) -> usize {
        let admin = self.admin();
        let metadata = admin.inner().fetch_metadata(None, PATIENCE).unwrap();
        let name = self.name();
        let topic = metadata.topics().iter().find(|topic| topic.name() == name);
        topic.map_or(0, |topic| topic.partitions().len())
    }

    /// Records from the beginning, until there are so many; more than that are an error only if
    /// they are there already.
    pub(crate) async fn read(&self, count: usize) -> Vec<Record> {
        self.read_until(|records| records.len() >= count).await
    }

    pub(crate) async fn read_until(&self, enough: impl Fn(&[Record]) -> bool) -> Vec<Record> {
        let consumer = self.consumer();
        let mut records = Vec::new();
        let reading = async {
            while !enough(&records) {
                let message = consumer.recv().await.expect("a record").detach();
                let text = |bytes: Option<&[u8]>| {
                    String::from_utf8(bytes.expect("something").to_vec()).expect("text")
                };
                let headers = message.headers().expect("headers").iter();
                records.push(Record {
                    key: text(message.key()),
                    headers: headers
                        .map(|header| (header.key.to_owned(), text(header.value)))
                        .collect(),
                    text: text(message.payload()),
                    partition: message.partition(),
                });
            }
        };
        let done = tokio::time::timeout(2 * PATIENCE, reading).await;
        assert!(
            done.is_ok(),
            "only {} records came: {records:#?}",
            records.len()
        );
        records
    }

    fn consumer(&self) -> StreamConsumer {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", &self.prefix)
            .set("enable.auto.commit", "false");
        let consumer: StreamConsumer = config.create().expect("a consumer");
        let mut from = TopicPartitionList::new();
        for partition in 0..self.partitions() {
            let partition = i32::try_from(partition).unwrap();
            from.add_partition_offset(&self.name(), partition, Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&from).expect("all partitions");
        consumer
    }

    /// Records there are now, in all partitions.
    pub(crate) fn count(&self) -> i64 {
        let admin = self.admin();
        let name = self.name();
        let ends = (0..self.partitions()).map(|partition| {
            let partition = i32::try_from(partition).unwrap();
            let marks = admin.inner().fetch_watermarks(&name, partition, PATIENCE);
            marks.unwrap().1
        });
        ends.sum()
    }

    pub(crate) async fn remove(self) {
        let name = self.name();
        let removed = self
            .admin()
            .delete_topics(&[&name], &AdminOptions::new())
            .await;
        removed.unwrap().remove(0).expect("the topic is removed");
    }
}

/// Every record of an invoice comes after those of earlier versions, or is a repeat of one, byte for
/// byte.
#[track_caller]
pub(crate) fn assert_in_order(records: &[Record]) {
    let mut last: HashMap<&str, u64> = HashMap::new();
    let mut known: HashMap<(&str, u64), &str> = HashMap::new();
    for record in records {
        let sequence = record.sequence();
        if let Some(text) = known.insert((&record.key, sequence), &record.text) {
            assert_eq!(text, record.text, "a repeat differs");
            continue;
        }
        let before = last.insert(&record.key, sequence);
        assert!(
            before < Some(sequence),
            "{} overtook {before:?}",
            record.text
        );
    }
}

/// The events of the node's organization as the API tells them, oldest first.
pub(crate) async fn told(app: &TestApp) -> Vec<Value> {
    let (mut events, mut after) = (Vec::new(), String::new());
    loop {
        let page = app
            .get(&format!("/v1/events?limit=100{after}"))
            .await
            .expect(200);
        events.extend(page["data"].as_array().unwrap().iter().cloned());
        if page["has_more"] == false {
            return events;
        }
        after = format!("&after={}", page["next"].as_str().unwrap());
    }
}

/// The proxy before the broker, of one test at a time: it listens where the broker says.
pub(crate) struct Proxy {
    pub(crate) way: FaultProxy,
    _only_one: MutexGuard<'static, ()>,
}

static ONLY_ONE: Mutex<()> = Mutex::const_new(());

impl Proxy {
    /// None without a broker to test with.
    pub(crate) async fn take() -> Option<Self> {
        let (listen, behind) = (backend("KAFKA_FAULT")?, backend("KAFKA_BEHIND_FAULT")?);
        let only_one = ONLY_ONE.lock().await;
        Some(Self {
            way: FaultProxy::at(&listen, &behind).await,
            _only_one: only_one,
        })
    }

    pub(crate) fn cut(&self) {
        self.way.set(Fault::Refuse);
    }

    pub(crate) fn mend(&self) {
        self.way.set(Fault::Pass);
    }
}
