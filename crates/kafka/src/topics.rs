//! Topics as the broker's metadata shows them.

use rdkafka::metadata::{MetadataPartition, MetadataTopic};

use super::{Kafka, Result, TIMEOUT};

/// A topic that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// The topic's name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// Numbers of the partitions without a leader: they can be neither read nor written.
    pub leaderless: Vec<i32>,
    /// Replicas of its first partition.
    pub replicas: i32,
    /// Numbers of the under-replicated partitions: a replica is not in sync.
    pub behind: Vec<i32>,
}

impl Kafka {
    /// All topics, internal ones (`__…`) included, in no order.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn topics(&self) -> Result<Vec<TopicState>> {
        self.ask("topics", |client| {
            let metadata = client.fetch_metadata(None, TIMEOUT)?;
            let state = |topic: &MetadataTopic| TopicState {
                name: topic.name().to_owned(),
                partitions: i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX),
                leaderless: topic
                    .partitions()
                    .iter()
                    .filter(|p| p.leader() < 0)
                    .map(MetadataPartition::id)
                    .collect(),
                replicas: topic
                    .partitions()
                    .first()
                    .and_then(|p| i32::try_from(p.replicas().len()).ok())
                    .unwrap_or(1),
                behind: topic
                    .partitions()
                    .iter()
                    .filter(|p| p.isr().len() < p.replicas().len())
                    .map(MetadataPartition::id)
                    .collect(),
            };
            Ok(metadata.topics().iter().map(state).collect())
        })
        .await
    }
}
