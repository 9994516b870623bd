//! Topics: they exist, with their partitions.

use std::time::Instant;

use super::{
    Scene,
    broker::Broker,
    finding::{Check, Finding},
};
use crate::{
    clients::kafka::topics::TopicState,
    pipeline::{Effect, Pipeline, Topic},
};

pub(super) fn check(scene: Scene<'_>, broker: &Broker) {
    let hint = scene.invocation.command(&make(scene.pipeline));
    for topic in &scene.pipeline.topics {
        let (exists, partitions) = checks(broker.began, topic);
        match broker.topics.get(&topic.name) {
            Some(state) => {
                scene.report.send(exists.pass("there"));
                scene.report.send(judge(partitions, topic, state, &hint));
            }
            None => {
                let missing = exists.fail("missing").hint(&hint);
                let skipped = partitions.skip("the topic does not exist", &missing.id);
                scene.report.send_all([missing, skipped]);
            }
        }
    }
}

/// All of the layer, when Kafka did not answer.
pub(super) fn skip(scene: Scene<'_>, began: Instant, why: &str, cause: &str) {
    for topic in &scene.pipeline.topics {
        let (exists, partitions) = checks(began, topic);
        scene
            .report
            .send_all([exists.skip(why, cause), partitions.skip(why, cause)]);
    }
}

/// The id that tells whether a topic exists.
pub(super) fn exists_id(topic: &str) -> String {
    format!("topics.{topic}.exists")
}

fn checks(began: Instant, topic: &Topic) -> (Check, Check) {
    let expected = match topic.partitions {
        1 => "1 partition".to_owned(),
        n => format!("{n} partitions"),
    };
    let partitions = format!("topics.{}.partitions", topic.name);
    (
        Check::new(began, exists_id(&topic.name), "exists"),
        Check::new(began, partitions, expected),
    )
}

fn judge(check: Check, topic: &Topic, state: &TopicState, hint: &str) -> Finding {
    if !state.leaderless.is_empty() {
        let partitions: Vec<_> = state.leaderless.iter().map(i32::to_string).collect();
        return check
            .fail(format!("no leader for partition {}", partitions.join(", ")))
            .hint(hint);
    }
    let seen = state.partitions.to_string();
    match state.partitions.cmp(&topic.partitions) {
        std::cmp::Ordering::Equal => check.pass(seen),
        std::cmp::Ordering::Less => check.fail(seen).hint(hint),
        std::cmp::Ordering::Greater => check
            .warn(seen)
            .evidence(["Kafka cannot take partitions away".to_owned()])
            .hint(format!("declare {}:{}", topic.name, state.partitions)),
    }
}

/// The command that makes the topics.
pub(super) fn make(pipeline: &Pipeline) -> String {
    match creator(pipeline) {
        Some(service) => format!("up {service}"),
        None => "up".to_owned(),
    }
}

/// The one-shot that does.
fn creator(pipeline: &Pipeline) -> Option<&str> {
    let creates = |effect: Option<Effect>| effect == Some(Effect::Topics);
    let service = pipeline.services.iter().find(|s| creates(s.effect))?;
    Some(&service.name)
}
