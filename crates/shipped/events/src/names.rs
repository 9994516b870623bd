//! Names on the wire.

/// Where `payment-service` announces payments.
pub const PURCHASE_CONFIRMED_TOPIC: &str = "purchase-confirmed";
/// Where `purchase-worker` announces purchases.
pub const PURCHASE_CREATED_TOPIC: &str = "purchase-created";
/// Where `allocation-worker` announces allocations.
pub const TRAINER_ALLOCATED_TOPIC: &str = "trainer-allocated";
/// Where every worker puts what it can never process.
pub const DEAD_LETTER_TOPIC: &str = "dead-letter-queue";

/// Kafka header (and, in lower or upper case, HTTP header) with the value `true` on test traffic.
/// Every hop passes it on, and every row says so in its `synthetic` column.
pub const SYNTHETIC_HEADER: &str = "synthetic";
/// Kafka and HTTP header that says to which trace an event belongs: W3C Trace Context, level 1,
/// `00-TRACE-SPAN-FLAGS` in lower-case hexadecimal.
pub const TRACEPARENT_HEADER: &str = "traceparent";
/// Kafka header with the event's correlation id, for those who do not read the value.
pub const CORRELATION_ID_HEADER: &str = "correlation-id";

/// Headers of a dead letter. Its key and value are the source message's, byte for byte.
pub mod dlq {
    /// Topic that the message was read from.
    pub const TOPIC: &str = "dlq-topic";
    /// Partition of that topic, decimal.
    pub const PARTITION: &str = "dlq-partition";
    /// Offset in that partition, decimal.
    pub const OFFSET: &str = "dlq-offset";
    /// Consumer group that gave the message up.
    pub const GROUP: &str = "dlq-group";
    /// A short stable word for the reason, to group by: `not-json`, `unknown-event-type`, ….
    pub const ERROR_KIND: &str = "dlq-error-kind";
    /// The reason, for a person.
    pub const ERROR: &str = "dlq-error";
    /// How often processing was tried, decimal, at least 1.
    pub const ATTEMPTS: &str = "dlq-attempts";
    /// When it was given up, RFC 3339.
    pub const FAILED_AT: &str = "dlq-failed-at";
    /// On a dead letter that was sent back to its topic: where it stood there before,
    /// `TOPIC/PARTITION/OFFSET`. No worker looks at it.
    pub const REPLAY_OF: &str = "dlq-replay-of";
    /// All of these begin so.
    pub const PREFIX: &str = "dlq-";
}
