//! Kafka as another team's program would use it, with nothing of Caravan's between.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    admin::{
        AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
    },
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    message::{Header, Headers, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer},
};

use super::{eventually, pipeline::Pipeline};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

fn config(pipeline: &Pipeline) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", pipeline.brokers());
    config.set("broker.address.family", "v4");
    config
}

fn consumer(pipeline: &Pipeline, group: &str) -> BaseConsumer {
    let mut config = config(pipeline);
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false");
    config.create().unwrap()
}

/// A message as it lies on a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Stored {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.value.as_deref().unwrap()).unwrap()
    }
}

fn ends(consumer: &BaseConsumer, topic: &str) -> Vec<(i32, i64, i64)> {
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).unwrap();
    metadata.topics()[0]
        .partitions()
        .iter()
        .map(|p| {
            let (low, high) = consumer.fetch_watermarks(topic, p.id(), TIMEOUT).unwrap();
            (p.id(), low, high)
        })
        .collect()
}

/// Everything that is on a topic now.
pub(crate) fn read_all(pipeline: &Pipeline, topic: &str) -> Vec<Stored> {
    let consumer = consumer(pipeline, "caravan-test-reader");
    let ends = ends(&consumer, topic);
    let mut list = TopicPartitionList::new();
    for (partition, low, _) in &ends {
        list.add_partition_offset(topic, *partition, Offset::Offset(*low))
            .unwrap();
    }
    consumer.assign(&list).unwrap();
    let wanted: i64 = ends.iter().map(|(_, low, high)| high - low).sum();
    let mut stored = Vec::new();
    while stored.len() < usize::try_from(wanted).unwrap() {
        let message = consumer
            .poll(TIMEOUT)
            .expect("the topic's messages")
            .unwrap();
        let mut headers = BTreeMap::new();
        for header in message.headers().into_iter().flat_map(|h| h.iter()) {
            let value = String::from_utf8_lossy(header.value.unwrap_or_default());
            headers.insert(header.key.to_owned(), value.into_owned());
        }
        stored.push(Stored {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
        });
    }
    stored
}

/// Messages between a group's committed offsets and the ends of a topic.
pub(crate) fn lag(pipeline: &Pipeline, group: &str, topic: &str) -> i64 {
    let consumer = consumer(pipeline, group);
    let ends = ends(&consumer, topic);
    let mut list = TopicPartitionList::new();
    for (partition, _, _) in &ends {
        list.add_partition(topic, *partition);
    }
    let committed = consumer.committed_offsets(list, TIMEOUT).unwrap();
    ends.iter()
        .map(|(partition, low, high)| {
            let at = committed
                .find_partition(topic, *partition)
                .unwrap()
                .offset();
            match at {
                Offset::Offset(at) => high - at,
                _ => high - low,
            }
        })
        .sum()
}

/// What a producer gives; either may be absent.
pub(crate) type KeyAndValue = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Produces messages and awaits their acks.
pub(crate) async fn produce(
    pipeline: &Pipeline,
    topic: &str,
    messages: &[KeyAndValue],
) -> Vec<(i32, i64)> {
    let producer: FutureProducer = config(pipeline)
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        // What the topic takes is for the topic to say.
        .set("message.max.bytes", "33554432")
        .create()
        .unwrap();
    let mut acks = Vec::new();
    for (key, value) in messages {
        let mut record: FutureRecord<'_, Vec<u8>, Vec<u8>> = FutureRecord::to(topic);
        record.key = key.as_ref();
        record.payload = value.as_ref();
        record.headers = Some(OwnedHeaders::new());
        acks.push(producer.send_result(record).map_err(|(e, _)| e).unwrap());
    }
    let mut places = Vec::new();
    for ack in acks {
        let delivery = ack.await.unwrap().map_err(|(e, _)| e).unwrap();
        places.push((delivery.partition, delivery.offset));
    }
    places
}

pub(crate) async fn delete_topic(pipeline: &Pipeline, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = config(pipeline).create().unwrap();
    let results = admin.delete_topics(&[topic], &AdminOptions::new()).await;
    results.unwrap().remove(0).unwrap();
}

/// Makes a topic of one partition.
pub(crate) async fn create_topic(pipeline: &Pipeline, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = config(pipeline).create().unwrap();
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
    let results = admin.create_topics([&new], &AdminOptions::new()).await;
    results.unwrap().remove(0).unwrap();
}

/// A member of a group, once it is polled, by one of Kafka's protocols.
pub(crate) fn member(
    pipeline: &Pipeline,
    group: &str,
    topic: &str,
    protocol: &str,
    instance: Option<&str>,
) -> BaseConsumer {
    let mut config = config(pipeline);
    config
        .set("group.id", group)
        .set("group.protocol", protocol)
        .set("client.id", "some-client")
        .set("enable.auto.commit", "false");
    // Of the other protocol the broker says how long a session is.
    if protocol == "classic" {
        config.set("session.timeout.ms", "6000");
    }
    if let Some(instance) = instance {
        config.set("group.instance.id", instance);
    }
    let member: BaseConsumer = config.create().unwrap();
    member.subscribe(&[topic]).unwrap();
    member
}

/// Another program's members of a worker's group, which hang: each joins by itself, but is never polled
/// for what it is assigned, and so a rebalance waits for it.
pub(crate) struct Hanging {
    _members: Vec<BaseConsumer>,
}

