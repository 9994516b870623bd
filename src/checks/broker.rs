//! Kafka itself, and the layers that hang on its answer.

use std::{collections::BTreeMap, time::Instant};

use super::{Containers, Scene, dead_letters, finding::Check, groups, topics};
use crate::{
    clients::kafka::{Kafka, Partition, offsets::GroupOffsets, topics::TopicState},
    error::Result,
    pipeline::{Group, Pipeline},
};

/// The id that the layers behind Kafka name as their cause.
const REACHABLE: &str = "kafka.reachable";

/// A Kafka that answered.
pub(super) struct Broker {
    pub(super) began: Instant,
    pub(super) kafka: Kafka,
    pub(super) topics: BTreeMap<String, TopicState>,
    /// By group; made first, so that each finds its coordinator while the topics are asked for.
    pub(super) offsets: BTreeMap<Group, Result<GroupOffsets, String>>,
}

impl Broker {
    async fn reach(pipeline: &Pipeline, bootstrap: &str, began: Instant) -> Result<Self, String> {
        let kafka = Kafka::connect(bootstrap).await?;
        let mut offsets = BTreeMap::new();
        for group in pipeline.services.iter().filter_map(|s| s.group.as_ref()) {
            offsets.insert(group.clone(), kafka.declared_group(group).await);
        }
        let topics = kafka.topics().await?;
        Ok(Self {
            began,
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

pub(super) async fn check(scene: Scene<'_>, containers: impl Containers) -> Result<()> {
    let pipeline = scene.pipeline;
    let grouped = pipeline.services.iter().any(|s| s.group.is_some());
    if pipeline.kafka.is_none() && pipeline.topics.is_empty() && !grouped {
        return Ok(());
    }
    let began = Instant::now();
    let check = Check::new(began, REACHABLE, "answers a metadata request");
    let reached = match &pipeline.kafka {
        Some(endpoint) => Broker::reach(pipeline, &endpoint.address, began).await,
        None => Err("the declaration does not say where Kafka is".to_owned()),
    };
    match reached {
        Ok(broker) => {
            scene
                .report
                .send(check.pass(format!("{} topics", broker.topics.len())));
            topics::check(scene, &broker);
            tokio::try_join!(
                groups::check(scene, &broker, containers),
                dead_letters::check(scene, &broker),
            )?;
        }
        Err(why) => {
            let failed = check.fail(why);
            scene.report.send(match &pipeline.kafka {
                Some(kafka) => failed.hint(scene.remedy_of(&containers.await?, "kafka", kafka)),
                None => failed,
            });
            let why = "kafka is not reachable";
            topics::skip(scene, began, why, REACHABLE);
            groups::skip(scene, began, why, REACHABLE);
            dead_letters::skip(scene, began, why, REACHABLE);
        }
    }
    Ok(())
}
