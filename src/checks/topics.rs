//! Topics: they exist, with their partitions.

use super::{Scene, broker::Broker, finding::Check};
use crate::{
    clients::kafka::topics::TopicState,
    pipeline::{Effect, Pipeline, Topic},
};

pub(super) fn check(scene: Scene<'_>, broker: &Broker) {
    let hint = scene.invocation.command(&match creator(scene.pipeline) {
        Some(service) => format!("up {service}"),
        None => "up".to_owned(),
    });
    for topic in &scene.pipeline.topics {
        let (exists, partitions) = checks(broker, topic);
        let Some(state) = broker.topics.get(&topic.name) else {
            let cause = exists_id(topic);
            scene.report.send(exists.fail("missing").hint(&hint));
            scene.report.send(partitions.skip("the topic does not exist", &cause));
            continue;
        };
        scene.report.send(exists.pass("there"));
        scene.report.send(judge_partitions(partitions, topic, state, &hint));
    }
}

/// All of the layer, when Kafka did not answer.
pub(super) fn skip(scene: Scene<'_>, broker: &Broker, why: &str, cause: &str) {
    for topic in &scene.pipeline.topics {
        let (exists, partitions) = checks(broker, topic);
        scene.report.send(exists.skip(why, cause));
        scene.report.send(partitions.skip(why, cause));
    }
}

/// The id that other layers name as their cause.
pub(super) fn exists_id(topic: &Topic) -> String {
    format!("topics.{}.exists", topic.name)
}
