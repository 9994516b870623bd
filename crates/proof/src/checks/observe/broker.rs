//! Kafka: its topics, and the offsets of the declared groups.

use std::collections::BTreeMap;

use super::ObservationError;
use declaration::{Group, Pipeline, Service};
use diagnostics::Result;
use kafka::{
    Kafka, Partition,
    offsets::{GroupOffsets, Offsets},
    topics::TopicState,
};

/// A Kafka that answered.
pub(crate) struct Broker {
    pub(crate) kafka: Kafka,
    pub(crate) topics: BTreeMap<String, TopicState>,
    offsets: BTreeMap<Group, Result<GroupOffsets, ObservationError>>,
}

impl Broker {
    pub(crate) async fn connect(pipeline: &Pipeline) -> Result<Self, ObservationError> {
        let Some(endpoint) = &pipeline.kafka else {
            return Err(ObservationError::NoAddress("Kafka"));
        };
        let kafka = Kafka::connect(&endpoint.address).await?;
        let mut offsets = BTreeMap::new();
        for group in pipeline.services.iter().filter_map(|s| s.group.as_ref()) {
            let of_group = kafka.declared_group(group).await;
            offsets.insert(group.clone(), of_group.map_err(ObservationError::from));
        }
        let topics = kafka.topics().await?;
        Ok(Self {
            kafka,
            topics: topics.into_iter().map(|t| (t.name.clone(), t)).collect(),
            offsets,
        })
    }

    /// The partitions that a topic has in Kafka, whatever is declared; none if it does not exist.
    pub(crate) fn partitions(&self, topic: &str) -> Vec<Partition> {
        let count = self.topics.get(topic).map_or(0, |t| t.partitions);
        (0..count)
            .map(|partition| (topic.to_owned(), partition))
            .collect()
    }

    /// The partitions of all topics that a service consumes and that exist.
    pub(crate) fn consumed(&self, service: &Service) -> Vec<Partition> {
        let topics = service.consumes.iter();
        topics.flat_map(|topic| self.partitions(topic)).collect()
    }

    /// The offsets that a service's group has committed by now.
    pub(crate) async fn fetch_committed(
        &self,
        service: &Service,
    ) -> Result<Offsets, ObservationError> {
        let group = service.group.as_ref();
        match group.and_then(|group| self.offsets.get(group)) {
            Some(Ok(offsets)) => Ok(offsets.lowest_committed(&self.consumed(service)).await?),
            Some(Err(why)) => Err(why.clone()),
            None => Ok(Offsets::new()),
        }
    }
}
