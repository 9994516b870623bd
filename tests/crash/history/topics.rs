//! What was emitted, in the order in which it lies on the topics. What was read once is kept.

use std::collections::HashMap;

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use uuid::Uuid;

use crate::support::pipeline::Pipeline;

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// An event on a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Emitted {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) event_id: Uuid,
    /// The payment that it goes back to.
    pub(crate) payment: Uuid,
}

/// A reader of all topics, from their beginnings.
pub(crate) struct Topics {
    config: ClientConfig,
    topics: HashMap<String, Topic>,
}

struct Topic {
    name: String,
    consumer: BaseConsumer,
    /// The next offset of each partition.
    next: Vec<i64>,
    read: Vec<Emitted>,
}

impl Topics {
    pub(crate) fn new(pipeline: &Pipeline) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", pipeline.brokers())
            .set("broker.address.family", "v4")
            .set("group.id", "crash-history")
            .set("enable.auto.commit", "false");
        Self {
            config,
            topics: HashMap::new(),
        }
    }

    /// Everything that is on the topic now.
    pub(crate) fn read(&mut self, topic: &str) -> &[Emitted] {
        if !self.topics.contains_key(topic) {
            let fresh = Topic::open(&self.config, topic);
            self.topics.insert(topic.to_owned(), fresh);
        }
        let topic = self.topics.get_mut(topic).unwrap();
        topic.read_on();
        &topic.read
    }
}

impl Topic {
    fn open(config: &ClientConfig, name: &str) -> Self {
        let consumer: BaseConsumer = config.create().unwrap();
        let metadata = consumer.fetch_metadata(Some(name), TIMEOUT).unwrap();
        let partitions = metadata.topics()[0].partitions().len();
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            let partition = i32::try_from(partition).unwrap();
            list.add_partition_offset(name, partition, Offset::Offset(0))
                .unwrap();
        }
        consumer.assign(&list).unwrap();
        Self {
            name: name.to_owned(),
            consumer,
            next: vec![0; partitions],
            read: Vec::new(),
        }
    }

    fn read_on(&mut self) {
        let ends: Vec<i64> = (0..)
            .zip(&self.next)
            .map(|(partition, _)| {
                let ends = self
                    .consumer
                    .fetch_watermarks(&self.name, partition, TIMEOUT);
                ends.unwrap().1
            })
            .collect();
        while self.next.iter().zip(&ends).any(|(next, end)| next < end) {
            let message = self.consumer.poll(TIMEOUT).expect("a message").unwrap();
            let event: serde_json::Value =
                serde_json::from_slice(message.payload().unwrap_or_default()).unwrap_or_default();
            let id = |name: &str| event[name].as_str().and_then(|id| id.parse().ok());
            self.next[usize::try_from(message.partition()).unwrap()] = message.offset() + 1;
            self.read.push(Emitted {
                partition: message.partition(),
                offset: message.offset(),
                // Of a dead letter anything may be missing; it counts all the same.
                event_id: id("eventId").unwrap_or_default(),
                payment: id("correlationId").unwrap_or_default(),
            });
        }
    }
}
