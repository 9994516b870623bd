//! A librdkafka consumer that is never subscribed.

use std::{ops::Deref, thread};

use rdkafka::{
    ClientConfig, ClientContext, Offset, TopicPartitionList,
    client::Client as NativeClient,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
};
use uuid::Uuid;

use super::{Result, partition::Offsets};

/// The `tracing` target of librdkafka's log lines.
pub const LIBRDKAFKA: &str = "librdkafka";

/// Sends librdkafka's log to `tracing` at debug level (`-vv`): failures that matter are errors of the call.
pub(super) struct TracingContext;

impl ClientContext for TracingContext {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: LIBRDKAFKA, "{facility} {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: LIBRDKAFKA, "{error}: {reason}");
    }
}

impl ConsumerContext for TracingContext {}

/// Whether a poll reports the end of a partition (`enable.partition.eof`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartitionEof {
    /// As the error `KafkaError::PartitionEOF`.
    Reported,
    /// Not at all; a poll waits for new records.
    Ignored,
}

/// The consumer. Destroying it takes up to 100 ms (and hung in some librdkafka releases), so that
/// happens on a detached thread.
pub(super) struct Client(Option<BaseConsumer<TracingContext>>);

impl Client {
    /// A client for metadata, group and offset requests.
    pub(super) fn new(bootstrap: &str) -> Result<Self> {
        let mut config = config(bootstrap);
        // The group is never joined, so the broker never creates it. Without a `group.id` librdkafka
        // crashes when another group's coordinator responds NOT_COORDINATOR (confluentinc/librdkafka#5040).
        config.set("group.id", "caravan");
        Self::with(&config)
    }

    /// A consumer that reads partitions from the offsets `from` on, outside any group.
    pub(super) fn assigned(bootstrap: &str, from: &Offsets, eof: PartitionEof) -> Result<Self> {
        Self::reading(config(bootstrap), from, eof)
    }

    fn reading(mut config: ClientConfig, from: &Offsets, eof: PartitionEof) -> Result<Self> {
        // librdkafka requires a `group.id` to assign partitions; the broker never creates this group.
        config.set("group.id", format!("caravan-{}", Uuid::new_v4()));
        // If retention deletes an offset before it is read, reading goes on at the earliest offset.
        config.set("auto.offset.reset", "earliest");
        if eof == PartitionEof::Reported {
            config.set("enable.partition.eof", "true");
            // At the end of a partition the broker delays an empty fetch response by this long.
            config.set("fetch.wait.max.ms", "20");
        }
        let client = Self::with(&config)?;
        let mut assignment = TopicPartitionList::with_capacity(from.len());
        for ((topic, partition), offset) in from {
            assignment.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        client.consumer().assign(&assignment)?;
        Ok(client)
    }

    /// As [`Self::assigned`], for records of open and aborted transactions, too.
    pub(super) fn assigned_uncommitted(bootstrap: &str, from: &Offsets) -> Result<Self> {
        let mut config = config(bootstrap);
        config.set("isolation.level", "read_uncommitted");
        Self::reading(config, from, PartitionEof::Ignored)
    }

    fn with(config: &ClientConfig) -> Result<Self> {
        let consumer = config.create_with_context(TracingContext)?;
        Ok(Self(Some(consumer)))
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<TracingContext> {
        self.0
            .as_ref()
            .unwrap_or_else(|| unreachable!("taken by drop alone"))
    }
}

/// Settings of all consumers of Caravan's: short timeouts, no log lines, bounded queues.
fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("client.id", "caravan")
        // Docker publishes ports on IPv4; trying ::1 first costs a connect.
        .set("broker.address.family", "v4")
        .set("socket.timeout.ms", "3000")
        .set("socket.connection.setup.timeout.ms", "2000")
        .set("socket.nagle.disable", "true")
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "100")
        .set("retry.backoff.ms", "20")
        .set("topic.metadata.refresh.interval.ms", "-1")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "false")
        .set("allow.auto.create.topics", "false")
        // The end is the last stable offset, and aborted messages are not delivered.
        .set("isolation.level", "read_committed")
        .set("queued.max.messages.kbytes", "8192")
        .set("fetch.queue.backoff.ms", "5")
        .set_log_level(RDKafkaLogLevel::Emerg);
    config
}

impl Deref for Client {
    type Target = NativeClient<TracingContext>;

    fn deref(&self) -> &Self::Target {
        self.consumer().client()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let consumer = self.0.take();
        thread::spawn(move || drop(consumer));
    }
}
