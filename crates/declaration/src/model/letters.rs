//! What the headers of a dead letter are called.

use serde::{Deserialize, Serialize};

/// What the default names begin with.
const PREFIX: &str = "dlq-";
/// On a record that `dlq replay` sent back to its topic: the record that it repeats,
/// `TOPIC/PARTITION/OFFSET`. Workers ignore it.
pub const REPLAY_OF: &str = "dlq-replay-of";
/// What the headers of a dead letter may take, in bytes.
pub const DEAD_LETTER_HEADER_BYTES: usize = 64 * 1024;

/// Names of headers; Caravan's own where nothing else is declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterHeaders {
    /// `TOPIC/PARTITION/OFFSET` in one; else each in its own.
    pub source: Option<String>,
    pub topic: String,
    pub partition: String,
    pub offset: String,
    /// The consumer group that gave the message up.
    pub group: String,
    /// A short word to group by.
    pub reason: String,
    /// The reason in words.
    pub error: String,
    pub attempts: String,
    /// RFC 3339
    pub failed_at: String,
}

impl Default for LetterHeaders {
    fn default() -> Self {
        Self {
            source: None,
            topic: "dlq-topic".to_owned(),
            partition: "dlq-partition".to_owned(),
            offset: "dlq-offset".to_owned(),
            group: "dlq-group".to_owned(),
            reason: "dlq-error-kind".to_owned(),
            error: "dlq-error".to_owned(),
            attempts: "dlq-attempts".to_owned(),
            failed_at: "dlq-failed-at".to_owned(),
        }
    }
}

impl LetterHeaders {
    /// Whether a header says why a message was given up: it is no part of the message.
    pub fn has(&self, name: &str) -> bool {
        let Self {
            source,
            topic,
            partition,
            offset,
            group,
            reason,
            error,
            attempts,
            failed_at,
        } = self;
        let named = [
            topic, partition, offset, group, reason, error, attempts, failed_at,
        ];
        let mut all = source.iter().chain(named);
        name.starts_with(PREFIX) || all.any(|known| known == name)
    }
}
