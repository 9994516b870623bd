//! Kafka itself: what it says of the cluster, asked once.

use std::collections::BTreeMap;

use super::{check::Check, facts::Facts, finding::Outcome, ids};
use declaration::{Group, Pipeline};
use diagnostics::Result;
use kafka::{Kafka, Partition, offsets::GroupOffsets, topics::TopicState};

/// A Kafka that answered.
pub(super) struct Broker {
    pub(super) kafka: Kafka,
    pub(super) topics: BTreeMap<String, TopicState>,
    /// By group.
    pub(super) offsets: BTreeMap<Group, Result<GroupOffsets, String>>,
}

impl Broker {
    pub(super) async fn reach(pipeline: &Pipeline) -> Result<Self, String> {
        let Some(endpoint) = &pipeline.kafka else {
            return Err("the declaration does not say where Kafka is".to_owned());
        };
        let kafka = Kafka::connect(&endpoint.address).await?;
        let mut offsets = BTreeMap::new();
        for group in pipeline.services.iter().filter_map(|s| s.group.as_ref()) {
            offsets.insert(
                group.clone(),
                kafka.declared_group(group).await.map_err(String::from),
            );
        }
        let topics = kafka.topics().await?;
        Ok(Self {
            kafka,
            topics: topics.into_iter().map(|t| (t.name.clone(), t)).collect(),
            offsets,
        })
    }

    /// The partitions of a topic as they are, not as declared; none if it does not exist.
    pub(super) fn partitions(&self, topic: &str) -> Vec<Partition> {
        let count = self.topics.get(topic).map_or(0, |t| t.partitions);
        (0..count)
            .map(|partition| (topic.to_owned(), partition))
            .collect()
    }
}

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let grouped = pipeline.services.iter().any(|s| s.group.is_some());
    if pipeline.kafka.is_none() && pipeline.topics.is_empty() && !grouped {
        return Vec::new();
    }
    let endpoint = pipeline.kafka.as_ref();
    let reachable = async move |facts: &Facts<'_>| match (facts.broker().await, endpoint) {
        (Ok(broker), _) => Outcome::pass(format!("{} topics", broker.topics.len())),
        (Err(why), Some(kafka)) => Outcome::fail(why).hint(facts.remedy_of("kafka", kafka).await),
        (Err(why), None) => Outcome::fail(why),
    };
    let service = endpoint.and_then(|kafka| kafka.service.as_deref());
    let check = Check::new(ids::KAFKA, "answers a metadata request", reachable);
    vec![
        check
            .follows(ids::deployed_of(pipeline, service))
            .suspects(service.map(ids::as_declared)),
    ]
}
