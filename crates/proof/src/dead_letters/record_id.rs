//! The identity of a record: topic, partition and offset.

use std::{error::Error, fmt, str::FromStr, sync::Arc};

use kafka::Partition;

/// `TOPIC/PARTITION/OFFSET`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// Shared, because many records have the same topic.
    pub topic: Arc<str>,
    /// Partition number within the topic.
    pub partition: i32,
    /// Offset within the partition.
    pub offset: i64,
}

impl RecordId {
    /// The record at `offset` of a partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32, offset: i64) -> Self {
        Self {
            topic: topic.into(),
            partition,
            offset,
        }
    }

    /// Its topic and partition.
    pub fn partition(&self) -> Partition {
        (self.topic.to_string(), self.partition)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// A text that is not `TOPIC/PARTITION/OFFSET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidRecordId;

impl fmt::Display for InvalidRecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record is TOPIC/PARTITION/OFFSET, for instance orders/2/17")
    }
}

impl Error for InvalidRecordId {}

impl FromStr for RecordId {
    type Err = InvalidRecordId;

    fn from_str(text: &str) -> Result<Self, InvalidRecordId> {
        let mut parts = text.rsplitn(3, '/');
        let (offset, partition, topic) = (parts.next(), parts.next(), parts.next());
        let number = |part: Option<&str>| part.and_then(|p| p.parse::<u64>().ok());
        match (topic, number(partition), number(offset)) {
            (Some(topic), Some(partition), Some(offset))
                if !topic.is_empty() && !topic.contains('/') =>
            {
                Ok(Self {
                    topic: topic.into(),
                    partition: i32::try_from(partition).map_err(|_| InvalidRecordId)?,
                    offset: i64::try_from(offset).map_err(|_| InvalidRecordId)?,
                })
            }
            _ => Err(InvalidRecordId),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_id_round_trips_through_text() {
        let record_id: RecordId = "a.b_c-d/2/17".parse().expect("a place");
        assert_eq!(record_id, RecordId::new("a.b_c-d", 2, 17));
        assert_eq!(record_id.to_string(), "a.b_c-d/2/17");
    }

    #[test]
    fn an_invalid_record_id_is_rejected() {
        for text in [
            "",
            "orders",
            "orders/1",
            "/1/2",
            "orders/x/2",
            "orders/1/-2",
            "orders/-1/2",
            "a/b/1/2",
            "orders/99999999999/1",
            "orders/1/99999999999999999999",
        ] {
            assert_eq!(text.parse::<RecordId>(), Err(InvalidRecordId), "{text}");
        }
    }
}
