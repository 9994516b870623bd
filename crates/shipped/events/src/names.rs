//! Names on the wire.

/// Topic of `PURCHASE_CONFIRMED` events, written by `payment-service`.
pub const PURCHASE_CONFIRMED_TOPIC: &str = "purchase-confirmed";
/// Topic of `PURCHASE_CREATED` events, written by `purchase-worker`.
pub const PURCHASE_CREATED_TOPIC: &str = "purchase-created";
/// Topic of `TRAINER_ALLOCATED` events, written by `allocation-worker`.
pub const TRAINER_ALLOCATED_TOPIC: &str = "trainer-allocated";
/// Topic of dead letters: messages that a worker cannot process.
pub const DEAD_LETTER_TOPIC: &str = "dead-letter-queue";

/// Kafka header (and, in lower or upper case, HTTP header) with the value `true` on test traffic.
/// Every step propagates it, and rows have it in their column `synthetic`.
pub const SYNTHETIC_HEADER: &str = "synthetic";
/// Kafka and HTTP header with the trace of an event: W3C Trace Context, level 1,
/// `00-TRACE-SPAN-FLAGS` in lower-case hexadecimal.
pub const TRACEPARENT_HEADER: &str = "traceparent";
/// Kafka header with the event's correlation id, for readers that do not decode the value.
pub const CORRELATION_ID_HEADER: &str = "correlation-id";

/// Headers of a dead letter. Its key and value are the source message's, byte for byte.
pub mod dlq {
    /// Topic that the message was read from.
    pub const TOPIC: &str = "dlq-topic";
    /// Partition of that topic, decimal.
    pub const PARTITION: &str = "dlq-partition";
    /// Offset in that partition, decimal.
    pub const OFFSET: &str = "dlq-offset";
    /// Consumer group that failed to process the message.
    pub const GROUP: &str = "dlq-group";
    /// A short, stable word for the reason, for grouping: `not-json`, `unknown-event-type`, ….
    pub const ERROR_KIND: &str = "dlq-error-kind";
    /// The reason, for a person.
    pub const ERROR: &str = "dlq-error";
    /// Number of attempts to process it, decimal, at least 1.
    pub const ATTEMPTS: &str = "dlq-attempts";
    /// When the last attempt failed, RFC 3339.
    pub const FAILED_AT: &str = "dlq-failed-at";
    /// On a dead letter that was sent back to its topic: where it stood there before,
    /// `TOPIC/PARTITION/OFFSET`. No worker looks at it.
    pub const REPLAY_OF: &str = "dlq-replay-of";
    /// Prefix of all these headers.
    pub const PREFIX: &str = "dlq-";
}
