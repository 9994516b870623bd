//! Names of the headers of dead letters.

use serde::{Deserialize, Serialize};

/// Prefix of the default names.
const PREFIX: &str = "dlq-";
/// Header of a record that `dlq replay` sent: the original record, `TOPIC/PARTITION/OFFSET`. Workers
/// ignore it.
pub const REPLAY_OF: &str = "dlq-replay-of";
/// Maximum size of the headers of a dead letter in bytes.
pub const DEAD_LETTER_HEADER_BYTES: usize = 64 * 1024;

/// Names of the headers of dead letters; the default names are those of Caravan's workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterHeaders {
    /// Header with the failed record as `TOPIC/PARTITION/OFFSET`. None: `topic`, `partition` and
    /// `offset` are separate headers.
    pub source: Option<String>,
    /// Header with the topic of the failed record.
    pub topic: String,
    /// Header with the partition of the failed record.
    pub partition: String,
    /// Header with the offset of the failed record.
    pub offset: String,
    /// Header with the consumer group that failed to process the record.
    pub group: String,
    /// Header with the reason as one short word, by which dead letters are grouped.
    pub reason: String,
    /// Header with the error message.
    pub error: String,
    /// Header with the number of attempts.
    pub attempts: String,
    /// Header with the time of the failure, RFC 3339.
    pub failed_at: String,
}

impl Default for DeadLetterHeaders {
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

impl DeadLetterHeaders {
    /// Whether a header was added to the dead letter. The others belong to the original record.
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
