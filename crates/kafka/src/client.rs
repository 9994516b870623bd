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

use super::{Result, offsets::Offsets};

/// The target of librdkafka's own lines.
pub const LIBRDKAFKA: &str = "librdkafka";

/// Whatever matters comes back as an error of the call; the rest is for `-vv`.
pub(super) struct Silent;

impl ClientContext for Silent {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: LIBRDKAFKA, "{facility} {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: LIBRDKAFKA, "{error}: {reason}");
    }
}

impl ConsumerContext for Silent {}

/// Whether a reader is told that it has come to the end of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// As an error of a poll, `KafkaError::PartitionEOF`.
    Told,
    Silent,
}

/// The consumer; its teardown takes up to 100 ms (and hung in some librdkafka releases), so it
/// happens on a thread that nobody waits for.
pub(super) struct Client(Option<BaseConsumer<Silent>>);

impl Client {
    /// For questions.
    pub(super) fn new(bootstrap: &str) -> Result<Self> {
        let mut config = config(bootstrap);
        // Never joined, and so never made. Without a group of its own librdkafka crashes when another
        // group's coordinator says that it is none (confluentinc/librdkafka#5040).
        config.set("group.id", "caravan");
        Self::with(&config)
    }

    /// For reading partitions from `from` on, outside of any group.
    pub(super) fn assigned(bootstrap: &str, from: &Offsets, ends: Ends) -> Result<Self> {
        let mut config = config(bootstrap);
        // librdkafka wants a group to assign anything; one of this name is never made.
        config.set("group.id", format!("caravan-{}", Uuid::new_v4()));
        // What retention deletes while it is read is skipped, and not all that stands behind it.
        config.set("auto.offset.reset", "earliest");
        if ends == Ends::Told {
            config.set("enable.partition.eof", "true");
            // Asked for more at the end of a partition, a broker waits so long before it says that there
            // is none.
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

    fn with(config: &ClientConfig) -> Result<Self> {
        let consumer = config.create_with_context(Silent)?;
        Ok(Self(Some(consumer)))
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<Silent> {
        self.0
            .as_ref()
            .unwrap_or_else(|| unreachable!("taken by drop alone"))
    }
}

/// Settings of all consumers of Caravan's: impatient, silent, bounded.
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
        // Ends are where a transaction is open; what one that was aborted wrote is not handed out.
        .set("isolation.level", "read_committed")
        .set("queued.max.messages.kbytes", "8192")
        .set("fetch.queue.backoff.ms", "5")
        .set_log_level(RDKafkaLogLevel::Emerg);
    config
}

impl Deref for Client {
    type Target = NativeClient<Silent>;

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
