//! What the headers of a dead letter are called.

use caravan_events::names::dlq;
use serde::{Deserialize, Serialize};

/// Names of headers; Caravan's own where nothing else is declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LetterHeaders {
    /// `TOPIC/PARTITION/OFFSET` in one; else each in its own.
    pub(crate) source: Option<String>,
    pub(crate) topic: String,
    pub(crate) partition: String,
    pub(crate) offset: String,
    /// The consumer group that gave the message up.
    pub(crate) group: String,
    /// A short word to group by.
    pub(crate) reason: String,
    /// The reason in words.
    pub(crate) error: String,
    pub(crate) attempts: String,
    /// RFC 3339
    pub(crate) failed_at: String,
}

impl Default for LetterHeaders {
    fn default() -> Self {
        Self {
            source: None,
            topic: dlq::TOPIC.to_owned(),
            partition: dlq::PARTITION.to_owned(),
            offset: dlq::OFFSET.to_owned(),
            group: dlq::GROUP.to_owned(),
            reason: dlq::ERROR_KIND.to_owned(),
            error: dlq::ERROR.to_owned(),
            attempts: dlq::ATTEMPTS.to_owned(),
            failed_at: dlq::FAILED_AT.to_owned(),
        }
    }
}

impl LetterHeaders {
    /// Whether a header says why a message was given up: it is no part of the message.
    pub(crate) fn has(&self, name: &str) -> bool {
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
        name.starts_with(dlq::PREFIX) || all.any(|known| known == name)
    }
}
