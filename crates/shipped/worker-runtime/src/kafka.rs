//! Settings of all Kafka clients of the pipeline, and the producer.

mod context;
pub(crate) mod lost;
mod produce;
mod producer;
mod retention;

use rdkafka::ClientConfig;

pub use context::ClientLog;
pub(crate) use context::log;
pub use produce::{Record, is_synthetic, send_all, send_each, trace};
pub use producer::{Producer, producer};
pub(crate) use retention::retentions;
pub use retention::{RetentionError, SettingError};

/// The largest message that the pipeline's topics accept, in bytes: Kafka's default
/// (`message.max.bytes` of the broker).
pub const SOURCE_MAX_BYTES: usize = 1_048_588;
/// The headers that a dead letter may have in addition to its source message, in bytes.
pub const DEAD_LETTER_HEADER_BYTES: usize = 64 * 1024;
/// The largest dead letter, in bytes: `max.message.bytes` of the dead-letter topic has to allow it.
pub const DEAD_LETTER_MAX_BYTES: usize = SOURCE_MAX_BYTES + DEAD_LETTER_HEADER_BYTES;
/// The largest message that the producer sends, in bytes; the topic's `max.message.bytes` decides
/// what is accepted. A topic may allow more than Kafka's default, and its messages may become dead
/// letters.
const PRODUCER_MAX_BYTES: usize = 32 * 1024 * 1024;

/// Settings of all clients: they reconnect quickly after a broker's restart, and quickly notice that
/// a topic was deleted or created.
pub(crate) fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("client.id", "caravan")
        .set("broker.address.family", "v4")
        .set("allow.auto.create.topics", "false")
        .set("socket.keepalive.enable", "true")
        .set("socket.timeout.ms", "15000")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("topic.metadata.refresh.interval.ms", "5000")
        .set("topic.metadata.refresh.fast.interval.ms", "100");
    config
}