impl Hanging {
    /// Joins, and waits until the group does nothing but rebalance.
    pub(crate) fn in_group(pipeline: &Pipeline, group: &str, topic: &str) -> Self {
        /// Longer than it takes members to hear of a rebalance: they ask every 3 s.
        const LASTING: Duration = Duration::from_secs(4);
        let member = || {
            let mut config = config(pipeline);
            config
                .set("group.id", group)
                .set("enable.auto.commit", "false")
                .set("partition.assignment.strategy", "cooperative-sticky");
            let member: BaseConsumer = config.create().unwrap();
            member.subscribe(&[topic]).unwrap();
            member
        };
        let observer = consumer(pipeline, "caravan-test-observer");
        let mut members = vec![member()];
        let (mut last, mut since) = (String::new(), Instant::now());
        eventually("the group rebalances", || {
            let list = observer.fetch_group_list(Some(group), TIMEOUT).unwrap();
            let state = list.groups().first()?.state();
            if state != last {
                (last, since) = (state.to_owned(), Instant::now());
            }
            match since.elapsed() > LASTING {
                true if state == "PreparingRebalance" => return Some(()),
                // The first one took nothing in, and hangs now: the next rebalance waits for it.
                true => {
                    members.push(member());
                    since = Instant::now();
                }
                false => {}
            }
            None
        });
        Self { _members: members }
    }
}

/// A message for a partition of the test's choice.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    topic: String,
    partition: i32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: OwnedHeaders,
}

impl Message {
    pub(crate) fn to(topic: &str, partition: i32) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            key: None,
            value: None,
            headers: OwnedHeaders::new(),
        }
    }

    pub(crate) fn key(mut self, key: &[u8]) -> Self {
        self.key = Some(key.to_vec());
        self
    }

    pub(crate) fn value(mut self, value: &[u8]) -> Self {
        self.value = Some(value.to_vec());
        self
    }

    pub(crate) fn header(mut self, key: &str, value: &str) -> Self {
        let value = Some(value);
        self.headers = self.headers.insert(Header { key, value });
        self
    }
}

/// Produces messages, in order, and awaits their acks.
pub(crate) async fn send(pipeline: &Pipeline, messages: &[Message]) {
    let producer: FutureProducer = config(pipeline).set("acks", "all").create().unwrap();
    let mut acks = Vec::new();
    for message in messages {
        let mut record: FutureRecord<'_, Vec<u8>, Vec<u8>> = FutureRecord::to(&message.topic);
        record.partition = Some(message.partition);
        record.key = message.key.as_ref();
        record.payload = message.value.as_ref();
        record.headers = Some(message.headers.clone());
        acks.push(producer.send_result(record).map_err(|(e, _)| e).unwrap());
    }
    for ack in acks {
        ack.await.unwrap().map_err(|(e, _)| e).unwrap();
    }
}

/// Sets `max.message.bytes`; every other setting of the topic's own goes back to its default.
pub(crate) async fn set_message_limit(pipeline: &Pipeline, topic: &str, bytes: usize) {
    let admin: AdminClient<DefaultClientContext> = config(pipeline).create().unwrap();
    let bytes = bytes.to_string();
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", &bytes);
    let results = admin.alter_configs([&change], &AdminOptions::new()).await;
    results.unwrap().remove(0).unwrap();
}

/// A producer that writes in transactions.
pub(crate) struct Transactions(BaseProducer);

impl Transactions {
    pub(crate) fn of(pipeline: &Pipeline) -> Self {
        let id = format!("{}-transactions", pipeline.project);
        let producer: BaseProducer = config(pipeline)
            .set("transactional.id", id)
            .create()
            .unwrap();
        producer.init_transactions(TIMEOUT * 3).unwrap();
        Self(producer)
    }

    /// One transaction with these values, which is committed.
    pub(crate) fn committed(&self, topic: &str, partition: i32, values: &[Vec<u8>]) {
        self.begin(topic, partition, values);
        self.0.commit_transaction(TIMEOUT).unwrap();
    }

    /// A transaction with these values that stays open, and began so long ago.
    pub(crate) fn open(&self, topic: &str, partition: i32, values: &[Vec<u8>], ago: Duration) {
        self.0.begin_transaction().unwrap();
        let began = std::time::SystemTime::now() - ago;
        let began = began.duration_since(std::time::UNIX_EPOCH).unwrap();
        for value in values {
            let record = BaseRecord::<(), _>::to(topic).partition(partition);
            let record = record.timestamp(i64::try_from(began.as_millis()).unwrap());
            self.0
                .send(record.payload(value))
                .map_err(|(e, _)| e)
                .unwrap();
        }
        self.0.flush(TIMEOUT).unwrap();
    }

    /// Ends what [`Self::open`] began.
    pub(crate) fn abort(&self) {
        self.0.abort_transaction(TIMEOUT).unwrap();
    }

    /// One transaction with these values, which stand there and are aborted.
    pub(crate) fn aborted(&self, topic: &str, partition: i32, values: &[Vec<u8>]) {
        self.begin(topic, partition, values);
        self.0.flush(TIMEOUT).unwrap();
        self.0.abort_transaction(TIMEOUT).unwrap();
    }

    fn begin(&self, topic: &str, partition: i32, values: &[Vec<u8>]) {
        self.0.begin_transaction().unwrap();
        for value in values {
            let record = BaseRecord::<(), _>::to(topic).partition(partition);
            self.0
                .send(record.payload(value))
                .map_err(|(e, _)| e)
                .unwrap();
        }
    }
}
